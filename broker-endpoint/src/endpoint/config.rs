use std::{net::IpAddr, time::Duration};

use broker_codec::{EndpointId, Topic, data::VALUES_MAX, handshake::HANDSHAKE_TIMEOUT, peering::Liveness};

use crate::tls::TlsConfig;

/// What an [`Endpoint`](super::Endpoint) is started with.
///
/// Start from [`EndpointConfig::default`] and change what should differ. Programs set what comes first and leave the limits, which
/// tests make small.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointConfig {
    /// Our id; `None` draws a new one, as every start of a Broker endpoint does. An endpoint that comes back with its old
    /// id is refused by peers that have not noticed yet that it was gone.
    pub id: Option<EndpointId>,
    /// How connections are protected, those that we accept and those that we open.
    pub tls: TlsConfig,
    /// The prefixes to announce from the start.
    pub subscriptions: Vec<Topic>,
    /// How silent peers are noticed; `None` leaves that to the system, which may take for ever.
    pub liveness: Option<Liveness>,
    /// How long a connection may take from its beginning to the end of Broker's handshake, TLS included.
    pub handshake_timeout: Duration,
    /// The address of this machine that connections are opened from; `None` leaves it to the system. Peers with an address of the other
    /// family cannot be connected to.
    pub source: Option<IpAddr>,
    /// How long opening a connection may take for each address that a name has.
    pub connect_timeout: Duration,
    /// How many bytes a peer may send before its handshake is complete.
    pub handshake_bytes_max: usize,
    /// The largest message that is accepted or sent, in bytes, its envelope included.
    pub message_max: u32,
    /// How many accepted connections may be peerings at a time. Further ones are closed.
    pub connections_max: usize,
    /// How many of these may come from one address. For this limit and those below, a /64 network of IPv6 is one address.
    pub connections_per_address_max: usize,
    /// How many accepted connections may be in their handshake at a time. Further ones wait, in order; but one of an address that has more
    /// is closed for one of another address, and one that has taken a third of its time for one that waits.
    pub handshakes_max: usize,
    /// How many of these may come from one address; further ones wait, in order. A handshake that failed counts for five
    /// seconds more.
    pub handshakes_per_address_max: usize,
    /// How many accepted connections may wait for their handshake to begin, because the peer is silent or its address has
    /// too many. When there is one more, the one that is silent for longest is closed, or if none is the oldest.
    pub waiting_max: usize,
    /// How many messages may wait for a peer that reads slowly. One that takes nothing while something waits for it is given
    /// up after the silence of `liveness`.
    pub outbound_messages_max: usize,
    /// How many bytes may wait for a peer that reads slowly. When more would have to wait, what waits longest is dropped, as with the
    /// default of Zeek's `Broker::peer_overflow_policy`.
    pub outbound_bytes_max: usize,
    /// How many events may wait for the owner of the endpoint. When it is full, peers are not read from.
    pub inbound_events_max: usize,
    /// How much memory the messages among these may take, in bytes, estimated from above. When it is used up, peers are not
    /// read from.
    pub inbound_bytes_max: usize,
    /// How many bad messages of a peer are forgiven within a minute.
    pub rejections_max: u32,
}

impl EndpointConfig {
    /// The time in which rejected messages are counted.
    pub(crate) const REJECTIONS_WINDOW: Duration = Duration::from_secs(60);

    /// The memory that a message of this many bytes may take once it is decoded: itself, and what its values take.
    pub(crate) fn weight(len: usize) -> usize {
        len.saturating_add(size_of::<broker_codec::Data>().saturating_mul(len.min(VALUES_MAX)))
    }

    /// Lowers the limits so that accepted connections take at most so many file descriptors.
    pub fn fit_descriptors(&mut self, max: usize) {
        let (half, quarter) = ((max / 2).max(1), (max / 4).max(1));
        self.connections_max = self.connections_max.min(half);
        self.handshakes_max = self.handshakes_max.min(quarter);
        self.waiting_max = self.waiting_max.min(quarter);
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            id: None,
            tls: TlsConfig::default(),
            subscriptions: Vec::new(),
            // A peer is given up 20 s after a ping that it did not answer.
            liveness: Some(Liveness {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(30),
            }),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            source: None,
            // Enough for two lost SYN segments. Broker waits 1 s.
            connect_timeout: Duration::from_secs(5),
            // Room for a filter of some thousand topics.
            handshake_bytes_max: 256 * 1024,
            // As on the WebSocket port: about ninety times a configuration of 2,000 nodes.
            message_max: 16 * 1024 * 1024,
            // All nodes of a large cluster and their agents.
            connections_max: 2048,
            // All nodes of a large machine.
            connections_per_address_max: 512,
            // With the bytes before the end of a handshake, 256 MiB in the worst case.
            handshakes_max: 1024,
            // Keeps the processor busy also where each handshake waits for a slow network.
            handshakes_per_address_max: 32,
            // More than a flood of ten thousand; they cost little.
            waiting_max: 16_384,
            // As Zeek's `Broker::peer_buffer_size` since 7.2.
            outbound_messages_max: 8192,
            // Four of the largest messages.
            outbound_bytes_max: 64 * 1024 * 1024,
            // Few, so that peers take turns: one that sends much does not fill the queue before others.
            inbound_events_max: 32,
            // One of the largest messages, or thousands of usual ones.
            inbound_bytes_max: 64 * 1024 * 1024,
            // A peer that sends more than this is broken or hostile.
            rejections_max: 100,
        }
    }
}
