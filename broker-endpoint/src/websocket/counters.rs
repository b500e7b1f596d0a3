use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::counter::Counter;

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

/// What a server has seen since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CountersSnapshot {
    /// Connections open now, those in their HTTP upgrade included.
    pub connections_open: u64,
    /// Connections accepted, refused ones included.
    pub connections: u64,
    /// Connections refused because too many were open.
    pub refused: u64,
    /// Connections that said nothing and were closed because others needed their place.
    pub evicted: u64,
    /// Times that accepting a connection failed, for example for want of file descriptors.
    pub accept_errors: u64,
    /// Connections that did not become a WebSocket: bad or incomplete HTTP requests.
    pub handshake_failures: u64,
    /// Connections that began with TLS on this plaintext port; counted in `handshake_failures` too.
    pub tls_on_plaintext: u64,
    /// TLS handshakes that failed, and connections that said nothing where TLS is possible; counted in
    /// `handshake_failures` too.
    pub tls_failures: u64,
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

/// The counters behind a [`CountersSnapshot`]; its fields tell what is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: Counter,
    pub(super) refused: Counter,
    pub(super) evicted: Counter,
    pub(super) accept_errors: Counter,
    pub(super) handshake_failures: Counter,
    pub(super) tls_on_plaintext: Counter,
    pub(super) tls_failures: Counter,
    pub(super) panics: Counter,
    pub(super) pings_in: Counter,
    messages_in: Counter,
    bytes_in: Counter,
    messages_out: Counter,
    bytes_out: Counter,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    closes: Mutex<BTreeMap<CloseCause, u64>>,
}

impl Counters {
    pub(super) fn received(&self, bytes: usize) {
        self.messages_in.add(1);
        self.bytes_in.add(bytes);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.messages_out.add(1);
        self.bytes_out.add(bytes);
    }

    pub(super) fn error(&self, code: &'static str) {
        *lock(&self.errors).entry(code).or_default() += 1;
    }

    pub(super) fn closed(&self, cause: CloseCause) {
        *lock(&self.closes).entry(cause).or_default() += 1;
    }

    pub(super) fn snapshot(&self, connections_open: usize) -> CountersSnapshot {
        CountersSnapshot {
            connections_open: u64::try_from(connections_open).unwrap_or(u64::MAX),
            connections: self.connections.get(),
            refused: self.refused.get(),
            evicted: self.evicted.get(),
            accept_errors: self.accept_errors.get(),
            handshake_failures: self.handshake_failures.get(),
            tls_on_plaintext: self.tls_on_plaintext.get(),
            tls_failures: self.tls_failures.get(),
            messages_in: self.messages_in.get(),
            bytes_in: self.bytes_in.get(),
            messages_out: self.messages_out.get(),
            bytes_out: self.bytes_out.get(),
            pings_in: self.pings_in.get(),
            errors: lock(&self.errors).clone(),
            closes: lock(&self.closes).clone(),
            panics: self.panics.get(),
        }
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that could panic runs under these locks.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
