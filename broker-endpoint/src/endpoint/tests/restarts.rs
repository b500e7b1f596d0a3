//! Endpoints that all connect to each other, and restart.

use std::{collections::BTreeSet, io::ErrorKind, sync::Arc};

use tokio::{sync::Notify, task::JoinSet};

use super::*;

const ENDPOINTS: usize = 4;
const RESTARTS: u32 = 200;

/// A small generator of numbers, so that a failing run can be repeated.
struct Numbers(u64);

impl Numbers {
    /// xorshift64
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below the limit")
    }
}

/// How often to look whether all is at rest: what an event tells may be known to the owner of the routing state a moment later.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A running endpoint whose events are only a reason to look.
struct Node {
    handle: EndpointHandle,
    stop: Arc<Notify>,
    task: JoinSet<()>,
}

impl Node {
    async fn start(port: u16, changed: &Arc<Notify>) -> Self {
        let mut endpoint = start(plaintext());
        let handle = endpoint.handle();
        loop {
            match handle.listen("127.0.0.1", port).await {
                Ok(_) => break,
                // The tasks of one that crashed are not all gone yet.
                Err(EndpointError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let stop = Arc::new(Notify::new());
        let mut task = JoinSet::new();
        let (stopped, changed) = (Arc::clone(&stop), Arc::clone(changed));
        task.spawn(async move {
            loop {
                tokio::select! {
                    event = endpoint.recv() => {
                        changed.notify_one();
                        if event.is_none() {
                            break;
                        }
                    }
                    () = stopped.notified() => break,
                }
            }
            endpoint.shutdown().await;
        });
        Self { handle, stop, task }
    }

    fn dial(&self, ports: &[u16], own: usize) {
        for (index, port) in ports.iter().enumerate() {
            if index != own {
                self.handle.peer(
                    PeerAddress::new("127.0.0.1", *port),
                    Some(Duration::from_millis(20)),
                );
            }
        }
    }

    /// Ends it in good order or, as a crash does, without a word.
    async fn end(mut self, orderly: bool) {
        if orderly {
            self.stop.notify_one();
            while self.task.join_next().await.is_some() {}
        } else {
            self.task.shutdown().await;
        }
    }
}

/// Whether each endpoint has exactly one peering with each other one, and both ends mean the same connection.
fn settled(nodes: &[Node]) -> bool {
    let ids: BTreeSet<EndpointId> = nodes.iter().map(|node| node.handle.id()).collect();
    let mut dialled = BTreeSet::new();
    for node in nodes {
        let peers = node.handle.peers();
        let mut seen: BTreeSet<EndpointId> = peers.iter().map(|peer| peer.id).collect();
        if seen.len() != peers.len() || !seen.insert(node.handle.id()) || seen != ids {
            return false;
        }
        for peer in peers {
            if peer.dialled.is_some() {
                dialled.insert((node.handle.id(), peer.id));
            }
        }
    }
    let pairs = nodes.len() * (nodes.len() - 1) / 2;
    dialled.len() == pairs
        && dialled
            .iter()
            .all(|(one, other)| !dialled.contains(&(*other, *one)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_restarts_end_with_one_connection_for_each_pair() {
    let mut numbers = Numbers(0x5eed_2026);
    let changed = Arc::new(Notify::new());
    // No other process gets them while an endpoint is down.
    let reserved = [(); ENDPOINTS].map(|()| ReservedPort::new("127.0.0.1"));
    let ports = reserved.each_ref().map(ReservedPort::port);
    let mut nodes = Vec::new();
    for port in ports {
        nodes.push(Node::start(port, &changed).await);
    }
    for (index, node) in nodes.iter().enumerate() {
        node.dial(&ports, index);
    }
    for restart in 0..RESTARTS {
        let index = numbers.below(ENDPOINTS);
        nodes.remove(index).end(numbers.below(2) == 0).await;
        let fresh = Node::start(ports[index], &changed).await;
        fresh.dial(&ports, index);
        nodes.insert(index, fresh);
        // Sometimes wait for rest, sometimes not.
        if numbers.below(10) == 0 {
            rest(&nodes, &changed, restart).await;
        }
    }
    rest(&nodes, &changed, RESTARTS).await;
}

async fn rest(nodes: &[Node], changed: &Notify, restart: u32) {
    let settle = async {
        while !settled(nodes) {
            let _ = timeout(LOOK_AGAIN, changed.notified()).await;
        }
    };
    if timeout(TIMEOUT, settle).await.is_err() {
        let mut peers = Vec::new();
        for node in nodes {
            peers.push((node.handle.id(), node.handle.peers()));
        }
        panic!("not settled after {restart} restarts: {peers:#?}");
    }
}
