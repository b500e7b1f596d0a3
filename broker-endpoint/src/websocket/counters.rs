use serde::Serialize;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseCause {
    /// The client closed in an orderly way.
    Client,
    /// The connection broke or ended without a CLOSE frame.
    Vanished,
    /// The client violated the WebSocket protocol.
    Protocol,
    /// A text message is not UTF-8.
    InvalidUtf8,
    /// A message is larger than allowed.
    TooBig,
    /// The path or a header of the request is not accepted.
    Refused,
    /// Pings remained unanswered.
    PingTimeout,
    /// The client read too slowly.
    Overflow,
    /// The server was shut down.
    Terminating,
    /// A fault of ours.
    Internal,
}

impl CloseCause {
    /// The cause as it stands in the log: its key among the counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Vanished => "vanished",
            Self::Protocol => "protocol",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooBig => "too_big",
            Self::Refused => "refused",
            Self::PingTimeout => "ping_timeout",
            Self::Overflow => "overflow",
            Self::Terminating => "terminating",
            Self::Internal => "internal",
        }
    }
}

crate::counter::counters! {
    /// What a server has seen since its start.
    CountersSnapshot {
        /// Connections open now, those in their HTTP upgrade included.
        connections_open,
        /// Connections accepted, refused ones included.
        connections,
        /// Connections refused because too many were open.
        refused,
        /// Connections that said nothing and were closed because others needed their place.
        evicted,
        /// Times that accepting a connection failed, for example for want of file descriptors.
        accept_errors,
        /// Connections that did not become a WebSocket: bad or incomplete HTTP requests.
        handshake_failures,
        /// Connections that began with TLS on this plaintext port; counted in `handshake_failures` too.
        tls_on_plaintext,
        /// TLS handshakes that failed, and connections that said nothing where TLS is possible; counted in
        /// `handshake_failures` too.
        tls_failures,
        /// Messages received, good or bad.
        messages_in,
        /// Bytes received in messages.
        bytes_in,
        /// Messages handed to the system for sending.
        messages_out,
        /// Bytes of these.
        bytes_out,
        /// Pings received.
        pings_in,
        /// Connection tasks that panicked.
        panics,
        ;
        /// Error messages sent, by code.
        errors by &'static str,
        /// Connections ended after their upgrade, by cause.
        closes by CloseCause,
    }
}
