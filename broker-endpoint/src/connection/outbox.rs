use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use broker_codec::handshake::Admission;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

use crate::{
    credit::Hold,
    endpoint::{EndReason, OverflowPolicy},
};

/// Up to this size, frames that wait are sent together.
const BATCH_MAX: usize = 16 * 1024;

/// What waits for the task of a connection. Putting something in never waits.
///
/// The owner of the endpoint, which puts in most of it, serves all peers: it must not depend on one of them.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) policy: OverflowPolicy,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Queued>,
    bytes: usize,
    orders: VecDeque<Order>,
    pongs: usize,
    /// What [`Outbox::take`] yielded last keeps of its senders' credit.
    taken: Vec<Hold>,
    closed: bool,
}

#[derive(Debug)]
struct Queued {
    frame: Bytes,
    kind: QueuedKind,
    hold: Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuedKind {
    /// Somebody published it: it may be dropped.
    Message,
    /// Pings and routing updates, of which there are few.
    Control,
    /// An answer, of which there are as many as the peer cares to provoke: see [`Outbox::pongs`].
    Pong,
}

/// What the owner tells a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// The verdict on the handshake.
    Admit(Admission),
    /// The peering is registered: begin.
    Begin,
    /// End without a goodbye.
    End(EndReason),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// This many were dropped, the new one possibly among them.
    Dropped(usize),
    /// The peer is disconnected, and everything that waited with it dropped.
    Overflowed(usize),
    /// The connection has ended.
    Closed,
}

impl Outbox {
    pub(crate) fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn push(&self, frame: Bytes, kind: QueuedKind) -> Pushed {
        self.push_held(frame, kind, Hold::default())
    }

    /// As [`Self::push`], for what keeps somebody's credit until it is sent.
    pub(crate) fn push_held(&self, frame: Bytes, kind: QueuedKind, hold: Hold) -> Pushed {
        let mut state = self.lock();
        if state.closed {
            return Pushed::Closed;
        }
        let mut dropped = 0;
        if kind == QueuedKind::Message && !self.has_room(&state, frame.len()) {
            match self.limits.policy {
                OverflowPolicy::DropNewest => return Pushed::Dropped(1),
                OverflowPolicy::Disconnect => {
                    let reason = EndReason::Overflow {
                        messages: state.frames.len(),
                        bytes: state.bytes,
                    };
                    let lost = state.frames.len() + 1;
                    state.close();
                    state.orders.push_back(Order::End(reason));
                    drop(state);
                    self.changed.notify_one();
                    return Pushed::Overflowed(lost);
                }
                OverflowPolicy::DropOldest => {
                    dropped = self.make_room(&mut state, frame.len());
                    if !self.has_room(&state, frame.len()) {
                        return Pushed::Dropped(dropped + 1);
                    }
                }
            }
        }
        state.bytes += frame.len();
        state.pongs += usize::from(kind == QueuedKind::Pong);
        // A connection that has something to send looks here when that is done. Waking one that is stuck for every message
        // would cost more than all others.
        let news = state.frames.is_empty();
        state.frames.push_back(Queued { frame, kind, hold });
        drop(state);
        if news {
            self.changed.notify_one();
        }
        if dropped > 0 {
            Pushed::Dropped(dropped)
        } else {
            Pushed::Queued
        }
    }

    pub(crate) fn order(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.changed.notify_one();
    }

    pub(crate) fn next_order(&self) -> Option<Order> {
        self.lock().orders.pop_front()
    }

    /// Takes the next bytes to send, and says how many frames they are: when those before have been sent. Small frames come
    /// together; a large one is not copied.
    pub(crate) fn take(&self) -> Option<(Bytes, usize)> {
        let mut state = self.lock();
        state.taken.clear();
        let first = state.pop()?;
        let next_fits = |state: &State, len: usize| {
            state
                .frames
                .front()
                .is_some_and(|next| len + next.frame.len() <= BATCH_MAX)
        };
        if !next_fits(&state, first.len()) {
            return Some((first, 1));
        }
        let mut batch = BytesMut::with_capacity(BATCH_MAX);
        batch.put(first);
        let mut count = 1;
        while next_fits(&state, batch.len()) {
            let Some(next) = state.pop() else { break };
            batch.put(next);
            count += 1;
        }
        Some((batch.freeze(), count))
    }

    /// How many pongs wait. The peer is not read from while these are too many: otherwise one that pings without reading
    /// would fill the memory.
    pub(crate) fn pongs(&self) -> usize {
        self.lock().pongs
    }

    /// Waits until something was put in since the last wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Drops what waits, and everything that is put in from now on.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State, len: usize) -> bool {
        state.frames.len() < self.limits.messages && state.bytes.saturating_add(len) <= self.limits.bytes
    }

    /// Drops messages, the oldest first, until there is room; returns how many.
    fn make_room(&self, state: &mut State, len: usize) -> usize {
        let mut dropped = 0;
        while !self.has_room(state, len) {
            let oldest = state
                .frames
                .iter()
                .position(|queued| queued.kind == QueuedKind::Message);
            let Some(oldest) = oldest.and_then(|index| state.frames.remove(index)) else {
                break;
            };
            state.bytes -= oldest.frame.len();
            dropped += 1;
        }
        dropped
    }
}

impl State {
    fn pop(&mut self) -> Option<Bytes> {
        let queued = self.frames.pop_front()?;
        self.bytes -= queued.frame.len();
        self.pongs -= usize::from(queued.kind == QueuedKind::Pong);
        self.taken.push(queued.hold);
        Some(queued.frame)
    }

    fn close(&mut self) {
        self.closed = true;
        self.frames = VecDeque::new();
        self.taken = Vec::new();
        self.bytes = 0;
        self.pongs = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(policy: OverflowPolicy) -> Outbox {
        Outbox::new(OutboxLimits {
            messages: 3,
            bytes: 100,
            policy,
        })
    }

    fn message(len: usize, byte: u8) -> Bytes {
        vec![byte; len].into()
    }

    fn sent(outbox: &Outbox) -> Vec<u8> {
        std::iter::from_fn(|| outbox.take())
            .flat_map(|(bytes, _)| bytes)
            .collect()
    }

    #[test]
    fn the_oldest_goes_first_when_messages_are_too_many() {
        let outbox = outbox(OverflowPolicy::DropOldest);
        for byte in 1..=3 {
            assert_eq!(outbox.push(message(1, byte), QueuedKind::Message), Pushed::Queued);
        }
        assert_eq!(
            outbox.push(message(1, 4), QueuedKind::Message),
            Pushed::Dropped(1)
        );
        assert_eq!(sent(&outbox), [2, 3, 4]);
    }

    #[test]
    fn the_oldest_go_first_when_bytes_are_too_many() {
        let outbox = outbox(OverflowPolicy::DropOldest);
        for byte in 1..=2 {
            assert_eq!(
                outbox.push(message(50, byte), QueuedKind::Message),
                Pushed::Queued
            );
        }
        assert_eq!(
            outbox.push(message(51, 3), QueuedKind::Message),
            Pushed::Dropped(2)
        );
        assert_eq!(sent(&outbox), [3; 51]);
        assert_eq!(
            outbox.push(message(101, 4), QueuedKind::Message),
            Pushed::Dropped(1),
            "one that never fits is dropped itself"
        );
    }

    #[test]
    fn control_messages_are_never_dropped() {
        let outbox = outbox(OverflowPolicy::DropOldest);
        for byte in 1..=4 {
            outbox.push(message(1, byte), QueuedKind::Control);
        }
        assert_eq!(
            outbox.push(message(1, 9), QueuedKind::Message),
            Pushed::Dropped(1)
        );
        assert_eq!(sent(&outbox), [1, 2, 3, 4]);
    }

    #[test]
    fn the_newest_is_dropped_where_the_policy_says_so() {
        let outbox = outbox(OverflowPolicy::DropNewest);
        for byte in 1..=3 {
            outbox.push(message(1, byte), QueuedKind::Message);
        }
        assert_eq!(
            outbox.push(message(1, 4), QueuedKind::Message),
            Pushed::Dropped(1)
        );
        assert_eq!(sent(&outbox), [1, 2, 3]);
    }

    #[test]
    fn the_peer_is_ended_where_the_policy_says_so() {
        let outbox = outbox(OverflowPolicy::Disconnect);
        for byte in 1..=3 {
            outbox.push(message(1, byte), QueuedKind::Message);
        }
        assert_eq!(
            outbox.push(message(1, 4), QueuedKind::Message),
            Pushed::Overflowed(4)
        );
        assert_eq!(outbox.push(message(1, 5), QueuedKind::Message), Pushed::Closed);
        assert_eq!(sent(&outbox), b"");
        let order = outbox.next_order();
        assert!(
            matches!(
                order,
                Some(Order::End(EndReason::Overflow {
                    messages: 3,
                    bytes: 3
                }))
            ),
            "{order:?}"
        );
    }

    #[test]
    fn small_frames_are_sent_together_and_large_ones_alone() {
        let outbox = Outbox::new(OutboxLimits {
            messages: 100,
            bytes: 10 * BATCH_MAX,
            policy: OverflowPolicy::DropOldest,
        });
        for len in [10, 20, 2 * BATCH_MAX, BATCH_MAX - 5, 5, 1] {
            outbox.push(message(len, 0), QueuedKind::Message);
        }
        let taken: Vec<_> = std::iter::from_fn(|| outbox.take())
            .map(|(bytes, count)| (bytes.len(), count))
            .collect();
        assert_eq!(taken, [(30, 2), (2 * BATCH_MAX, 1), (BATCH_MAX, 2), (1, 1)]);
    }
}
