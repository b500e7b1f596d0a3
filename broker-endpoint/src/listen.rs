//! Listening and accepting.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use broker_codec::handshake::{Close, Role};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    EndpointError,
    connection::{Connection, Outcome},
    endpoint::{PeeringError, Shared, Slot},
    text,
};

/// Connections that the system may complete before we accept them.
const BACKLOG: i32 = 512;

/// So many connections are accepted at once.
const ACCEPT_BURST: u32 = 512;

/// After a burst, connections are accepted at this pace. A flood of strangers then leaves the processor to established
/// peers, also if each has to be answered with TLS; somebody new waits [`BACKLOG`] times as long at most, 2.5 s.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(5);

/// How long nothing is accepted after accepting failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many failures of accepted connections are logged within [`LOG_WINDOW`]; the others are summed up.
const LOGGED_MAX: u32 = 20;

/// See [`LOGGED_MAX`].
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Listens as `Broker::listen` does.
///
/// The empty host is every address, IPv6 and IPv4 on one socket, or only IPv4 where the system has no IPv6; `::` is the same
/// without the fallback, and `0.0.0.0` is IPv4 only. A name is listened on at each of its addresses that can be.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, EndpointError> {
    let address = match host {
        "" => match bind_address(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(listener) => return Ok(vec![listener]),
            // The port may be taken only there.
            Err(EndpointError::Listen { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                IpAddr::from(Ipv4Addr::UNSPECIFIED)
            }
            Err(error) => return Err(error),
        },
        host => match host.parse() {
            Ok(address) => address,
            Err(_) => return bind_name(host, port).await,
        },
    };
    Ok(vec![bind_address(SocketAddr::new(address, port))?])
}

async fn bind_name(host: &str, port: u16) -> Result<Vec<TcpListener>, EndpointError> {
    let unknown = |source| EndpointError::Resolve {
        host: host.to_owned(),
        source,
    };
    let addresses = lookup_host((host, port)).await.map_err(unknown)?;
    match bind_all(addresses) {
        (listeners, _) if !listeners.is_empty() => Ok(listeners),
        (_, Some(error)) => Err(error),
        (_, None) => Err(unknown(io::Error::new(
            io::ErrorKind::NotFound,
            "name has no address",
        ))),
    }
}

/// DIFFERENCE(listen-on-all-addresses-of-a-name): Broker binds the first one that works, which is `::1` alone for `localhost`.
fn bind_all(addresses: impl Iterator<Item = SocketAddr>) -> (Vec<TcpListener>, Option<EndpointError>) {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut failure = None;
    let mut tried = HashSet::new();
    for mut address in addresses {
        if !tried.insert(address.ip()) {
            continue;
        }
        // All get the port that the system chose for the first.
        if let Some(first) = listeners.first().and_then(|first| first.local_addr().ok()) {
            address.set_port(first.port());
        }
        match bind_address(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                debug!(%address, error = text(&error), "an address of a name cannot be listened on");
                failure = Some(error);
            }
        }
    }
    (listeners, failure)
}

fn bind_address(address: SocketAddr) -> Result<TcpListener, EndpointError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| EndpointError::Listen { address, source })
}

/// Accepts connections until told to stop, then waits for them to end.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut log = FailureLog::default();
    let mut failing = false;
    let mut pace = Pace::new(Instant::now());
    loop {
        let accept = async {
            sleep_until(pace.next).await;
            listener.accept().await
        };
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => match accepted {
                Ok((stream, address)) => {
                    failing = false;
                    pace.note(Instant::now());
                    if let Ok(slot) = shared.connection_limit.take(address.ip()) {
                        shared.counters.accepted.increment();
                        let stop = stop.child_token();
                        connections.spawn(serve(Arc::clone(&shared), stream, address, slot, stop));
                    } else {
                        // DIFFERENCE(connection-limits): Broker accepts everybody.
                        shared.counters.refused.increment();
                        log.note(address, "too many connections");
                    }
                }
                Err(error) => {
                    shared.counters.accept_errors.increment();
                    if !failing {
                        warn!(%error, "cannot accept connections");
                    }
                    failing = true;
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
            Some(result) = connections.join_next() => note_end(&shared, &mut log, result),
        }
    }
    drop(listener);
    while let Some(result) = connections.join_next().await {
        note_end(&shared, &mut log, result);
    }
}

/// When connections are accepted.
#[derive(Debug)]
struct Pace {
    /// Not before this time.
    next: Instant,
    /// When a burst will be possible again.
    rested: Instant,
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self {
            next: now,
            rested: now,
        }
    }

    /// Takes note of a connection that was accepted.
    fn note(&mut self, now: Instant) {
        self.rested = self.rested.max(now) + ACCEPT_INTERVAL;
        let burst = ACCEPT_INTERVAL * ACCEPT_BURST;
        self.next = self.rested.checked_sub(burst).unwrap_or(now);
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    _slot: Slot,
    stop: CancellationToken,
) -> (SocketAddr, Outcome) {
    let handshake_slot = shared.handshakes.enter(address.ip());
    let timeout = shared.config.handshake_timeout;
    let deadline = shared.now().saturating_add(timeout);
    // Events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = shared.acceptance.accept(stream, timeout) => accepted.map_err(PeeringError::from),
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
                leave: stop,
                deadline,
                handshake_slot: Some(handshake_slot),
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
                    debug!(%address, ?peer, error = text(&error), "accepted connection was refused");
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
        let now = Instant::now();
        if self.began.is_none_or(|began| now - began >= LOG_WINDOW) {
            let suppressed = self.count.saturating_sub(LOGGED_MAX);
            if suppressed > 0 {
                info!(suppressed, "more accepted connections failed than were logged");
            }
            self.began = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count <= LOGGED_MAX {
            warn!(%address, error, "accepted connection did not become a peering");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_of_a_name_are_listened_on_at_one_port() {
        let [v4, v6, elsewhere] =
            ["127.0.0.1:0", "[::1]:0", "192.0.2.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let (listeners, failure) = bind_all([v4, elsewhere, v6, v4].into_iter());
        let addresses: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
        assert_eq!(ips, [v4.ip(), v6.ip()]);
        assert_eq!(addresses[0].port(), addresses[1].port());
        assert!(
            matches!(failure, Some(EndpointError::Listen { .. })),
            "{failure:?}"
        );
    }

    #[test]
    fn a_burst_is_accepted_at_once_and_a_flood_at_a_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..ACCEPT_BURST {
            assert!(pace.next <= start);
            pace.note(start);
        }
        for number in 1..=3 {
            pace.note(start);
            assert_eq!(pace.next, start + ACCEPT_INTERVAL * number);
        }
        // After a rest, another burst.
        let later = start + 2 * ACCEPT_INTERVAL * ACCEPT_BURST;
        for _ in 0..ACCEPT_BURST {
            assert!(pace.next <= later);
            pace.note(later);
        }
        pace.note(later);
        assert!(pace.next > later);
    }
}
