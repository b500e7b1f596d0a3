use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::json::DataMessage;

use super::event::ClientInfo;
use crate::{
    error::EndpointError,
    tls::{Acceptance, Revoked, TlsConfig, TlsContext},
};

/// What a [`WebSocketServer`](super::WebSocketServer) is started with.
///
/// Start from [`WebSocketConfig::new`] and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebSocketConfig {
    /// Where to listen. Port 0 lets the system choose. `0.0.0.0` is every IPv4 address and no IPv6 address; `::` is every address.
    pub listen: SocketAddr,
    pub tls: WebSocketTls,
    /// What acks begin their endpoint name with: Zeek puts its Broker endpoint ID here.
    pub node_id: String,
    /// The version in acks: Zeek puts its own here, as in `9.0.0-rc1`.
    pub version: String,
    /// How many connections may be open at a time, those in their HTTP upgrade included. When there is one more, one that has said nothing for
    /// half a second makes room.
    pub clients_max: usize,
    /// How many connections at a time are told that there is no room for them; further ones wait to be accepted.
    pub refusals_max: usize,
    /// The names that a web page of ours may have, besides addresses, `localhost`, the machine's name and the names in our certificate.
    pub hosts: Vec<String>,
    /// How long a client may take from connecting to the end of its HTTP request.
    pub handshake_timeout: Duration,
    /// How often clients are pinged; `None` never. A client that did not answer a ping when the next one is due is
    /// closed, so without pings a client that vanished silently stays until the system notices.
    pub ping_interval: Option<Duration>,
    /// The largest message, fragmented or not, in bytes.
    pub message_max: usize,
    /// What the other clients get of what a client publishes; as it is by default.
    pub shown: fn(DataMessage) -> DataMessage,
    /// Which clients hear what is not for them alone; by default all do.
    pub may_hear: MayHear,
    /// How many messages may wait for a client that reads slowly.
    pub outbound_messages_max: usize,
    /// How many bytes may wait for a client that reads slowly. A message for which nothing else waits is taken whatever its
    /// length.
    pub outbound_bytes_max: usize,
    /// How many events may wait for the owner of the server. When it is full, clients are not read from, each in turn.
    pub inbound_events_max: usize,
    /// How long a connection that we end may take to take notice.
    pub close_timeout: Duration,
}

/// Says which clients hear what is published, and what other clients publish. It is asked when a client subscribes, and again by
/// [`WebSocketServer::reassess`](super::WebSocketServer::reassess).
#[derive(Clone)]
pub struct MayHear(Arc<dyn Fn(&ClientInfo) -> bool + Send + Sync>);

impl MayHear {
    pub fn new(may_hear: impl Fn(&ClientInfo) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_hear))
    }

    pub(super) fn check(&self, client: &ClientInfo) -> bool {
        (self.0)(client)
    }
}

impl Default for MayHear {
    fn default() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for MayHear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MayHear").finish_non_exhaustive()
    }
}

/// Whether the connections of a [`WebSocketServer`](super::WebSocketServer) are protected by TLS.
#[derive(Clone, Debug, Default)]
pub enum WebSocketTls {
    /// They are not; a client that speaks TLS is told so.
    #[default]
    Off,
    /// As each client likes: its first byte tells. With [`TlsConfig::Anonymous`] this serves all releases of zeek-client, of
    /// which 1.2 to 1.4 speak anonymous TLS and 1.5 plaintext unless configured otherwise.
    Offered(TlsConfig),
    /// They are. A client that speaks plaintext is told so, in plaintext.
    Required(TlsConfig),
}

impl WebSocketTls {
    /// Words for the mode, as in `anonymous, optional`.
    pub fn name(&self) -> String {
        match self {
            Self::Off => String::from("off"),
            Self::Offered(config) => format!("{}, optional", config.name()),
            Self::Required(config) => config.name().to_owned(),
        }
    }

    /// Whether a client has to show a certificate.
    pub const fn asks_for_certificates(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Offered(config) | Self::Required(config) => config.asks_for_certificates(),
        }
    }

    /// The same where these certificates of clients are revoked.
    #[must_use]
    pub fn with_revoked(self, revoked: &Revoked) -> Self {
        match self {
            Self::Off => Self::Off,
            Self::Offered(config) => Self::Offered(config.with_revoked(revoked)),
            Self::Required(config) => Self::Required(config.with_revoked(revoked)),
        }
    }

    /// Which certificates of clients are revoked; none if none are looked at.
    pub(super) fn revoked(&self) -> Revoked {
        match self {
            Self::Off => Revoked::default(),
            Self::Offered(config) | Self::Required(config) => config.revoked(),
        }
    }

    pub(super) fn acceptance(&self) -> Result<Acceptance, EndpointError> {
        let (Self::Offered(config) | Self::Required(config)) = self else {
            return Ok(Acceptance::Plaintext);
        };
        Ok(TlsContext::new(config)?.map_or(Acceptance::Plaintext, Acceptance::Either))
    }
}

impl WebSocketConfig {
    /// The longest HTTP request, in bytes. Clients send about 250; a few thousand leave room for cookies and proxies.
    pub const HTTP_HEADER_MAX: usize = 8 * 1024;

    pub fn new(listen: SocketAddr, node_id: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            listen,
            tls: WebSocketTls::default(),
            node_id: node_id.into(),
            version: version.into(),
            // As Zeek's server (`WebSocket-IXWebSocket.cc`).
            clients_max: 100,
            // A refusal takes as long as the client takes to read it, a second at most, so that a burst of hundreds is over in seconds.
            refusals_max: 64,
            hosts: Vec::new(),
            // As Zeek's server (`SocketServer::kDefaultHandShakeTimeoutSecs`).
            handshake_timeout: Duration::from_secs(3),
            // As `Cluster::default_websocket_ping_interval`.
            ping_interval: Some(Duration::from_secs(5)),
            // About ninety times a configuration of 2,000 nodes.
            message_max: 16 * 1024 * 1024,
            shown: |message| message,
            may_hear: MayHear::default(),
            // A client hears of every request and response of every other: of 100, each with credit for 64 requests.
            outbound_messages_max: 16 * 1024,
            // Four of the largest messages that are accepted.
            outbound_bytes_max: 64 * 1024 * 1024,
            // As `Cluster::default_websocket_max_event_queue_size`.
            inbound_events_max: 32,
            // Enough for a round trip around the earth with retransmissions.
            close_timeout: Duration::from_secs(2),
        }
    }

    /// Lowers the limits so that connections take at most so many file descriptors.
    pub fn fit_descriptors(&mut self, max: usize) {
        self.refusals_max = self.refusals_max.min(max / 4).max(1);
        let left = max.saturating_sub(self.refusals_max);
        self.clients_max = self.clients_max.min(left).max(1);
    }
}
