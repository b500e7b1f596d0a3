use std::{future::poll_fn, pin::pin, sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::outbound::Outbound;
use crate::sync::lock;

/// How long a message may be on its way while its client answers no pings, because a frame that takes long keeps the answer from
/// coming: 16 MiB in this time is a line of 4.5 Mbit/s.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the client of a connection is still there.
///
/// Zeek's rule: when a ping is due, a pong must have come since the one before (`IXWebSocketServer`, and
/// `WebSocketTransport::poll`). Two exceptions where the pong cannot have come:
///
/// * DIFFERENCE(slow-frames): while a frame is on its way, since no pong fits into a frame. For a limited time, and only while
///   bytes arrive.
/// * While we do not read, because the owner of the server is busy with earlier messages.
#[derive(Debug)]
pub(super) struct Liveness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since the last ping.
    ponged: bool,
    /// Now.
    paused: bool,
    /// At some time since the last ping.
    was_paused: bool,
    received: u64,
    received_at_ping: u64,
    received_at_message: u64,
    message_at: Instant,
}

impl Liveness {
    pub(super) fn new() -> Self {
        let state = State {
            ponged: true,
            paused: false,
            was_paused: false,
            received: 0,
            received_at_ping: 0,
            received_at_message: 0,
            message_at: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Pings at an interval. Returns when the client is gone.
    pub(super) async fn watch(&self, interval: Duration, outbound: &Outbound) {
        for count in 0_u64.. {
            let payload = format!("ixwebsocket::heartbeat::{}s::{count}", interval.as_secs());
            if !outbound.ping(payload) || !self.ping() {
                return;
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Begins an interval; false if the client was not alive in the one that ends.
    fn ping(&self) -> bool {
        let mut state = lock(&self.state);
        let arriving = state.received > state.received_at_ping
            && state.received > state.received_at_message
            && state.message_at.elapsed() < MESSAGE_TIMEOUT;
        let alive = state.ponged || state.was_paused || arriving;
        state.ponged = false;
        state.was_paused = state.paused;
        state.received_at_ping = state.received;
        alive
    }

    /// Bytes came, of whatever frame.
    pub(super) fn received(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.received = state
            .received
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A message of any kind is complete.
    pub(super) fn message(&self) {
        let mut state = lock(&self.state);
        state.received_at_message = state.received;
        state.message_at = Instant::now();
    }

    /// A pong came, whatever its payload.
    pub(super) fn pong(&self) {
        lock(&self.state).ponged = true;
    }

    /// Nothing is read until the future is done, which may be at once.
    pub(super) async fn paused<F: Future>(&self, busy: F) -> F::Output {
        let mut busy = pin!(busy);
        poll_fn(|cx| {
            let poll = busy.as_mut().poll(cx);
            let mut state = lock(&self.state);
            state.paused = poll.is_pending();
            state.was_paused |= state.paused;
            poll
        })
        .await
    }
}
