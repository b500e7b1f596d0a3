use std::collections::BTreeMap;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What a server has seen since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CountersSnapshot {
    /// Connections open now, those in their HTTP upgrade included.
    pub connections_open: u64,
    /// Connections accepted, refused ones included.
    pub connections: u64,
    /// Connections refused because too many were open.
    pub refused: u64,
    /// Times that accepting a connection failed, for example for want of file descriptors.
    pub accept_errors: u64,
    /// Connections that did not become a WebSocket: bad or incomplete HTTP requests.
    pub handshake_failures: u64,
    /// Connections that began with TLS on this plaintext port; counted in `handshake_failures` too.
    pub tls_on_plaintext: u64,
    /// Messages received, good or bad.
    pub messages_in: u64,
    /// Bytes received in messages.
    pub bytes_in: u64,
    /// Messages handed to the system for sending.
    pub messages_out: u64,
    /// Bytes of these.
    pub bytes_out: u64,
    /// Pings received.
    pub pings_in: u64,
    /// Error messages sent, by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// Connections ended after their upgrade, by cause.
    pub closes: BTreeMap<CloseCause, u64>,
    /// Connection tasks that panicked.
    pub panics: u64,
}
