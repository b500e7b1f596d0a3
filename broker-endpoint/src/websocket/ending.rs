use broker_codec::{data::ZeekString, websocket::CloseCode};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError, protocol::CloseFrame};

use super::counted::CloseCause;

/// The longest reason in a CLOSE frame (RFC 6455, 5.5: 125 bytes with the code).
const REASON_LEN_MAX: usize = 123;

/// How a connection ends.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) cause: CloseCause,
    pub(super) code: CloseCode,
    pub(super) reason: ZeekString,
    /// Whether there is still someone to send a CLOSE frame to.
    pub(super) goodbye: bool,
}

impl Ending {
    pub(super) fn ours(cause: CloseCause, code: CloseCode, reason: impl Into<ZeekString>) -> Self {
        Self {
            cause,
            code,
            reason: reason.into(),
            goodbye: true,
        }
    }

    pub(super) fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = frame.map_or((CloseCode::NO_STATUS, ZeekString::default()), |frame| {
            (CloseCode(frame.code.into()), frame.reason.as_str().into())
        });
        Self {
            cause: CloseCause::Client,
            code,
            reason,
            goodbye: false,
        }
    }

    fn vanished(reason: impl Into<ZeekString>) -> Self {
        Self {
            cause: CloseCause::Vanished,
            code: CloseCode::ABNORMAL,
            reason: reason.into(),
            goodbye: false,
        }
    }

    pub(super) fn of(error: &tungstenite::Error, message_max: usize) -> Self {
        use tungstenite::Error;

        match error {
            Error::Io(error) => Self::vanished(error.to_string()),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::vanished("closed without a CLOSE frame")
            }
            Error::Capacity(_) => Self::ours(
                CloseCause::TooBig,
                CloseCode::TOO_BIG,
                format!("message too big: at most {message_max} bytes are allowed"),
            ),
            Error::Utf8(_) => Self::ours(
                CloseCause::InvalidUtf8,
                CloseCode::INVALID_PAYLOAD,
                "text message is not UTF-8",
            ),
            Error::Protocol(error) => Self::ours(
                CloseCause::Protocol,
                CloseCode::PROTOCOL,
                format!("client breaks the WebSocket protocol: {error}"),
            ),
            other => Self::ours(
                CloseCause::Internal,
                CloseCode::INTERNAL,
                format!("the connection cannot go on: {other}"),
            ),
        }
    }

    /// The CLOSE frame that says so.
    pub(super) fn frame(&self) -> CloseFrame {
        CloseFrame {
            code: self.code.0.into(),
            reason: truncated(&self.reason.to_str_lossy(), REASON_LEN_MAX).into(),
        }
    }
}

/// The beginning of a text, cut between characters.
pub(super) fn truncated(text: &str, len_max: usize) -> &str {
    (0..=len_max.min(text.len()))
        .rev()
        .find_map(|end| text.get(..end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let reason = |text: &str| {
            let ending = Ending::ours(CloseCause::Internal, CloseCode::INTERNAL, text);
            ending.frame().reason.as_str().to_owned()
        };
        assert_eq!(reason(""), "");
        assert_eq!(reason(&"x".repeat(123)), "x".repeat(123));
        assert_eq!(reason(&"x".repeat(124)), "x".repeat(123));
        // Two bytes each.
        assert_eq!(reason(&"\u{e9}".repeat(100)), "\u{e9}".repeat(61));
    }
}
