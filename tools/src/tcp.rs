//! TCP connections of a capture, put together from their segments.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use bytes::{Buf, Bytes};

use crate::pcap::Segment;

/// How many bytes of a direction may wait for one that is missing, until that one is taken for lost.
const WAITING_MAX: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Speaker {
    /// The side that opened the connection.
    Client,
    /// The side that accepted it.
    Server,
}

impl Speaker {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

impl Addresses {
    /// The address of a side.
    pub const fn of(&self, speaker: Speaker) -> SocketAddr {
        match speaker {
            Speaker::Client => self.client,
            Speaker::Server => self.server,
        }
    }
}

/// Something that happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpEvent {
    /// When the segment that completes it was captured, since the Unix epoch.
    pub time: Duration,
    /// Which connection, from 0 in the order of their first segments.
    pub connection: usize,
    pub kind: TcpEventKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpEventKind {
    /// The first segment of a connection.
    Opened {
        addresses: Addresses,
        /// Whether the capture has its beginning. Otherwise the side with the smaller port is taken for the server.
        from_start: bool,
    },
    /// The next bytes of a direction.
    Data { from: Speaker, bytes: Bytes },
    /// Bytes of a direction that are not in the capture.
    Gap { from: Speaker, len: u64 },
    /// A side has nothing more to say, or aborted the connection.
    Closed { from: Speaker, reset: bool },
}

/// Puts connections together: retransmissions are dropped, segments out of order wait for their predecessors.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// Connections by source and destination, in both directions.
    open: HashMap<(SocketAddr, SocketAddr), (usize, Speaker)>,
    connections: Vec<Connection>,
    time: Duration,
}

#[derive(Debug)]
struct Connection {
    client: Direction,
    server: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    /// The sequence number of the next byte, once one is known.
    next: Option<u32>,
    /// How many bytes were passed on or missed so far.
    position: u64,
    /// By position, what cannot be passed on yet.
    waiting: BTreeMap<u64, Bytes>,
    waiting_len: usize,
    /// The position of the end, once it is known.
    end: Option<u64>,
    closed: bool,
}

impl Reassembler {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next segment of the capture; `event` is called for each thing that becomes known by it.
    pub fn push(&mut self, segment: Segment, event: &mut impl FnMut(TcpEvent)) {
        self.time = segment.time;
        let time = segment.time;
        let (number, from) = self.find_or_open(&segment, event);
        let Some(connection) = self.connections.get_mut(number) else {
            return;
        };
        let direction = connection.direction(from);
        let mut emit = |kind| {
            event(TcpEvent {
                time,
                connection: number,
                kind,
            });
        };
        if segment.syn {
            direction.next.get_or_insert(segment.sequence.wrapping_add(1));
        } else {
            let next = *direction.next.get_or_insert(segment.sequence);
            direction.take(segment.sequence.wrapping_sub(next), segment.payload, segment.fin);
            direction.pass_on(from, &mut emit);
        }
        if segment.rst && !direction.closed {
            direction.give_up(from, &mut emit);
            direction.closed = true;
            emit(TcpEventKind::Closed { from, reset: true });
        }
    }

    /// Takes the end of the capture: what still waits for missing bytes is passed on behind a gap.
    pub fn finish(mut self, event: &mut impl FnMut(TcpEvent)) {
        let time = self.time;
        for (number, connection) in self.connections.iter_mut().enumerate() {
            for from in [Speaker::Client, Speaker::Server] {
                connection.direction(from).give_up(from, &mut |kind| {
                    event(TcpEvent {
                        time,
                        connection: number,
                        kind,
                    });
                });
            }
        }
    }

    fn find_or_open(&mut self, segment: &Segment, event: &mut impl FnMut(TcpEvent)) -> (usize, Speaker) {
        let key = (segment.source, segment.destination);
        let known = self.open.get(&key).copied();
        let first = segment.syn && !segment.ack;
        if let Some((number, from)) = known {
            // The same ports again, unless the SYN is only sent again.
            let reused = first
                && self.connections.get_mut(number).is_some_and(|connection| {
                    connection.direction(from).next != Some(segment.sequence.wrapping_add(1))
                        || connection.is_closed()
                });
            if !reused {
                return (number, from);
            }
        }
        let from = if segment.syn {
            if segment.ack {
                Speaker::Server
            } else {
                Speaker::Client
            }
        } else if segment.source.port() < segment.destination.port() {
            Speaker::Server
        } else {
            Speaker::Client
        };
        let number = self.connections.len();
        self.connections.push(Connection {
            client: Direction::default(),
            server: Direction::default(),
        });
        self.open.insert(key, (number, from));
        self.open
            .insert((segment.destination, segment.source), (number, from.other()));
        let (client, server) = match from {
            Speaker::Client => key,
            Speaker::Server => (segment.destination, segment.source),
        };
        event(TcpEvent {
            time: segment.time,
            connection: number,
            kind: TcpEventKind::Opened {
                addresses: Addresses { client, server },
                from_start: segment.syn,
            },
        });
        (number, from)
    }
}

impl Connection {
    const fn direction(&mut self, from: Speaker) -> &mut Direction {
        match from {
            Speaker::Client => &mut self.client,
            Speaker::Server => &mut self.server,
        }
    }

    const fn is_closed(&self) -> bool {
        self.client.closed || self.server.closed
    }
}

impl Direction {
    /// Notes bytes that are `distance` sequence numbers ahead of the next one; more than half the range means behind it.
    fn take(&mut self, distance: u32, mut bytes: Bytes, fin: bool) {
        let start = if distance < 1 << 31 {
            self.position + u64::from(distance)
        } else {
            let behind = usize::try_from(distance.wrapping_neg()).unwrap_or(usize::MAX);
            if behind >= bytes.len() {
                return;
            }
            bytes.advance(behind);
            self.position
        };
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if fin {
            self.end.get_or_insert(start.saturating_add(len));
        }
        let known = self.waiting.get(&start).map_or(0, Bytes::len);
        if bytes.len() > known {
            self.waiting_len = self.waiting_len - known + bytes.len();
            self.waiting.insert(start, bytes);
        }
    }

    fn pass_on(&mut self, from: Speaker, emit: &mut impl FnMut(TcpEventKind)) {
        loop {
            while let Some(entry) = self.waiting.first_entry() {
                if *entry.key() > self.position {
                    break;
                }
                let (start, mut bytes) = entry.remove_entry();
                self.waiting_len -= bytes.len();
                let behind = usize::try_from(self.position - start).unwrap_or(usize::MAX);
                if behind < bytes.len() {
                    bytes.advance(behind);
                    self.advance(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    emit(TcpEventKind::Data { from, bytes });
                }
            }
            if self.waiting_len <= WAITING_MAX {
                break;
            }
            self.skip_gap(from, emit);
        }
        if self.end == Some(self.position) && !self.closed {
            self.closed = true;
            emit(TcpEventKind::Closed { from, reset: false });
        }
    }

    /// Takes what is missing for lost.
    fn give_up(&mut self, from: Speaker, emit: &mut impl FnMut(TcpEventKind)) {
        while !self.waiting.is_empty() {
            self.skip_gap(from, emit);
            self.pass_on(from, emit);
        }
        if let Some(missing) = self
            .end
            .and_then(|end| end.checked_sub(self.position))
            .filter(|len| *len > 0)
        {
            self.advance(missing);
            emit(TcpEventKind::Gap { from, len: missing });
            self.pass_on(from, emit);
        }
    }

    fn skip_gap(&mut self, from: Speaker, emit: &mut impl FnMut(TcpEventKind)) {
        if let Some(start) = self.waiting.keys().next().copied() {
            let len = start.saturating_sub(self.position);
            self.advance(len);
            emit(TcpEventKind::Gap { from, len });
        }
    }

    fn advance(&mut self, len: u64) {
        self.position += len;
        // Sequence numbers count modulo 2^32.
        let [_, _, _, _, low @ ..] = len.to_be_bytes();
        self.next = self.next.map(|next| next.wrapping_add(u32::from_be_bytes(low)));
    }
}

#[cfg(test)]
mod tests;
