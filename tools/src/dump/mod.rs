//! What two endpoints say to each other, read from a capture: the content of `broker-dump`.

mod broker;
pub mod cli;
pub mod command;
mod record;
mod shown;
mod websocket;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use crate::tcp::{Addresses, Speaker, TcpEvent, TcpEventKind};

pub use record::{Header, Message, Phase, Place, Record};
pub use shown::{Content, Hex, Shown, ValueStyle};

/// What to show, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only connections from or to these ports; all if there is none.
    pub ports: BTreeSet<u16>,
    /// Times since the Unix epoch rather than since the first packet.
    pub epoch: bool,
    pub values: ValueStyle,
}

/// How many connections of a capture speak what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Broker's native protocol.
    pub broker: usize,
    pub websocket: usize,
    pub tls: usize,
    /// Something else; not shown.
    pub other: usize,
    /// Nothing: attempts that were refused, for example.
    pub silent: usize,
}

/// Turns what happens on TCP connections into records.
#[derive(Debug, Default)]
pub struct Dump {
    options: Options,
    start: Option<Duration>,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    addresses: Addresses,
    opened: Duration,
    from_start: bool,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    /// What was said so far does not tell.
    Unknown {
        client: Vec<u8>,
        server: Vec<u8>,
    },
    Broker {
        client: broker::Direction,
        server: broker::Direction,
    },
    Websocket {
        client: websocket::Direction,
        server: websocket::Direction,
    },
    Tls,
    Other,
    /// Not to be shown.
    Filtered,
}

impl Dump {
    /// A dump of a capture that is still to come.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            start: None,
            connections: Vec::new(),
        }
    }

    /// How many connections speak what, so far.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for connection in &self.connections {
            match &connection.protocol {
                Protocol::Broker { .. } => summary.broker += 1,
                Protocol::Websocket { .. } => summary.websocket += 1,
                Protocol::Tls => summary.tls += 1,
                Protocol::Unknown { client, server } if client.is_empty() && server.is_empty() => {
                    summary.silent += 1;
                }
                Protocol::Unknown { .. } | Protocol::Other => summary.other += 1,
                Protocol::Filtered => {}
            }
        }
        summary
    }

    /// Takes the next event; `show` is called for each record that becomes known by it.
    pub fn push(&mut self, event: &TcpEvent, show: &mut impl FnMut(Record)) {
        let origin = *self.start.get_or_insert(event.time);
        let origin = if self.options.epoch {
            Duration::ZERO
        } else {
            origin
        };
        let number = event.connection + 1;
        if let TcpEventKind::Opened {
            addresses,
            from_start,
        } = event.kind
        {
            self.open(event.time, addresses, from_start);
            return;
        }
        let Some(connection) = self.connections.get_mut(event.connection) else {
            return;
        };
        let place = |time: Duration, speaker: Speaker, addresses: &Addresses| Place {
            time: time.saturating_sub(origin),
            connection: number,
            speaker,
            from: addresses.of(speaker),
            to: addresses.of(speaker.other()),
        };
        let addresses = connection.addresses;
        let opened = place(connection.opened, Speaker::Client, &addresses);
        let mut show_at = |place: Place, phase: Phase, message: Message| {
            show(Record {
                place: Some(place),
                phase,
                message,
            });
        };
        match &event.kind {
            TcpEventKind::Opened { .. } => {}
            TcpEventKind::Data { from, bytes } => {
                let early = connection.recognise(*from, bytes);
                if let Some(early) = early {
                    let message = Message::Opened {
                        from_start: connection.from_start,
                    };
                    if connection.is_shown() {
                        show_at(opened, Phase::Connection, message);
                    }
                    if matches!(connection.protocol, Protocol::Tls) {
                        show_at(place(event.time, *from, &addresses), Phase::Tls, Message::Tls);
                    }
                    for (speaker, bytes) in early {
                        let place = place(event.time, speaker, &addresses);
                        connection.read(speaker, &bytes, self.options.values, &mut |phase, message| {
                            show_at(place, phase, message);
                        });
                    }
                } else {
                    let place = place(event.time, *from, &addresses);
                    connection.read(*from, bytes, self.options.values, &mut |phase, message| {
                        show_at(place, phase, message);
                    });
                }
            }
            TcpEventKind::Gap { from, len } => {
                connection.gap(*from);
                if connection.is_shown() {
                    let place = place(event.time, *from, &addresses);
                    show_at(place, Phase::Connection, Message::Gap { bytes: *len });
                }
            }
            TcpEventKind::Closed { from, reset } => {
                if connection.is_shown() {
                    let place = place(event.time, *from, &addresses);
                    show_at(place, Phase::Connection, Message::Closed { reset: *reset });
                }
            }
        }
    }

    fn open(&mut self, opened: Duration, addresses: Addresses, from_start: bool) {
        let protocol = if self.wants(&addresses) {
            Protocol::Unknown {
                client: Vec::new(),
                server: Vec::new(),
            }
        } else {
            Protocol::Filtered
        };
        self.connections.push(Connection {
            addresses,
            opened,
            from_start,
            protocol,
        });
    }

    fn wants(&self, addresses: &Addresses) -> bool {
        let ports = &self.options.ports;
        ports.is_empty()
            || ports.contains(&addresses.client.port())
            || ports.contains(&addresses.server.port())
    }
}

impl Connection {
    const fn is_shown(&self) -> bool {
        matches!(
            self.protocol,
            Protocol::Broker { .. } | Protocol::Websocket { .. } | Protocol::Tls
        )
    }

    /// While the protocol is not known, keeps the bytes and tries to tell it; when it is, returns what was kept.
    fn recognise(&mut self, from: Speaker, bytes: &[u8]) -> Option<Vec<(Speaker, Vec<u8>)>> {
        let Protocol::Unknown { client, server } = &mut self.protocol else {
            return None;
        };
        let kept = match from {
            Speaker::Client => &mut *client,
            Speaker::Server => &mut *server,
        };
        kept.extend_from_slice(bytes);
        let recognised = recognise(kept, self.from_start)?;
        // Before the protocol is known, the client has spoken first, or no side has.
        let early = vec![
            (Speaker::Client, std::mem::take(client)),
            (Speaker::Server, std::mem::take(server)),
        ];
        let from_start = self.from_start;
        self.protocol = match recognised {
            Recognised::Broker => Protocol::Broker {
                client: broker::Direction::new(from_start),
                server: broker::Direction::new(from_start),
            },
            Recognised::Http => Protocol::Websocket {
                client: websocket::Direction::new(Speaker::Client),
                server: websocket::Direction::new(Speaker::Server),
            },
            Recognised::Tls => Protocol::Tls,
            Recognised::Other => Protocol::Other,
        };
        Some(early)
    }

    fn read(
        &mut self,
        from: Speaker,
        bytes: &[u8],
        style: ValueStyle,
        show: &mut impl FnMut(Phase, Message),
    ) {
        match &mut self.protocol {
            Protocol::Broker { client, server } => {
                let direction = match from {
                    Speaker::Client => client,
                    Speaker::Server => server,
                };
                direction.push(bytes, style, show);
            }
            Protocol::Websocket { client, server } => {
                let direction = match from {
                    Speaker::Client => client,
                    Speaker::Server => server,
                };
                direction.push(bytes, style, &mut |message| show(Phase::Websocket, message));
            }
            Protocol::Unknown { .. } | Protocol::Tls | Protocol::Other | Protocol::Filtered => {}
        }
    }

    fn gap(&mut self, from: Speaker) {
        match (&mut self.protocol, from) {
            (
                Protocol::Broker {
                    client: direction, ..
                },
                Speaker::Client,
            )
            | (
                Protocol::Broker {
                    server: direction, ..
                },
                Speaker::Server,
            ) => direction.gap(),
            (
                Protocol::Websocket {
                    client: direction, ..
                },
                Speaker::Client,
            )
            | (
                Protocol::Websocket {
                    server: direction, ..
                },
                Speaker::Server,
            ) => direction.gap(),
            (Protocol::Unknown { .. }, _) => self.from_start = false,
            (Protocol::Tls | Protocol::Other | Protocol::Filtered, _) => {}
        }
    }
}

pub(crate) enum Recognised {
    Broker,
    Http,
    Tls,
    Other,
}

/// Tells the protocol by the first bytes of one side; `None` if there are too few.
pub(crate) fn recognise(bytes: &[u8], from_start: bool) -> Option<Recognised> {
    /// What a Broker endpoint begins with: a hello or a probe, with their lengths and the magic number.
    const GREETINGS: [&[u8]; 2] = [b"\0\0\0\x17\x06ZEEK", b"\0\0\0\x05\x07ZEEK"];
    /// A TLS record with a handshake message.
    const TLS: &[u8] = b"\x16\x03";
    const HTTP: [&[u8]; 2] = [b"GET ", b"HTTP/"];
    /// How many bytes show an envelope.
    const ENVELOPE: usize = 37;

    let begins = |pattern: &[u8]| bytes.starts_with(pattern);
    let may_begin = |pattern: &[u8]| pattern.starts_with(bytes);
    if GREETINGS.iter().any(|greeting| begins(greeting)) {
        return Some(Recognised::Broker);
    }
    if begins(TLS) {
        return Some(Recognised::Tls);
    }
    if HTTP.iter().any(|pattern| begins(pattern)) {
        return Some(Recognised::Http);
    }
    if from_start {
        let undecided = may_begin(TLS)
            || GREETINGS.iter().any(|pattern| may_begin(pattern))
            || HTTP.iter().any(|pattern| may_begin(pattern));
        return (!undecided).then_some(Recognised::Other);
    }
    if broker::begins_with_envelope(bytes) {
        return Some(Recognised::Broker);
    }
    (bytes.len() >= ENVELOPE).then_some(Recognised::Other)
}

/// Shows one frame of which nothing else is known, with or without the length before it.
pub fn frame(bytes: &[u8], values: ValueStyle) -> Record {
    let content = match bytes.split_first_chunk() {
        Some((len, content))
            if usize::try_from(u32::from_be_bytes(*len)).is_ok_and(|len| len == content.len()) =>
        {
            content
        }
        _ => bytes,
    };
    let (phase, message) = broker::any_frame(Bytes::copy_from_slice(content), values);
    Record {
        place: None,
        phase,
        message,
    }
}
