use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum CloseCause {
    /// The client closed in an orderly way.
    Client,
    /// The connection broke or ended without a CLOSE frame, as those of zeek-client do.
    Vanished,
    /// The client violated the WebSocket protocol.
    Protocol,
    /// A text message is not UTF-8.
    InvalidUtf8,
    /// A message is larger than allowed.
    TooBig,
    /// The path or a header of the request is not accepted.
    Refused,
    /// The client's certificate was revoked meanwhile.
    Revoked,
    /// Pings remained unanswered.
    PingTimeout,
    /// The client read too slowly.
    Overflow,
    /// The server was shut down.
    Terminating,
    /// A fault of ours.
    Internal,
}

/// What a server counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Counted {
    /// Connections accepted, refused ones included.
    Connections,
    /// Connections refused because too many were open.
    Refused,
    /// Connections that said nothing and were closed because others needed their place.
    Evicted,
    /// Times that accepting a connection failed, for example for want of file descriptors.
    AcceptErrors,
    /// Connections that did not become a WebSocket: bad or incomplete HTTP requests.
    HandshakeFailures,
    /// Connections that began with TLS on this plaintext port; counted as `websocket_handshake_failures` too.
    TlsOnPlaintext,
    /// TLS handshakes that failed, and connections that said nothing where TLS is possible; counted as `websocket_handshake_failures` too.
    TlsFailures,
    /// Messages received, good or bad.
    MessagesIn,
    /// Bytes received in messages.
    BytesIn,
    /// Messages handed to the system for sending.
    MessagesOut,
    /// Bytes of the messages handed over.
    BytesOut,
    /// Pings received.
    PingsIn,
    /// Connection tasks that panicked.
    Panics,
}
