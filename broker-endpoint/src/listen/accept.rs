//! Accepting connections, and beginning their handshakes at a pace.
//!
//! What comes is accepted at once, so that nobody has to wait in the system's queue behind a flood, which has no order but
//! that of arrival. Handshakes, which cost, begin at a pace, and those of whom we think best begin first.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::handshake::{Close, MAGIC, Role};
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    lobby::{Lobby, Said},
    pace::Pace,
};
use crate::{
    connection::{self, Connection, IDENTIFICATION_FRAME_MAX, Outcome},
    credit::Credits,
    endpoint::{Origin, PeeringError, Shared},
    socket::Socket,
    text,
    tls::{Acceptance, HANDSHAKE_RECORD},
};

/// The length, the type, and Broker's magic number: how every first message begins.
const OPENING_LEN: usize = 9;

/// So many handshakes begin at once.
const HANDSHAKES_BURST: u32 = 512;

/// After a burst, handshakes with TLS begin at this pace: each costs about a millisecond of the processor, which belongs to
/// established peers during a flood.
const TLS_HANDSHAKES_INTERVAL: Duration = Duration::from_millis(5);

/// The same without TLS, where a handshake costs a tenth of that.
const PLAINTEXT_HANDSHAKES_INTERVAL: Duration = Duration::from_millis(2);

/// While as many wait as may, so many are let in and others sent away at once.
const REPLACEMENTS_BURST: u32 = 512;

/// After a burst, they are replaced at this pace: who is sent away comes again, and only to wait keeps them busy.
const REPLACEMENTS_INTERVAL: Duration = Duration::from_millis(1);

/// How long nothing is accepted after accepting failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many failures of accepted connections are logged within [`LOG_WINDOW`]; the others are summed up.
const LOGGED_MAX: u32 = 20;

/// See [`LOGGED_MAX`].
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Accepts connections until told to stop, then waits for them to end.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let now = Instant::now();
    let interval = match shared.acceptance {
        Acceptance::Plaintext => PLAINTEXT_HANDSHAKES_INTERVAL,
        Acceptance::Tls(_) | Acceptance::Either(_) => TLS_HANDSHAKES_INTERVAL,
    };
    let acceptor = Acceptor {
        lobby: Lobby::new(shared.config.waiting_max.max(1), shared.config.handshake_timeout),
        handshakes: Pace::new(HANDSHAKES_BURST, interval, now),
        replacements: Pace::new(REPLACEMENTS_BURST, REPLACEMENTS_INTERVAL, now),
        connections: JoinSet::new(),
        log: FailureLog::default(),
        failing: false,
        shared,
        listener,
        stop,
    };
    acceptor.run().await;
}

struct Acceptor {
    shared: Arc<Shared>,
    listener: TcpListener,
    stop: CancellationToken,
    lobby: Lobby<Arrival>,
    handshakes: Pace,
    replacements: Pace,
    connections: JoinSet<(SocketAddr, Outcome)>,
    log: FailureLog,
    failing: bool,
}

/// An accepted connection whose handshake has not begun.
struct Arrival {
    stream: TcpStream,
    address: SocketAddr,
    at: Duration,
}

impl Arrival {
    /// What it has said, as far as the system has told already.
    fn said(&self, tls: bool) -> Said {
        let mut bytes = [0; OPENING_LEN];
        let peek = || Ok(recv(&self.stream, &mut bytes, RecvFlags::PEEK)?);
        let len = match self.stream.try_io(Interest::READABLE, peek) {
            Ok((len, _)) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Said::Nothing,
            Err(_) => return Said::Goodbye,
        };
        match bytes.get(..len) {
            None | Some([]) => Said::Goodbye,
            Some(bytes) if tls => hello_of_tls(bytes),
            Some(bytes) => hello_of_broker(bytes),
        }
    }
}

/// Whether these can be a peer's first bytes: a TLS record of a handshake.
fn hello_of_tls(bytes: &[u8]) -> Said {
    if bytes.first() == Some(&HANDSHAKE_RECORD) {
        Said::Hello
    } else {
        Said::Garbage
    }
}

/// Whether these can be a peer's first bytes: a message of a reasonable length, its type, and what all first messages have.
/// Whether it is really one, the handshake finds out.
fn hello_of_broker(bytes: &[u8]) -> Said {
    match bytes {
        &[a, b, c, d, _, ref magic @ ..] => {
            let is_short = u32::from_be_bytes([a, b, c, d]) <= IDENTIFICATION_FRAME_MAX;
            if is_short && magic == MAGIC.to_be_bytes() {
                Said::Hello
            } else if is_short && magic.len() < MAGIC.to_be_bytes().len() {
                Said::Nothing
            } else {
                Said::Garbage
            }
        }
        _ => Said::Nothing,
    }
}

impl Acceptor {
    async fn run(mut self) {
        loop {
            self.begin_handshakes();
            let room = self.lobby.is_full().then(|| self.replacements.next());
            let turn = (!self.lobby.is_empty()).then(|| self.handshakes.next());
            let expiry = self.lobby.deadline();
            let accept = async {
                if let Some(time) = room {
                    sleep_until(time).await;
                }
                self.listener.accept().await
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = accept => match accepted {
                    Ok((stream, address)) => self.let_in(stream, address),
                    Err(error) => {
                        self.shared.counters.accept_errors.increment();
                        if !self.failing {
                            warn!(%error, "cannot accept connections");
                        }
                        self.failing = true;
                        // Perhaps there are no file descriptors: one that waits in vain has one to give.
                        if let Some(arrival) = self.lobby.evict() {
                            self.refuse(&arrival, "no room for more connections");
                        }
                        tokio::select! {
                            () = self.stop.cancelled() => break,
                            () = sleep(ACCEPT_PAUSE) => {}
                        }
                    }
                },
                Some(result) = self.connections.join_next() => self.note_end(result),
                () = at(turn) => {}
                () = at(expiry) => {
                    for arrival in self.lobby.expire(Instant::now()) {
                        self.refuse(&arrival, "waited too long while too many others connected");
                    }
                }
            }
        }
        drop(self.listener);
        drop(self.lobby);
        while let Some(result) = self.connections.join_next().await {
            note_end(&self.shared, &mut self.log, result);
        }
    }

    fn let_in(&mut self, stream: TcpStream, address: SocketAddr) {
        self.failing = false;
        let now = Instant::now();
        // DIFFERENCE(connection-limits): Broker accepts everybody.
        if self.shared.peers.check(address.ip(), now).is_err() {
            self.shared.counters.refused.increment();
            self.log.note(address, "too many peers");
            return;
        }
        if self.lobby.is_full() {
            self.replacements.note(now);
            if let Some(arrival) = self.lobby.evict() {
                self.refuse(&arrival, "too many connections");
            }
        }
        let at = self.shared.now();
        let arrival = Arrival { stream, address, at };
        self.lobby.enter(Origin::from(address.ip()), arrival, now);
    }

    fn begin_handshakes(&mut self) {
        if self.lobby.is_empty() {
            return;
        }
        let tls = !matches!(self.shared.acceptance, Acceptance::Plaintext);
        let ended = self.lobby.look(|arrival| arrival.said(tls));
        self.shared.counters.refused.add(ended.len());
        loop {
            let now = Instant::now();
            if self.lobby.is_empty() || self.handshakes.next() > now {
                return;
            }
            let next = {
                let failures = self.shared.handshakes.failures(now);
                self.lobby.next(|origin| failures.of(origin))
            };
            let Some(arrival) = next else { return };
            self.handshakes.note(now);
            self.shared.counters.accepted.increment();
            let stop = self.stop.child_token();
            self.connections
                .spawn(serve(Arc::clone(&self.shared), arrival, stop));
        }
    }

    fn refuse(&mut self, arrival: &Arrival, reason: &str) {
        self.shared.counters.refused.increment();
        self.log.note(arrival.address, reason);
    }

    fn note_end(&mut self, result: Result<(SocketAddr, Outcome), JoinError>) {
        note_end(&self.shared, &mut self.log, result);
    }
}

/// Waits until a time; for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn serve(shared: Arc<Shared>, arrival: Arrival, stop: CancellationToken) -> (SocketAddr, Outcome) {
    let Arrival { stream, address, at } = arrival;
    let handshake_slot = shared.handshakes.enter(address.ip());
    let deadline = at.saturating_add(shared.config.handshake_timeout);
    let timeout = deadline.saturating_sub(shared.now());
    connection::prepare(&stream);
    let credits = Credits::new();
    let socket = Socket::new(stream, Arc::clone(&credits));
    let accepted = tokio::select! {
        accepted = shared.acceptance.accept(socket, timeout) => accepted.map_err(PeeringError::from),
        () = handshake_slot.evicted() => Err(PeeringError::GaveWay),
        () = stop.cancelled() => Err(PeeringError::ShuttingDown),
    };
    let outcome = match accepted {
        Ok(transport) => {
            let connection = Connection {
                shared,
                role: Role::Acceptor,
                address,
                dialled: None,
                credits,
                leave: stop,
                deadline,
                handshake_slot: Some(handshake_slot),
                peer_slot: None,
            };
            connection.run(transport).await
        }
        Err(error) => Outcome::Failed { error, peer: None },
    };
    (address, outcome)
}

fn note_end(shared: &Shared, log: &mut FailureLog, result: Result<(SocketAddr, Outcome), JoinError>) {
    match result {
        Ok((_, Outcome::Ended { .. })) => {}
        Ok((address, Outcome::Failed { error, peer })) => {
            shared.counters.accept_failures.increment();
            match error {
                // Two endpoints connect to each other at the same time, and this is how one connection remains.
                PeeringError::Handshake(Close::Refused(_) | Close::Dropped(_)) => {
                    debug!(%address, peer = peer.map(display), error = text(&error), "accepted connection was refused");
                }
                PeeringError::ShuttingDown => {}
                error => log.note(address, &text(&error)),
            }
        }
        Err(error) => {
            if error.is_panic() {
                shared.counters.panics.increment();
                error!(%error, "the task of a connection panicked");
            }
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
    fn note(&mut self, address: SocketAddr, error: &str) {
        let (shown, suppressed) = self.count(Instant::now());
        if suppressed > 0 {
            info!(suppressed, "more accepted connections failed than were logged");
        }
        if shown {
            warn!(%address, "a peer that connected was not accepted: {error}");
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

    #[test]
    fn what_peers_say_first_is_told_from_garbage() {
        let hello = b"\0\0\0\x17\x06ZEEK";
        assert_eq!(hello_of_broker(hello), Said::Hello);
        for len in 1..OPENING_LEN {
            assert_eq!(hello_of_broker(&hello[..len]), Said::Nothing, "{len} bytes of it");
        }
        for garbage in [
            b"\0\x0f\xff\xff\x0aZEEK",
            b"GET / HTT",
            b"\0\0\0\x17\x06BRKR",
            &[0xff; OPENING_LEN],
        ] {
            assert_eq!(hello_of_broker(garbage), Said::Garbage, "{garbage:?}");
        }
        assert_eq!(hello_of_broker(b"GET /"), Said::Garbage);
        assert_eq!(hello_of_tls(b"\x16\x03\x01"), Said::Hello);
        assert_eq!(hello_of_tls(hello), Said::Garbage);
    }
}
