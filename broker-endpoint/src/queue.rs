//! What waits to be sent on one connection.

use std::{collections::VecDeque, sync::Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

use crate::{credit::Hold, sync::lock};

/// Up to this size, in bytes, what waits is sent together.
pub(crate) const BATCH_MAX: usize = 16 * 1024;

/// A queue that is bounded in messages and bytes. Putting something in never waits: it is done for all connections alike, and must not
/// depend on one of them.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    state: Mutex<State>,
    changed: Notify,
    overflowed: Notify,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) when_full: WhenFull,
}

/// What happens when there is no room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// The connection ends, see [`Queue::overflowed`]. Everything that waits is dropped.
    Disconnect,
    /// What waits longest is dropped.
    DropOldest,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    items: VecDeque<Item>,
    bytes: usize,
    pongs: usize,
    /// What was taken last keeps of its senders' credit: of each frame that ended with that.
    taken: Vec<Hold>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is there is sent, and nothing is added.
    Draining,
    /// Nothing is sent any more.
    Overflowed(Overflow),
}

#[derive(Debug)]
struct Item {
    bytes: Bytes,
    /// What follows in the same frame, if that has memory of its own.
    rest: Bytes,
    kind: Kind,
    hold: Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May be dropped.
    Message,
    /// Pings and routing updates, of which there are few.
    Control,
    /// An answer, of which there are as many as the peer cares to provoke: see [`Queue::pongs`].
    Pong,
    /// The rest of a frame whose beginning was taken.
    Rest,
}

/// What waited when there was no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            changed: Notify::new(),
            overflowed: Notify::new(),
        }
    }

    /// Adds something; `hold` is kept until it is sent. Returns how many messages are dropped for want of room, this one possibly
    /// among them.
    pub(crate) fn push(&self, bytes: Bytes, kind: Kind, hold: Hold) -> usize {
        self.push_parts([bytes, Bytes::new()], kind, hold)
    }

    /// The same for a frame in two parts, the second of which may be in other queues as well: it is not copied.
    pub(crate) fn push_parts(&self, [bytes, rest]: [Bytes; 2], kind: Kind, hold: Hold) -> usize {
        let len = bytes.len() + rest.len();
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return 0;
        }
        let mut dropped = 0;
        if kind == Kind::Message && !self.has_room(&state, len) {
            if self.limits.when_full == WhenFull::Disconnect {
                let (messages, bytes) = (state.items.len(), state.bytes);
                state.clear();
                state.phase = Phase::Overflowed(Overflow { messages, bytes });
                self.overflowed.notify_one();
                return messages + 1;
            }
            dropped = self.make_room(&mut state, len);
            if !self.has_room(&state, len) {
                return dropped + 1;
            }
        }
        state.bytes += len;
        state.pongs += usize::from(kind == Kind::Pong);
        // A connection that has something to send looks here when that is done. Waking one that is stuck for every message
        // would cost more than all others.
        if state.items.is_empty() {
            self.changed.notify_one();
        }
        state.items.push_back(Item {
            bytes,
            rest,
            kind,
            hold,
        });
        dropped
    }

    /// Takes what is to be sent next: when what was taken before has been sent.
    pub(crate) fn take(&self) -> Option<Bytes> {
        let mut state = lock(&self.state);
        state.taken.clear();
        state.pop()
    }

    /// Takes what is to be sent together with what was taken since [`Self::take`], of which there are so many bytes.
    pub(crate) fn take_more(&self, taken: usize) -> Option<Bytes> {
        lock(&self.state).pop_fitting(taken)
    }

    /// As [`Self::take`], but small frames come together, and a large one is not copied; says how many end with that.
    pub(crate) fn take_batch(&self) -> Option<(Bytes, usize)> {
        let mut state = lock(&self.state);
        state.taken.clear();
        let first = state.pop()?;
        let Some(second) = state.pop_fitting(first.len()) else {
            return Some((first, state.taken.len()));
        };
        let mut batch = BytesMut::with_capacity(BATCH_MAX);
        batch.put(first);
        batch.put(second);
        while let Some(next) = state.pop_fitting(batch.len()) {
            batch.put(next);
        }
        Some((batch.freeze(), state.taken.len()))
    }

    /// How many pongs wait. The peer is not read from while these are too many: otherwise one that pings without reading
    /// would fill the memory.
    pub(crate) fn pongs(&self) -> usize {
        lock(&self.state).pongs
    }

    /// Waits until something was put into the empty queue, or [`Self::wake`] or [`Self::drain`] called, since the last wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends a wait for [`Self::changed`], or the next one.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until there was no room for a message and the connection has to end.
    pub(crate) async fn overflowed(&self) -> Overflow {
        loop {
            if let Phase::Overflowed(overflow) = lock(&self.state).phase {
                return overflow;
            }
            self.overflowed.notified().await;
        }
    }

    /// Accepts nothing any more.
    pub(crate) fn drain(&self) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.wake();
    }

    /// Whether nothing is accepted, and everything was taken.
    pub(crate) fn is_drained(&self) -> bool {
        let state = lock(&self.state);
        state.phase == Phase::Draining && state.items.is_empty()
    }

    /// Drops what waits, and everything that is put in from now on.
    pub(crate) fn close(&self) {
        self.drain();
        lock(&self.state).clear();
    }

    /// A message finds room in an empty queue whatever its size.
    fn has_room(&self, state: &State, len: usize) -> bool {
        let bytes = state.bytes.saturating_add(len);
        state.items.is_empty() || state.items.len() < self.limits.messages && bytes <= self.limits.bytes
    }

    /// Drops messages, the oldest first, until there is room; returns how many.
    fn make_room(&self, state: &mut State, len: usize) -> usize {
        let mut dropped = 0;
        while !self.has_room(state, len) {
            let oldest = state.items.iter().position(|item| item.kind == Kind::Message);
            let Some(oldest) = oldest.and_then(|index| state.items.remove(index)) else {
                break;
            };
            state.bytes -= oldest.bytes.len() + oldest.rest.len();
            dropped += 1;
        }
        dropped
    }
}

impl State {
    fn pop(&mut self) -> Option<Bytes> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes.len();
        self.pongs -= usize::from(item.kind == Kind::Pong);
        if item.rest.is_empty() {
            self.taken.push(item.hold);
        } else {
            self.items.push_front(Item {
                bytes: item.rest,
                rest: Bytes::new(),
                kind: Kind::Rest,
                hold: item.hold,
            });
        }
        Some(item.bytes)
    }

    /// The next one, if it fits into a batch that has so many bytes.
    fn pop_fitting(&mut self, batch: usize) -> Option<Bytes> {
        let next = self.items.front()?;
        if batch.saturating_add(next.bytes.len()) > BATCH_MAX {
            return None;
        }
        self.pop()
    }

    fn clear(&mut self) {
        self.items = VecDeque::new();
        self.taken = Vec::new();
        self.bytes = 0;
        self.pongs = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;

    use futures_util::FutureExt as _;

    use super::*;

    /// For three messages or ten bytes, with what these lengths stand for pushed; and how many were dropped for the last.
    fn queue(when_full: WhenFull, kind: Kind, lens: &[usize]) -> (Queue, usize) {
        let queue = Queue::new(QueueLimits {
            messages: 3,
            bytes: 10,
            when_full,
        });
        let dropped = (1..)
            .zip(lens)
            .map(|(byte, len)| queue.push(vec![byte; *len].into(), kind, Hold::default()))
            .last();
        (queue, dropped.unwrap_or(0))
    }

    fn push_one(queue: &Queue) -> usize {
        queue.push("x".into(), Kind::Message, Hold::default())
    }

    fn taken(queue: &Queue) -> Vec<u8> {
        from_fn(|| queue.take()).flatten().collect()
    }

    #[test]
    fn the_oldest_messages_make_room() {
        for (lens, dropped, sent) in [
            (&[1, 1, 1][..], 0, &[1, 2, 3][..]),
            (&[1, 1, 1, 1], 1, &[2, 3, 4]),
            (&[5, 5], 0, &[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]),
            (&[5, 5, 6], 2, &[3, 3, 3, 3, 3, 3]),
            (&[5, 5, 11], 2, &[3; 11]),
            // One alone may have any length.
            (&[11], 0, &[1; 11]),
            (&[11, 0], 1, &[]),
        ] {
            let (queue, last) = queue(WhenFull::DropOldest, Kind::Message, lens);
            assert_eq!(last, dropped, "{lens:?}");
            assert_eq!(taken(&queue), sent, "{lens:?}");
            // What was taken makes room.
            assert_eq!(push_one(&queue), 0);
        }
    }

    #[test]
    fn control_messages_are_never_dropped() {
        let (queue, _) = queue(WhenFull::DropOldest, Kind::Control, &[1, 1, 1, 1]);
        assert_eq!(push_one(&queue), 1);
        assert_eq!(taken(&queue), [1, 2, 3, 4]);
    }

    #[test]
    fn the_connection_ends_where_nothing_may_be_missed() {
        for (lens, overflow) in [
            (&[0, 0, 0][..], None),
            (&[0, 0, 0, 0], Some((3, 0))),
            (&[5, 5], None),
            (&[5, 6], Some((1, 5))),
            (&[12], None),
            (&[12, 0], Some((1, 12))),
        ] {
            let (queue, last) = queue(WhenFull::Disconnect, Kind::Message, lens);
            let overflow = overflow.map(|(messages, bytes)| Overflow { messages, bytes });
            assert_eq!(queue.overflowed().now_or_never(), overflow, "{lens:?}");
            assert_eq!(last, overflow.map_or(0, |lost| lost.messages + 1));
            let sent = (1..).zip(lens).flat_map(|(byte, len)| vec![byte; *len]);
            let sent: Vec<u8> = sent.filter(|_| overflow.is_none()).collect();
            assert_eq!(taken(&queue), sent);
            assert_eq!(push_one(&queue), 0);
            // One that has overflowed takes nothing more, and has not sent everything.
            assert_eq!(taken(&queue).is_empty(), overflow.is_some());
            assert!(!queue.is_drained());
        }
    }

    #[test]
    fn a_frame_in_two_parts_comes_and_goes_as_one_and_its_second_part_is_not_copied() {
        let shared = Bytes::from(vec![7; BATCH_MAX]);
        let queue = Queue::new(QueueLimits {
            messages: 2,
            bytes: 3 * BATCH_MAX,
            when_full: WhenFull::DropOldest,
        });
        let push = |first: &'static str| {
            let parts = [first.into(), shared.clone()];
            queue.push_parts(parts, Kind::Message, Hold::default())
        };
        assert_eq!(
            [push("1"), push("2"), push("3")],
            [0, 0, 1],
            "both parts of the oldest go"
        );
        assert_eq!(queue.take_batch(), Some(("2".into(), 0)));
        // What has begun is finished.
        assert_eq!([push("4"), push("5")], [1, 1]);
        let (rest, count) = queue.take_batch().expect("the second part");
        assert_eq!(
            (rest.as_ptr(), rest.len(), count),
            (shared.as_ptr(), BATCH_MAX, 1)
        );
        assert_eq!(queue.take_batch(), Some(("5".into(), 0)));
        assert_eq!(queue.take_batch(), Some((shared.clone(), 1)));
        assert_eq!(queue.take_batch(), None);
    }

    #[test]
    fn small_frames_are_sent_together_and_large_ones_alone() {
        let queue = Queue::new(QueueLimits {
            messages: 100,
            bytes: 10 * BATCH_MAX,
            when_full: WhenFull::DropOldest,
        });
        for len in [10, 20, 2 * BATCH_MAX, BATCH_MAX - 5, 5, 1] {
            queue.push(vec![0; len].into(), Kind::Message, Hold::default());
        }
        let taken: Vec<_> = from_fn(|| queue.take_batch())
            .map(|(bytes, count)| (bytes.len(), count))
            .collect();
        assert_eq!(taken, [(30, 2), (2 * BATCH_MAX, 1), (BATCH_MAX, 2), (1, 1)]);
    }
}
