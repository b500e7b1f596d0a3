use std::{collections::VecDeque, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::handshake::{Close, Message, Role};
use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Incoming, Place};
use crate::{
    connection::{self, Connection, HandshakePlace, Outcome},
    credit::Credits,
    endpoint::{PeeringError, Shared},
    socket::Socket,
    text,
    tls::Acceptance,
};

/// A handshake that failed keeps its place among those of its address for so long, so that an address that fails again and
/// again takes little of the processor.
const FAILED_HANDSHAKE: Duration = Duration::from_secs(5);

/// While as many connections wait for their handshake as may, one is replaced in so long: what is evicted connects again.
const REPLACEMENT: Duration = Duration::from_millis(1);

/// So many failures of accepted connections are logged within [`LOG_WINDOW`]; the others are summed up.
const LOGGED_MAX: u32 = 20;

/// See [`LOGGED_MAX`].
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Accepts connections until told to stop, then waits for them to end.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let mut acceptor = Acceptor {
        connections: JoinSet::new(),
        failed: VecDeque::new(),
        log: FailureLog::default(),
        shared: Arc::clone(&shared),
        stop: stop.clone(),
    };
    let mut incoming = Incoming::new(listener);
    loop {
        let release = async {
            match acceptor.failed.front() {
                Some((time, _)) => sleep_until(*time).await,
                None => pending().await,
            }
        };
        // Perhaps there are no file descriptors: a connection that waits has one to give.
        let failed = || {
            shared.counters.accept_errors.increment();
            shared.waiting.evict(Duration::ZERO);
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (stream, address) = incoming.next(failed) => {
                acceptor.admit(stream, address);
                if shared.waiting.len() >= shared.config.waiting_max {
                    incoming.pause(REPLACEMENT);
                }
            }
            Some(result) = acceptor.connections.join_next() => acceptor.note_end(result),
            () = release => drop(acceptor.failed.pop_front()),
        }
    }
    drop(incoming);
    while let Some(result) = acceptor.connections.join_next().await {
        acceptor.note_end(result);
    }
}

struct Acceptor {
    shared: Arc<Shared>,
    stop: CancellationToken,
    connections: JoinSet<Served>,
    /// The places of handshakes that failed, and until when they are kept.
    failed: VecDeque<(Instant, OwnedSemaphorePermit)>,
    log: FailureLog,
}

/// An accepted connection that has ended.
struct Served {
    address: SocketAddr,
    outcome: Outcome,
    /// If its handshake began and did not succeed.
    place: Option<OwnedSemaphorePermit>,
}

impl Acceptor {
    fn admit(&mut self, stream: TcpStream, address: SocketAddr) {
        // DIFFERENCE(connection-limits): Broker accepts everybody.
        if !self.shared.limits.has_room(address.ip()) {
            self.shared.counters.refused.increment();
            self.log.note(address, &PeeringError::TooManyPeers);
            return;
        }
        connection::prepare(&stream);
        if matches!(self.shared.acceptance, Acceptance::Plaintext) {
            send_probe(&stream);
        }
        let waiting = self.shared.waiting.enter_limited(self.shared.config.waiting_max);
        let connection = Accepted {
            shared: Arc::clone(&self.shared),
            deadline: self
                .shared
                .now()
                .saturating_add(self.shared.config.handshake_timeout),
            stop: self.stop.child_token(),
            stream,
            address,
        };
        self.connections.spawn(connection.serve(waiting));
    }

    fn note_end(&mut self, result: Result<Served, JoinError>) {
        let (address, error, peer, place) = match result {
            Ok(Served {
                outcome: Outcome::Ended { .. },
                ..
            }) => return,
            Ok(Served {
                address,
                outcome: Outcome::Failed { error, peer },
                place,
            }) => (address, error, peer, place),
            Err(error) => {
                if error.is_panic() {
                    self.shared.counters.panics.increment();
                    error!(%error, "the task of a connection panicked");
                }
                return;
            }
        };
        self.shared.counters.accept_failures.increment();
        match error {
            // Two endpoints connect to each other at the same time, and this is how one connection remains.
            PeeringError::Handshake(Close::Refused(_) | Close::Dropped(_)) => {
                debug!(%address, peer = peer.map(tracing::field::display), error = text(&error), "accepted connection was refused");
                return;
            }
            PeeringError::ShuttingDown => {}
            error => self.log.note(address, &error),
        }
        if let Some(place) = place {
            self.failed.push_back((Instant::now() + FAILED_HANDSHAKE, place));
        }
    }
}

/// Broker's acceptor sends its probe at once, before the peer has sent anything.
fn send_probe(stream: &TcpStream) {
    let mut frame = BytesMut::new();
    if Message::Probe.encode_frame(&mut frame).is_ok() {
        // There is room in a new connection. If it is closed already, reading tells.
        let _ = SockRef::from(stream).send(&frame);
    }
}

/// An accepted connection whose handshake has not begun.
struct Accepted {
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    /// When the handshake must be complete.
    deadline: Duration,
    stop: CancellationToken,
}

impl Accepted {
    async fn serve(self, mut waiting: Place) -> Served {
        let address = self.address;
        match self.turn(&mut waiting).await {
            Ok(place) => {
                drop(waiting);
                // Of this size only when it is needed: many connections may wait.
                Box::pin(self.shake(place)).await
            }
            Err(error) => {
                self.shared.counters.refused.increment();
                Served {
                    address,
                    outcome: Outcome::Failed { error, peer: None },
                    place: None,
                }
            }
        }
    }

    /// Waits until the peer has sent something, and then for a place among the handshakes of its address. There is none if the
    /// peer was silent for all the time that it has.
    async fn turn(&self, waiting: &mut Place) -> Result<Option<OwnedSemaphorePermit>, PeeringError> {
        let deadline = self.shared.instant(self.deadline);
        let mut byte = [0];
        let has_spoken = tokio::select! {
            peeked = timeout_at(deadline, self.stream.peek(&mut byte)) => peeked.is_ok(),
            () = waiting.evicted() => return Err(PeeringError::Evicted),
            () = self.stop.cancelled() => return Err(PeeringError::ShuttingDown),
        };
        if !has_spoken {
            return Ok(None);
        }
        waiting.spoke();
        let handshakes = self.shared.limits.handshakes(self.address.ip());
        tokio::select! {
            place = timeout_at(deadline, handshakes.acquire_owned()) => match place {
                // The semaphore is never closed.
                Ok(place) => Ok(place.ok()),
                Err(_) => Err(PeeringError::TooManyHandshakes {
                    max: self.shared.config.handshakes_per_address_max,
                }),
            },
            () = waiting.evicted() => Err(PeeringError::Evicted),
            () = self.stop.cancelled() => Err(PeeringError::ShuttingDown),
        }
    }

    async fn shake(self, place: Option<OwnedSemaphorePermit>) -> Served {
        let Self {
            shared,
            stream,
            address,
            deadline,
            stop,
        } = self;
        shared.counters.accepted.increment();
        let pending = shared.handshakes.enter_limited(shared.config.handshakes_max);
        let credits = Credits::new();
        let socket = Socket::new(stream, Arc::clone(&credits));
        let timeout = deadline.saturating_sub(shared.now());
        let accepted = tokio::select! {
            accepted = shared.acceptance.accept(socket, timeout) => accepted.map_err(PeeringError::from),
            () = pending.evicted() => Err(PeeringError::Evicted),
            () = stop.cancelled() => Err(PeeringError::ShuttingDown),
        };
        let mut handshake = Some(HandshakePlace {
            pending,
            of_address: place,
        });
        let outcome = match accepted {
            Ok(transport) => {
                let mut connection = Connection {
                    shared,
                    role: Role::Acceptor,
                    address,
                    dialled: None,
                    credits,
                    leave: stop,
                    deadline,
                    handshake,
                };
                let outcome = connection.run(transport).await;
                handshake = connection.handshake;
                outcome
            }
            Err(error) => Outcome::Failed { error, peer: None },
        };
        Served {
            address,
            outcome,
            place: handshake.and_then(|handshake| handshake.of_address),
        }
    }
}

/// Logs failures of strangers, who must not be able to fill the disk.
#[derive(Debug, Default)]
struct FailureLog {
    began: Option<Instant>,
    count: u32,
}

impl FailureLog {
    fn note(&mut self, address: SocketAddr, error: &PeeringError) {
        let (shown, suppressed) = self.count(Instant::now());
        if suppressed > 0 {
            info!(suppressed, "more accepted connections failed than were logged");
        }
        if shown {
            warn!(%address, "a peer that connected was not accepted: {}", text(error));
        }
    }

    /// Whether to show one more; and how many were not, if their window is over.
    fn count(&mut self, now: Instant) -> (bool, u32) {
        let mut suppressed = 0;
        if self.began.is_none_or(|began| now - began >= LOG_WINDOW) {
            suppressed = self.count.saturating_sub(LOGGED_MAX);
            self.began = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        (self.count <= LOGGED_MAX, suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let mut log = FailureLog::default();
        let start = Instant::now();
        for _ in 0..LOGGED_MAX {
            assert_eq!(log.count(start), (true, 0));
        }
        for _ in 0..7 {
            assert_eq!(log.count(start), (false, 0));
        }
        assert_eq!(log.count(start + LOG_WINDOW), (true, 7));
        assert_eq!(log.count(start + LOG_WINDOW), (true, 0));
    }
}
