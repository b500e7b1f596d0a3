//! The JSON sessions of WebSocket clients (`src/cluster/websocket/WebSocket.cc` in zeek/zeek at
//! v9.0.0-rc1).
//!
//! ```text
//!                    bad path or application name
//!   ServerSession::open ------------------------------> error message, CLOSE 1008
//!          |
//!          v                     anything else than a list of strings
//!   awaiting subscriptions <-----------------------------+ error message
//!          | list of strings: ack                        |
//!          v                                             |
//!      subscribed  <-------------------------------------+
//!                     data message, or error message
//! ```
//!
//! A server handles the messages of a client in the order they arrive; what a client sends before it has seen
//! its ack is thereby handled after it.

mod subscriptions;
#[cfg(test)]
mod tests;

use std::fmt;

use strum::{Display, EnumIter, EnumMessage, IntoStaticStr};

use crate::{
    data::ZeekString,
    json::{Ack, Answer, DataMessage, ErrorMessage, JsonError, JsonErrorKind},
};

pub use subscriptions::{SUBSCRIPTION_LEN_MAX, SUBSCRIPTIONS_LEN_MAX, SUBSCRIPTIONS_MAX};

/// The one path that is served (`WebSocket-IXWebSocket.cc`). Compared with the whole request target, so neither a
/// query nor a trailing slash may follow.
pub const PATH: &str = "/v1/messages/json";

/// One client's session as the server sees it: what to do with each message.
///
/// ```
/// use broker_codec::websocket::{Accepted, PATH, ServerSession};
///
/// let mut session = ServerSession::open("1f-websocket-0", "9.0.0-rc1", PATH, None)?;
/// let Accepted::Subscribed { topics, ack } = session.handle(br#"["zeek/management/controller"]"#)? else {
///     unreachable!("the first message is the list of subscriptions");
/// };
/// assert_eq!(topics, ["zeek/management/controller"]);
/// assert_eq!(ack, r#"{"type":"ack","endpoint":"1f-websocket-0","version":"9.0.0-rc1"}"#);
/// # Ok::<(), broker_codec::websocket::Rejection>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerSession {
    state: ServerState,
}

#[derive(Clone, Debug)]
enum ServerState {
    AwaitSubscriptions { ack: Answer },
    Subscribed,
}

/// A message of a client that a server accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    Subscribed {
        /// The topic prefixes, as sent; may be empty.
        topics: Vec<ZeekString>,
        /// What to answer, before anything is delivered to the client.
        ack: String,
    },
    /// Any further message: something is published. Nothing is known about it except that it is well-formed.
    Publication(DataMessage),
}

impl ServerSession {
    /// Begins a session after the HTTP upgrade.
    ///
    /// `endpoint` is the name that the client gets, `version` the version of the server, `target` the request target
    /// as in the HTTP request line, `application_name` the value of the header `X-Application-Name`.
    ///
    /// # Errors
    ///
    /// What the client is told before the connection is closed with [`CloseCode::POLICY`] and the context as reason.
    pub fn open(
        endpoint: &str,
        version: &str,
        target: &str,
        application_name: Option<&[u8]>,
    ) -> Result<Self, Rejection> {
        if target != PATH {
            return Err(Rejection::of(
                RejectionCode::InvalidUri,
                "Invalid URI - use /v1/messages/json",
            ));
        }
        if application_name.is_some_and(|name| !name.iter().copied().all(is_application_name_byte)) {
            return Err(Rejection::explained(
                RejectionCode::InvalidApplicationName,
                "Invalid X-Application-Name",
                &"only ASCII letters, digits and / _ - . = : * @ are allowed",
            ));
        }
        let (endpoint, version) = (endpoint.to_owned(), version.to_owned());
        let ack = Answer::Ack(Ack { endpoint, version });
        Ok(Self {
            state: ServerState::AwaitSubscriptions { ack },
        })
    }

    /// Handles a message, text or binary.
    ///
    /// # Errors
    ///
    /// What to answer. The session goes on as if the message had not been sent.
    pub fn handle(&mut self, message: &[u8]) -> Result<Accepted, Rejection> {
        match &mut self.state {
            // DIFFERENCE(bad-first-message): Zeek answers alike, but then never processes a further message (W-23).
            ServerState::AwaitSubscriptions { ack } => {
                let topics = subscriptions::read(message)?;
                let ack = ack.encode();
                self.state = ServerState::Subscribed;
                Ok(Accepted::Subscribed { topics, ack })
            }
            ServerState::Subscribed => match DataMessage::decode(message) {
                Ok(publication) => Ok(Accepted::Publication(publication)),
                Err(error) => Err(Rejection::of_data(&error)),
            },
        }
    }
}

/// Whether a byte may stand in `X-Application-Name` (`WebSocket.cc`, `is_valid_application_name`).
fn is_application_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_-.=:*@".contains(&byte)
}

/// Why a message of a client is not accepted: the error message that it is answered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {context}")]
pub struct Rejection {
    pub code: RejectionCode,
    /// The explanation. Begins with Zeek's text where Zeek has one.
    pub context: String,
}

/// The code of an error message, written as `deserialization_failed`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum RejectionCode {
    /// A message that cannot be read, or is not allowed.
    DeserializationFailed,
    /// The path of the request is not that of the API.
    InvalidUri,
    /// The header `X-Application-Name` has other characters than it may have.
    InvalidApplicationName,
}

impl Rejection {
    /// A value that is not an event, not a known one, or not with these arguments.
    pub fn no_event(explanation: &dyn fmt::Display) -> Self {
        Self::explained(
            RejectionCode::DeserializationFailed,
            "failed to create Zeek event",
            explanation,
        )
    }

    /// The error message as it is sent.
    pub fn to_json(&self) -> String {
        let (code, context) = (self.code.to_string(), self.context.clone());
        Answer::Error(ErrorMessage { code, context }).encode()
    }

    fn of(code: RejectionCode, context: impl Into<String>) -> Self {
        Self {
            code,
            context: context.into(),
        }
    }

    /// DIFFERENCE(explained-errors): Zeek's text ends before the colon, and does not tell what is wrong where.
    fn explained(code: RejectionCode, text: &str, explanation: &dyn fmt::Display) -> Self {
        Self::of(code, format!("{text}: {explanation}"))
    }

    fn of_data(error: &JsonError) -> Self {
        match error.kind {
            JsonErrorKind::NoTopic => Self::of(RejectionCode::DeserializationFailed, error.kind.to_string()),
            _ => Self::explained(
                RejectionCode::DeserializationFailed,
                "failed to decode JSON object",
                error,
            ),
        }
    }
}

/// The status code of a CLOSE frame (RFC 6455, 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL: Self = Self(1002);
    /// A CLOSE frame without a code was received; never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection ended without a CLOSE frame; never sent.
    pub const ABNORMAL: Self = Self(1006);
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The other side does what is not wanted.
    pub const POLICY: Self = Self(1008);
    pub const TOO_BIG: Self = Self(1009);
    /// A fault of the sender, or unanswered pings.
    pub const INTERNAL: Self = Self(1011);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
