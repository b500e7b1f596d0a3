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

/// What each side of a connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sides<T> {
    pub client: T,
    pub server: T,
}

pub type Addresses = Sides<SocketAddr>;

impl<T> Sides<T> {
    pub const fn of(&self, speaker: Speaker) -> &T {
        match speaker {
            Speaker::Client => &self.client,
            Speaker::Server => &self.server,
        }
    }

    pub const fn of_mut(&mut self, speaker: Speaker) -> &mut T {
        match speaker {
            Speaker::Client => &mut self.client,
            Speaker::Server => &mut self.server,
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
    connections: Vec<Sides<Direction>>,
    time: Duration,
}

#[derive(Debug, Default)]
struct Direction {
    /// The sequence number of the first byte, once one is known.
    start: Option<u32>,
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

    /// Takes the next segment of the capture, and gives what becomes known by it.
    pub fn push(&mut self, segment: Segment) -> Vec<TcpEvent> {
        self.time = segment.time;
        let mut kinds = Vec::new();
        let (number, from) = self.find_or_open(&segment, &mut kinds);
        if let Some(connection) = self.connections.get_mut(number) {
            let direction = connection.of_mut(from);
            let rst = segment.rst && !direction.closed;
            if segment.syn {
                direction.start.get_or_insert(segment.sequence.wrapping_add(1));
            } else {
                direction.take(segment.sequence, segment.payload, segment.fin);
            }
            direction.pass_on(from, if rst { 0 } else { WAITING_MAX }, &mut kinds);
            if rst && !direction.closed {
                direction.closed = true;
                kinds.push(TcpEventKind::Closed { from, reset: true });
            }
        }
        self.events(number, kinds).collect()
    }

    /// Takes the end of the capture: what still waits for missing bytes is passed on behind a gap.
    pub fn finish(mut self) -> Vec<TcpEvent> {
        let mut events = Vec::new();
        for number in 0..self.connections.len() {
            let mut kinds = Vec::new();
            for from in [Speaker::Client, Speaker::Server] {
                if let Some(connection) = self.connections.get_mut(number) {
                    connection.of_mut(from).pass_on(from, 0, &mut kinds);
                }
            }
            events.extend(self.events(number, kinds));
        }
        events
    }

    fn events(&self, connection: usize, kinds: Vec<TcpEventKind>) -> impl Iterator<Item = TcpEvent> {
        let time = self.time;
        kinds.into_iter().map(move |kind| TcpEvent {
            time,
            connection,
            kind,
        })
    }

    fn find_or_open(&mut self, segment: &Segment, kinds: &mut Vec<TcpEventKind>) -> (usize, Speaker) {
        let key = (segment.source, segment.destination);
        if let Some((number, from)) = self.open.get(&key).copied() {
            // The same ports again, unless the SYN is only sent again.
            let reused = segment.syn
                && !segment.ack
                && self.connections.get_mut(number).is_some_and(|connection| {
                    connection.of_mut(from).next() != Some(segment.sequence.wrapping_add(1))
                        || connection.client.closed
                        || connection.server.closed
                });
            if !reused {
                return (number, from);
            }
        }
        let from_server = if segment.syn {
            segment.ack
        } else {
            segment.source.port() < segment.destination.port()
        };
        let (from, addresses) = if from_server {
            let (server, client) = key;
            (Speaker::Server, Addresses { client, server })
        } else {
            let (client, server) = key;
            (Speaker::Client, Addresses { client, server })
        };
        let number = self.connections.len();
        self.connections.push(Sides::default());
        self.open.insert(key, (number, from));
        self.open
            .insert((segment.destination, segment.source), (number, from.other()));
        kinds.push(TcpEventKind::Opened {
            addresses,
            from_start: segment.syn,
        });
        (number, from)
    }
}

impl Direction {
    /// The sequence number of the next byte. They count modulo 2^32.
    fn next(&self) -> Option<u32> {
        let [_, _, _, _, low @ ..] = self.position.to_be_bytes();
        Some(self.start?.wrapping_add(u32::from_be_bytes(low)))
    }

    /// Notes bytes, the first of which has this sequence number; one ahead by more than half the range is behind.
    fn take(&mut self, sequence: u32, mut bytes: Bytes, fin: bool) {
        self.start.get_or_insert(sequence);
        let distance = sequence.wrapping_sub(self.next().unwrap_or(sequence));
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
        if fin {
            self.end.get_or_insert(start.saturating_add(length(&bytes)));
        }
        let known = self.waiting.get(&start).map_or(0, Bytes::len);
        if bytes.len() > known {
            self.waiting_len = self.waiting_len - known + bytes.len();
            self.waiting.insert(start, bytes);
        }
    }

    /// Passes on what is complete. What is missing is taken for lost while more than so many bytes wait for it.
    fn pass_on(&mut self, from: Speaker, waiting_max: usize, kinds: &mut Vec<TcpEventKind>) {
        while let Some(entry) = self.waiting.first_entry() {
            let start = *entry.key();
            if start > self.position {
                if self.waiting_len <= waiting_max {
                    break;
                }
                kinds.push(self.gap_until(start, from));
                continue;
            }
            let mut bytes = entry.remove();
            self.waiting_len -= bytes.len();
            let behind = usize::try_from(self.position - start).unwrap_or(usize::MAX);
            if behind < bytes.len() {
                bytes.advance(behind);
                self.position += length(&bytes);
                kinds.push(TcpEventKind::Data { from, bytes });
            }
        }
        if let Some(end) = self.end.filter(|end| waiting_max == 0 && *end > self.position) {
            kinds.push(self.gap_until(end, from));
        }
        if self.end == Some(self.position) && !self.closed {
            self.closed = true;
            kinds.push(TcpEventKind::Closed { from, reset: false });
        }
    }

    const fn gap_until(&mut self, position: u64, from: Speaker) -> TcpEventKind {
        let len = position - self.position;
        self.position = position;
        TcpEventKind::Gap { from, len }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
