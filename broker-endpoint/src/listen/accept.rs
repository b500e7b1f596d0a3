use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use broker_codec::handshake::{Close, Message, Role};
use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{incoming::Incoming, pending::Place};
use crate::{
    connection::{self, Connection, HandshakePlace, Outcome, awaited::Awaited},
    credit::Credits,
    endpoint::{counted::Counted, event::PeeringError, limits::network, shared::Shared},
    error::with_causes,
    socket::Socket,
    time::at,
    tls::Acceptance,
};

/// A handshake that failed keeps its place among those of its address for so long, so that an address that fails again and
/// again takes little of the processor.
const FAILED_HANDSHAKE: Duration = Duration::from_secs(5);

/// While as many connections wait for their handshake as may, one is replaced in so long: what is evicted connects again.
const REPLACEMENT: Duration = Duration::from_millis(1);

/// An address that fails for the same reason again is logged once in so long.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// So many addresses and reasons are logged within [`LOG_INTERVAL`]; further failures are summed up.
const LOGGED_MAX: usize = 64;

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
        let release = at(acceptor.failed.front().map(|(time, _)| *time));
        // Perhaps there are no file descriptors: a connection that waits has one to give.
        let failed = || {
            shared.counters.increment(Counted::AcceptErrors);
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
        // DIFFERENCE(connection-limits): Broker accepts any number.
        if !self.shared.limits.has_room(address.ip()) {
            self.shared.counters.increment(Counted::Refused);
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
                    self.shared.counters.increment(Counted::Panics);
                    error!(%error, "the task of a connection panicked");
                }
                return;
            }
        };
        self.shared.counters.increment(Counted::AcceptFailures);
        match error {
            // Two endpoints connect to each other at the same time, and this is how one connection remains.
            PeeringError::Handshake(Close::Refused(_) | Close::Dropped(_)) => {
                debug!(%address, peer = peer.map(tracing::field::display), error = with_causes(&error), "accepted connection was refused");
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
        // In boxes, of which there is one at a time: many connections may wait, and peers stay.
        match Box::pin(self.turn(&mut waiting)).await {
            Ok(place) => {
                drop(waiting);
                Box::pin(self.shake(place)).await
            }
            Err(error) => {
                self.shared.counters.increment(Counted::Refused);
                Served {
                    address,
                    outcome: Outcome::Failed { error, peer: None },
                    place: None,
                }
            }
        }
    }

    /// Waits until the peer has sent something, and then for a place among the handshakes of its address and among all. There is none if
    /// the peer was silent for all the time that it has.
    async fn turn(&self, waiting: &mut Place) -> Result<HandshakePlace, PeeringError> {
        let deadline = self.shared.instant(self.deadline);
        let mut byte = [0];
        let has_spoken = tokio::select! {
            peeked = timeout_at(deadline, self.stream.peek(&mut byte)) => peeked.is_ok(),
            () = waiting.evicted() => return Err(PeeringError::Evicted),
            () = self.stop.cancelled() => return Err(PeeringError::ShuttingDown),
        };
        if !has_spoken {
            return Ok(HandshakePlace::default());
        }
        waiting.spoke();
        tokio::select! {
            place = timeout_at(deadline, self.place()) => place.map_err(|_| PeeringError::TooManyHandshakes {
                max: self.shared.config.handshakes_per_address_max,
            }),
            () = waiting.evicted() => Err(PeeringError::Evicted),
            () = self.stop.cancelled() => Err(PeeringError::ShuttingDown),
        }
    }

    async fn place(&self) -> HandshakePlace {
        let address = self.address.ip();
        let of_address = self.shared.limits.handshakes(address).acquire_owned().await;
        HandshakePlace {
            in_all: Some(self.shared.handshakes.enter(network(address)).await),
            // The semaphore is never closed.
            of_address: of_address.ok(),
        }
    }

    async fn shake(self, place: HandshakePlace) -> Served {
        let Self {
            shared,
            stream,
            address,
            deadline,
            stop,
        } = self;
        shared.counters.increment(Counted::Accepted);
        let credits = Credits::new();
        let socket = Socket::new(stream, Arc::clone(&credits));
        let timeout = deadline.saturating_sub(shared.now());
        let accepted = tokio::select! {
            accepted = shared.acceptance.accept(socket, timeout) => accepted.map_err(PeeringError::from),
            () = place.evicted() => Err(PeeringError::Evicted),
            () = stop.cancelled() => Err(PeeringError::ShuttingDown),
        };
        let mut handshake = Some(place);
        let outcome = match accepted {
            Ok(transport) => {
                let mut connection = Connection {
                    shared,
                    role: Role::Acceptor,
                    address,
                    dialled: None,
                    awaited: Awaited::default(),
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

/// Logs failures of strangers, who must not be able to fill the disk or to hide other lines.
#[derive(Debug, Default)]
struct FailureLog {
    told: BTreeMap<(IpAddr, String), Told>,
    suppressed: u32,
}

#[derive(Debug)]
struct Told {
    until: Instant,
    /// How often the same has happened since.
    more: u32,
}

impl FailureLog {
    fn note(&mut self, address: SocketAddr, error: &PeeringError) {
        let reason = with_causes(error);
        let Some(more) = self.tell(address.ip(), &reason, Instant::now()) else {
            return;
        };
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            info!(suppressed, "more accepted connections failed than were logged");
        }
        let again = match more {
            0 => String::new(),
            _ => format!(", {more} times more"),
        };
        warn!(%address, "a peer that connected was not accepted{again}: {reason}");
    }

    /// Whether to log it; and how often it has happened since it was logged.
    fn tell(&mut self, address: IpAddr, reason: &str, now: Instant) -> Option<u32> {
        let key = (address, reason.to_owned());
        let mut more = 0;
        if let Some(told) = self.told.get_mut(&key) {
            if now < told.until {
                told.more = told.more.saturating_add(1);
                return None;
            }
            more = told.more;
        }
        self.told.retain(|_, told| now < told.until);
        if self.told.len() >= LOGGED_MAX {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        let until = now + LOG_INTERVAL;
        self.told.insert(key, Told { until, more: 0 });
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log_and_one_that_fails_again_is_told_once_a_minute() {
        let mut log = FailureLog::default();
        let start = Instant::now();
        let address = |last: usize| IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()]);
        for _ in 0..7 {
            let told = log.tell(address(0), "no cipher suite in common", start);
            assert_eq!(
                told.is_some(),
                log.told[&(address(0), "no cipher suite in common".into())].more == 0
            );
        }
        assert_eq!(
            log.tell(address(0), "no certificate", start),
            Some(0),
            "another reason"
        );
        for last in 1..100 {
            let _ = log.tell(address(last), "garbage", start);
        }
        assert_eq!(log.told.len(), LOGGED_MAX);
        assert_eq!(log.suppressed, 99 + 2 - u32::try_from(LOGGED_MAX).unwrap());
        assert_eq!(
            log.tell(address(0), "no cipher suite in common", start + LOG_INTERVAL),
            Some(6)
        );
        assert_eq!(log.told.len(), 1);
    }
}
