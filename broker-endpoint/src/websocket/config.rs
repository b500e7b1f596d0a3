use std::{net::SocketAddr, time::Duration};

use broker_codec::{json::DataMessage, websocket::SubscriptionLimits};

use crate::{
    error::EndpointError,
    tls::{Acceptance, TlsConfig, TlsContext},
};

/// What a [`WebSocketServer`](super::WebSocketServer) is started with.
///
/// Start from [`WebSocketConfig::new`] and change what should differ; the defaults are the constants of this type.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebSocketConfig {
    /// Where to listen. Port 0 lets the system choose. `0.0.0.0` is every IPv4 address and no IPv6 address.
    pub listen: Vec<SocketAddr>,
    /// Whether connections are protected.
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
    /// The longest HTTP request, in bytes.
    pub http_header_max: usize,
    /// How often clients are pinged; `None` never. A client that did not answer a ping when the next one is due is
    /// closed, so without pings a client that vanished silently stays until the system notices.
    pub ping_interval: Option<Duration>,
    /// The largest message, fragmented or not, in bytes.
    pub message_max: usize,
    /// How long a message may be on its way while its client answers no pings, because a frame that takes long keeps
    /// the answer from coming.
    pub message_timeout: Duration,
    /// What a client may subscribe to.
    pub subscriptions: SubscriptionLimits,
    /// What the other clients get of what a client publishes; as it is by default.
    pub shown: fn(DataMessage) -> DataMessage,
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

    pub(super) fn acceptance(&self) -> Result<Acceptance, EndpointError> {
        let (Self::Offered(config) | Self::Required(config)) = self else {
            return Ok(Acceptance::Plaintext);
        };
        Ok(TlsContext::new(config)?.map_or(Acceptance::Plaintext, Acceptance::Either))
    }
}

impl WebSocketConfig {
    /// As Zeek's server (`WebSocket-IXWebSocket.cc`).
    pub const CLIENTS_MAX: usize = 100;
    /// A refusal takes as long as the client takes to read it, a second at most, so that a burst of hundreds is over in seconds.
    pub const REFUSALS_MAX: usize = 64;
    /// As Zeek's server (`SocketServer::kDefaultHandShakeTimeoutSecs`).
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
    /// Clients send about 250 bytes; a few thousand leave room for cookies and proxies.
    pub const HTTP_HEADER_MAX: usize = 8 * 1024;
    /// As `Cluster::default_websocket_ping_interval`.
    pub const PING_INTERVAL: Duration = Duration::from_secs(5);
    /// About ninety times a configuration of 2,000 nodes.
    pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;
    /// 16 MiB in this time is a line of 4.5 Mbit/s.
    pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
    /// A client hears of every request and response of every other: of 100, each with credit for 64 requests.
    pub const OUTBOUND_MESSAGES_MAX: usize = 16 * 1024;
    /// Four of the largest messages that are accepted.
    pub const OUTBOUND_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// As `Cluster::default_websocket_max_event_queue_size`.
    pub const INBOUND_EVENTS_MAX: usize = 32;
    /// Enough for a round trip around the earth with retransmissions.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

    /// The defaults.
    pub fn new(listen: Vec<SocketAddr>, node_id: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            listen,
            tls: WebSocketTls::default(),
            node_id: node_id.into(),
            version: version.into(),
            clients_max: Self::CLIENTS_MAX,
            refusals_max: Self::REFUSALS_MAX,
            hosts: Vec::new(),
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            http_header_max: Self::HTTP_HEADER_MAX,
            ping_interval: Some(Self::PING_INTERVAL),
            message_max: Self::MESSAGE_MAX,
            message_timeout: Self::MESSAGE_TIMEOUT,
            subscriptions: SubscriptionLimits::default(),
            shown: |message| message,
            outbound_messages_max: Self::OUTBOUND_MESSAGES_MAX,
            outbound_bytes_max: Self::OUTBOUND_BYTES_MAX,
            inbound_events_max: Self::INBOUND_EVENTS_MAX,
            close_timeout: Self::CLOSE_TIMEOUT,
        }
    }

    /// Lowers the limits so that connections take at most so many file descriptors.
    pub fn fit_descriptors(&mut self, max: usize) {
        self.refusals_max = self.refusals_max.min(max / 4).max(1);
        let left = max.saturating_sub(self.refusals_max);
        self.clients_max = self.clients_max.min(left).max(1);
    }

    /// Refuses what would panic or block everything later.
    pub(super) fn check(&self) -> Result<(), EndpointError> {
        if self.listen.is_empty() {
            return Err(EndpointError::NoAddress);
        }
        let positive = [
            ("clients_max", self.clients_max),
            ("refusals_max", self.refusals_max),
            ("http_header_max", self.http_header_max),
            ("message_max", self.message_max),
            ("outbound_messages_max", self.outbound_messages_max),
            ("outbound_bytes_max", self.outbound_bytes_max),
            ("inbound_events_max", self.inbound_events_max),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(EndpointError::Config {
                name,
                rule: "greater than 0",
            });
        }
        if self.clients_max.max(self.refusals_max) > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(EndpointError::Config {
                name: "clients_max",
                rule: "a number of connections",
            });
        }
        if self.ping_interval.is_some_and(|interval| interval.is_zero()) {
            return Err(EndpointError::Config {
                name: "ping_interval",
                rule: "greater than 0",
            });
        }
        Ok(())
    }
}
