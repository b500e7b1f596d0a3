//! Connecting, and connecting again.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    EndpointId, ErrorCode, Topic,
    handshake::{Close, Role},
    peering::PeeringEnd,
};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::{
    connection::{self, Connection, Outcome, awaited::Awaited},
    credit::Credits,
    endpoint::{
        counted::Counted,
        event::{EndReason, EndpointEvent, PeerAddress, PeeringError},
        shared::Shared,
    },
    socket::Socket,
    tls::Transport,
};

/// Connects to an address until told to stop; without an interval, once.
///
/// After the loss of a peering the next attempt follows at once, as Broker's does, unless the interval since the last one has
/// not passed. The interval is a little [longer](jittered) by chance.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    address: &PeerAddress,
    retry: Option<Duration>,
    awaited: Vec<Topic>,
    stop: &CancellationToken,
) {
    let mut dialer = Dialer {
        shared,
        address,
        // A peer that is connected to once is better than none.
        awaited: Awaited::new(retry.map_or_else(Vec::new, |_| awaited)),
        stop,
    };
    while let Some(pause) = dialer.attempt(retry).await {
        let chance = getrandom::u32().unwrap_or_default();
        tokio::select! {
            () = sleep(jittered(pause, chance)) => {}
            () = stop.cancelled() => break,
        }
    }
}

struct Dialer<'a> {
    shared: &'a Arc<Shared>,
    address: &'a PeerAddress,
    awaited: Awaited,
    stop: &'a CancellationToken,
}

impl Dialer<'_> {
    /// Makes a connection and waits for its end; returns how long to wait before the next one, `None` for ever.
    async fn attempt(&mut self, retry: Option<Duration>) -> Option<Duration> {
        let began = self.shared.now();
        let outcome = tokio::select! {
            connected = self.connect() => match connected {
                Ok(connected) => connected,
                Err(error) => return self.failed(error, retry).await,
            },
            () = self.stop.cancelled() => return None,
        };
        match self.run(outcome).await {
            Some(Outcome::Ended { requested: true }) => None,
            Some(Outcome::Ended { requested: false }) => {
                let lasted = self.shared.now().saturating_sub(began);
                retry.map(|retry| pause_after(lasted, retry))
            }
            Some(Outcome::Failed { error, peer }) => {
                if let Some(peer) = redundant_with(&error, peer)
                    && self.outlast(peer).await
                {
                    // DIFFERENCE(redundant-connection-is-replaced): Broker counts this as success for good, and connects
                    // no more if the other side, whose connection it was, does not.
                    return retry.map(|_| Duration::ZERO);
                }
                if let (PeeringError::Useless(EndReason::Ended(PeeringEnd::Unsubscribed)), Some(peer)) =
                    (&error, peer)
                {
                    self.awaited.note_missed(peer);
                }
                self.failed(error, retry).await
            }
            None => retry,
        }
    }

    /// Opens a connection and protects it.
    async fn connect(&self) -> Result<Opened, PeeringError> {
        let PeerAddress { host, port } = self.address;
        let addresses = lookup_host((host.as_str(), *port))
            .await
            .map_err(PeeringError::Resolve)?;
        let config = &self.shared.config;
        let (stream, address) = open_first(addresses, config.source, config.connect_timeout)
            .await
            .map_err(|attempts| PeeringError::Connect { attempts })?;
        let deadline = self.shared.now().saturating_add(config.handshake_timeout);
        connection::prepare(&stream);
        let protection = &self.shared.protection;
        let credits = Credits::new();
        let socket = Socket::new(stream, Arc::clone(&credits));
        let transport = protection.connect(socket, config.handshake_timeout).await?;
        let connection = Connection {
            shared: Arc::clone(self.shared),
            role: Role::Connector,
            address,
            dialled: Some(self.address.clone()),
            awaited: self.awaited.clone(),
            credits,
            leave: self.stop.child_token(),
            deadline,
            handshake: None,
        };
        Ok((connection, transport))
    }

    /// Runs a connection in a task of its own, so that its panic ends nothing else.
    async fn run(&self, (mut connection, transport): Opened) -> Option<Outcome> {
        let mut task = JoinSet::new();
        task.spawn(async move { connection.run(transport).await });
        match task.join_next().await? {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                if error.is_panic() {
                    self.shared.counters.increment(Counted::Panics);
                    error!(address = %self.address, %error, "the task of a connection panicked");
                }
                None
            }
        }
    }

    async fn failed(&self, error: PeeringError, retry: Option<Duration>) -> Option<Duration> {
        if matches!(error, PeeringError::ShuttingDown) {
            return None;
        }
        self.shared.counters.increment(Counted::ConnectFailures);
        let retry = retry.filter(|_| !error.is_permanent());
        let event = EndpointEvent::PeerUnavailable {
            address: self.address.clone(),
            error,
            retry,
        };
        self.shared.deliver(event, None).await;
        retry
    }

    /// If there is another connection with this peer, waits until there is none; otherwise says so.
    async fn outlast(&self, peer: EndpointId) -> bool {
        let mut other = self.shared.connection_with(peer);
        if other.is_none() {
            return false;
        }
        debug!(address = %self.address, %peer, "already peered over another connection");
        while let Some(ended) = other {
            tokio::select! {
                () = ended.cancelled() => other = self.shared.connection_with(peer),
                () = self.stop.cancelled() => break,
            }
        }
        true
    }
}

/// How long to wait after a peering has ended so long after the attempt to make it: never longer than the interval.
///
/// DIFFERENCE(short-peerings): Broker makes it again at once however short it was, so that two endpoints that cannot live with
/// each other do nothing else.
const fn pause_after(lasted: Duration, retry: Duration) -> Duration {
    retry.saturating_sub(lasted)
}

/// A pause that is longer by up to a quarter, by chance: peers that have lost the same endpoint at the same moment do not all come back at the same
/// moment.
///
/// DIFFERENCE(retry-jitter): Broker waits as long as it is told.
fn jittered(pause: Duration, chance: u32) -> Duration {
    let more = (pause / 4).mul_f64(f64::from(chance) / f64::from(u32::MAX));
    pause.saturating_add(more)
}

type Opened = (Connection, Transport<Socket>);

/// Connects to the first address that lets us, each for at most `limit`; otherwise says why none did.
async fn open_first(
    addresses: impl Iterator<Item = SocketAddr>,
    source: Option<IpAddr>,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Vec<(SocketAddr, io::Error)>> {
    let mut attempts = Vec::new();
    for address in addresses {
        let result = timeout(limit, open(address, source)).await;
        match result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => attempts.push((address, error)),
        }
    }
    Err(attempts)
}

async fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(address).await;
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((source, 0).into())?;
    socket.connect(address).await
}

/// With whom there is another connection, according to the side that refused this one.
fn redundant_with(error: &PeeringError, peer: Option<EndpointId>) -> Option<EndpointId> {
    const CODES: [ErrorCode; 2] = [ErrorCode::REDUNDANT_CONNECTION, ErrorCode::LOGIC_ERROR];
    match error {
        PeeringError::Handshake(Close::Dropped(drop)) if CODES.contains(&drop.code) => Some(drop.sender),
        PeeringError::Handshake(Close::Refused(refusal)) if CODES.contains(&refusal.code) => peer,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use testkit::ReservedPort;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_given_up() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any_port.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let limit = Duration::from_millis(50);
        // No process accepts. Where the system's queue is full, it does not answer.
        let mut queued = Vec::new();
        let attempts = loop {
            match open_first([address].into_iter(), None, limit).await {
                Ok(connected) => queued.push(connected),
                Err(attempts) => break attempts,
            }
            assert!(queued.len() < 10, "the queue has room for one or two");
        };
        assert_eq!(attempts[0].1.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_lost_peering_is_made_again_within_the_interval_and_not_sooner_after_the_last_attempt() {
        let [second, retry, hour] = [1, 10, 3600].map(Duration::from_secs);
        assert_eq!(pause_after(hour, retry), Duration::ZERO);
        assert_eq!(pause_after(retry, retry), Duration::ZERO);
        assert_eq!(pause_after(second, retry), Duration::from_secs(9));
        assert_eq!(pause_after(Duration::ZERO, retry), retry);
    }

    #[test]
    fn attempts_are_spread_over_a_quarter_of_the_interval() {
        let retry = Duration::from_secs(4);
        let pauses = [0, u32::MAX / 2, u32::MAX].map(|chance| jittered(retry, chance).as_millis());
        assert_eq!(pauses, [4000, 4500, 5000]);
        assert_eq!(jittered(Duration::ZERO, u32::MAX), Duration::ZERO);
        assert_eq!(jittered(Duration::MAX, u32::MAX), Duration::MAX);
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let reserved = ReservedPort::new("127.0.0.1");
        let unused = reserved.address();
        let listener = TcpListener::bind(("::1", 0)).await.unwrap();
        let used = listener.local_addr().unwrap();

        let limit = Duration::from_secs(60);
        let (stream, address) = open_first([unused, used].into_iter(), None, limit).await.unwrap();
        assert_eq!(address, used);
        assert_eq!(stream.peer_addr().unwrap(), used);

        let attempts = open_first([unused, unused].into_iter(), None, limit)
            .await
            .unwrap_err();
        assert_eq!(attempts.len(), 2);
        let error = PeeringError::Connect { attempts };
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot connect to {unused} (")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_connection_comes_from_the_address_that_was_chosen() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let chosen = IpAddr::from([127, 1, 2, 3]);

        let limit = Duration::from_secs(60);
        let (stream, _) = open_first([address].into_iter(), Some(chosen), limit)
            .await
            .unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from, stream.local_addr().unwrap());
        assert_eq!(from.ip(), chosen);
    }
}
