use std::time::Duration;

use broker_codec::{EndpointId, Topic, data::VALUES_MAX, frame::OPERATION_FRAME_MAX, peering::Liveness};

use crate::{error::EndpointError, queue::OverflowPolicy, tls::TlsConfig};

/// What an [`Endpoint`](super::Endpoint) is started with.
///
/// Start from [`EndpointConfig::default`] and change what should differ; the defaults are the constants of this type.
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
    /// How many accepted connections may be in their handshake at a time. When there is one more, the oldest is closed.
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
    /// How many bytes may wait for a peer that reads slowly; at least `message_max`.
    pub outbound_bytes_max: usize,
    /// What happens when more would have to wait.
    pub overflow: OverflowPolicy,
    /// How many events may wait for the owner of the endpoint. When it is full, peers are not read from.
    pub inbound_events_max: usize,
    /// How much memory the messages among these may take, in bytes, estimated from above. When it is used up, peers are not
    /// read from. At least [`EndpointConfig::weight`] of `message_max`.
    pub inbound_bytes_max: usize,
    /// How many bad messages of a peer are forgiven within [`EndpointConfig::REJECTIONS_WINDOW`].
    pub rejections_max: u32,
}

impl EndpointConfig {
    /// A peer is pinged after this silence.
    pub const LIVENESS_INTERVAL: Duration = Duration::from_secs(10);
    /// A peer is given up after this silence: 20 s after a ping that it did not answer.
    pub const LIVENESS_TIMEOUT: Duration = Duration::from_secs(30);
    /// See [`broker_codec::handshake::HANDSHAKE_TIMEOUT`].
    pub const HANDSHAKE_TIMEOUT: Duration = broker_codec::handshake::HANDSHAKE_TIMEOUT;
    /// Enough for two lost SYN segments. Broker waits 1 s.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Room for a filter of some thousand topics.
    pub const HANDSHAKE_BYTES_MAX: usize = 256 * 1024;
    /// As on the WebSocket port: about ninety times a configuration of 2,000 nodes.
    pub const MESSAGE_MAX: u32 = 16 * 1024 * 1024;
    /// All nodes of a large cluster and their agents.
    pub const CONNECTIONS_MAX: usize = 2048;
    /// All nodes of a large machine.
    pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 512;
    /// With [`Self::HANDSHAKE_BYTES_MAX`], 256 MiB in the worst case.
    pub const HANDSHAKES_MAX: usize = 1024;
    /// Keeps the processor busy also where each handshake waits for a slow network.
    pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 32;
    /// More than a flood of ten thousand; they cost little.
    pub const WAITING_MAX: usize = 16_384;
    /// As Zeek's `Broker::peer_buffer_size` since 7.2.
    pub const OUTBOUND_MESSAGES_MAX: usize = 8192;
    /// Four of the largest messages.
    pub const OUTBOUND_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// Few, so that peers take turns: one that sends much does not fill the queue before others.
    pub const INBOUND_EVENTS_MAX: usize = 32;
    /// One of the largest messages, or thousands of usual ones.
    pub const INBOUND_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// A peer that sends more than this is broken or hostile.
    pub const REJECTIONS_MAX: u32 = 100;
    /// The time in which rejected messages are counted.
    pub const REJECTIONS_WINDOW: Duration = Duration::from_secs(60);

    /// The memory that a message of this many bytes may take once it is decoded: itself, and what its values take.
    pub fn weight(len: usize) -> usize {
        len.saturating_add(size_of::<broker_codec::Data>().saturating_mul(len.min(VALUES_MAX)))
    }

    /// Lowers the limits so that accepted connections take at most so many file descriptors.
    pub fn fit_descriptors(&mut self, max: usize) {
        let (half, quarter) = ((max / 2).max(1), (max / 4).max(1));
        self.connections_max = self.connections_max.min(half);
        self.handshakes_max = self.handshakes_max.min(quarter);
        self.waiting_max = self.waiting_max.min(quarter);
    }

    pub(crate) fn validate(&self) -> Result<(), EndpointError> {
        let rules: [(&'static str, bool, &'static str); 12] = [
            ("message_max", self.message_max > 0, "greater than 0"),
            (
                "message_max",
                self.message_max <= OPERATION_FRAME_MAX,
                "at most 64 MiB",
            ),
            (
                "handshake_bytes_max",
                self.handshake_bytes_max > 0,
                "greater than 0",
            ),
            (
                "handshake_timeout",
                !self.handshake_timeout.is_zero(),
                "greater than 0",
            ),
            (
                "connect_timeout",
                !self.connect_timeout.is_zero(),
                "greater than 0",
            ),
            (
                "outbound_messages_max",
                self.outbound_messages_max > 0,
                "greater than 0",
            ),
            (
                "outbound_bytes_max",
                self.outbound_bytes_max >= frame_len(self.message_max),
                "room for a message of message_max",
            ),
            (
                "inbound_events_max",
                self.inbound_events_max > 0,
                "greater than 0",
            ),
            (
                "inbound_bytes_max",
                self.inbound_bytes_max >= Self::weight(frame_len(self.message_max)),
                "room for a message of message_max, decoded",
            ),
            (
                "inbound_bytes_max",
                self.inbound_bytes_max <= tokio::sync::Semaphore::MAX_PERMITS
                    && u32::try_from(self.inbound_bytes_max).is_ok(),
                "less than 4 GiB",
            ),
            (
                "liveness.interval",
                self.liveness.is_none_or(|liveness| !liveness.interval.is_zero()),
                "greater than 0",
            ),
            (
                "liveness.timeout",
                self.liveness
                    .is_none_or(|liveness| liveness.timeout > liveness.interval),
                "longer than the interval",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, rule)) => Err(EndpointError::Config { name, rule }),
            None => Ok(()),
        }
    }
}

/// The size of the frame around a message.
fn frame_len(message_len: u32) -> usize {
    usize::try_from(message_len)
        .unwrap_or(usize::MAX)
        .saturating_add(broker_codec::frame::HEADER_LEN)
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            id: None,
            tls: TlsConfig::default(),
            subscriptions: Vec::new(),
            liveness: Some(Liveness {
                interval: Self::LIVENESS_INTERVAL,
                timeout: Self::LIVENESS_TIMEOUT,
            }),
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            connect_timeout: Self::CONNECT_TIMEOUT,
            handshake_bytes_max: Self::HANDSHAKE_BYTES_MAX,
            message_max: Self::MESSAGE_MAX,
            connections_max: Self::CONNECTIONS_MAX,
            connections_per_address_max: Self::CONNECTIONS_PER_ADDRESS_MAX,
            handshakes_max: Self::HANDSHAKES_MAX,
            handshakes_per_address_max: Self::HANDSHAKES_PER_ADDRESS_MAX,
            waiting_max: Self::WAITING_MAX,
            outbound_messages_max: Self::OUTBOUND_MESSAGES_MAX,
            outbound_bytes_max: Self::OUTBOUND_BYTES_MAX,
            overflow: OverflowPolicy::default(),
            inbound_events_max: Self::INBOUND_EVENTS_MAX,
            inbound_bytes_max: Self::INBOUND_BYTES_MAX,
            rejections_max: Self::REJECTIONS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        type Spoil = fn(&mut EndpointConfig);
        let cases: [(Spoil, &str); 13] = [
            (
                |config| config.message_max = 0,
                "message_max must be greater than 0",
            ),
            (
                |config| config.message_max = OPERATION_FRAME_MAX + 1,
                "message_max must be at most 64 MiB",
            ),
            (
                |config| config.handshake_bytes_max = 0,
                "handshake_bytes_max must be greater than 0",
            ),
            (
                |config| config.handshake_timeout = Duration::ZERO,
                "handshake_timeout must be greater than 0",
            ),
            (
                |config| config.connect_timeout = Duration::ZERO,
                "connect_timeout must be greater than 0",
            ),
            (
                |config| config.outbound_messages_max = 0,
                "outbound_messages_max must be greater than 0",
            ),
            (
                |config| config.outbound_bytes_max = frame_len(config.message_max) - 1,
                "outbound_bytes_max must be room for a message of message_max",
            ),
            (
                |config| config.inbound_events_max = 0,
                "inbound_events_max must be greater than 0",
            ),
            (
                |config| config.inbound_bytes_max = EndpointConfig::weight(frame_len(config.message_max)) - 1,
                "inbound_bytes_max must be room for a message of message_max, decoded",
            ),
            (
                |config| config.inbound_bytes_max = 1 << 32,
                "inbound_bytes_max must be less than 4 GiB",
            ),
            (
                |config| config.liveness.as_mut().expect("on by default").interval = Duration::ZERO,
                "liveness.interval must be greater than 0",
            ),
            (
                |config| {
                    let liveness = config.liveness.as_mut().expect("on by default");
                    liveness.timeout = liveness.interval;
                },
                "liveness.timeout must be longer than the interval",
            ),
            // The limits themselves.
            (
                |config| {
                    config.outbound_bytes_max = frame_len(config.message_max);
                    config.inbound_bytes_max = EndpointConfig::weight(frame_len(config.message_max));
                },
                "",
            ),
        ];
        for (spoil, expected) in cases {
            let mut config = EndpointConfig::default();
            spoil(&mut config);
            let text = config
                .validate()
                .map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(text, expected);
        }
    }
}
