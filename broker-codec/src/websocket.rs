//! The JSON sessions over WebSocket, seen from either side (`src/cluster/websocket/WebSocket.cc` in zeek/zeek at
//! v9.0.0-rc1).

use std::fmt;

/// The status code of a CLOSE frame (RFC 6455, 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The connection has done its work.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down.
    pub const GOING_AWAY: Self = Self(1001);
    /// The WebSocket protocol was violated.
    pub const PROTOCOL: Self = Self(1002);
    /// A CLOSE frame without a code was received; never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection ended without a CLOSE frame; never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// A text message is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The other side does what is not wanted.
    pub const POLICY: Self = Self(1008);
    /// A message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// A fault of the sender, or unanswered pings.
    pub const INTERNAL: Self = Self(1011);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionLimits {
    /// How many prefixes.
    pub count_max: usize,
    /// How long each may be, in bytes.
    pub len_max: usize,
}

impl SubscriptionLimits {
    /// zeek-client subscribes to one prefix.
    pub const COUNT_MAX: usize = 256;
    /// The longest topic of Zeek's own has 40 bytes; an agent's name may add a few hundred.
    pub const LEN_MAX: usize = 1024;
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self {
            count_max: Self::COUNT_MAX,
            len_max: Self::LEN_MAX,
        }
    }
}

/// Why a message of a client is not accepted: the error message that it is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The code, as [`Rejection::DESERIALIZATION_FAILED`].
    pub code: &'static str,
    /// The explanation. Begins with Zeek's text where Zeek has one.
    pub context: String,
}

impl Rejection {
    /// The code of every error in a message.
    pub const DESERIALIZATION_FAILED: &str = "deserialization_failed";
    /// The code of a wrong path.
    pub const INVALID_URI: &str = "invalid_uri";
    /// The code of a wrong `X-Application-Name`.
    pub const INVALID_APPLICATION_NAME: &str = "invalid_application_name";

    /// A value that is not an event, not a known one, or not with these arguments.
    pub fn no_event(explanation: &dyn fmt::Display) -> Self {
        // DIFFERENCE: Zeek ends the text before the colon.
        Self {
            code: Self::DESERIALIZATION_FAILED,
            context: format!("failed to create Zeek event: {explanation}"),
        }
    }
}
