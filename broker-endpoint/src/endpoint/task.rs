use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    ConnId, EndpointId, Envelope, Router, Topic, control::RoutingUpdateError, peering::BYE_TIMEOUT,
    router::RouterEvent,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{EndReason, EndpointEvent, PeerAddress, PeerInfo, Report, Shared};
use crate::{
    Among, connect,
    connection::{Order, Outbox, Pushed, QueuedKind},
    credit::Hold,
    listen,
};

/// What leaving peers may take longer than the wait for their answers.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// What the handles of an endpoint want.
#[derive(Debug)]
pub(super) enum Command {
    /// Send this frame to whom the envelope, which has no payload, is for.
    Publish {
        route: Envelope,
        frame: Bytes,
        among: Among<EndpointId>,
        hold: Hold,
    },
    Subscribe {
        prefix: Topic,
        reply: oneshot::Sender<Result<(), RoutingUpdateError>>,
    },
    Listen(TcpListener),
    Peer {
        address: PeerAddress,
        retry: Option<Duration>,
        awaited: Vec<Topic>,
    },
    Unpeer(PeerAddress),
    Disconnect(EndpointId),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
}

/// The owner of the routing state: the only task that touches it. It never waits for a connection or for the program.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) router: Router,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// Cancelled when the endpoint is asked to leave.
    pub(super) asked: CancellationToken,
    /// Cancelled when all connections are to end in good order, which those that wait for a verdict are told before.
    pub(super) leave: CancellationToken,
    pub(super) connections: HashMap<ConnId, Entry>,
    pub(super) dialers: BTreeMap<PeerAddress, Dialer>,
    pub(super) last_dialer: u64,
    /// Who waits for the end of the connection with a peer.
    pub(super) waiting: HashMap<EndpointId, Vec<oneshot::Sender<()>>>,
    /// Listeners and dialers, which own the tasks of their connections.
    pub(super) tasks: JoinSet<()>,
}

/// What connects to an address.
pub(super) struct Dialer {
    /// Tells it from an earlier one that is still leaving.
    number: u64,
    stop: CancellationToken,
}

/// A connection whose peer is known.
pub(super) struct Entry {
    peer: EndpointId,
    outbox: Arc<Outbox>,
    leave: CancellationToken,
    /// Once it is a peering.
    info: Option<PeerInfo>,
    /// Whether the last message for it found no room.
    overflowing: bool,
}

impl Task {
    /// Runs until all handles are gone or the endpoint leaves.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.asked.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
                Some(report) = self.reports.recv() => self.handle_report(report),
                Some(result) = self.tasks.join_next() => self.note_end(result),
            }
        }
        self.shut_down().await;
    }

    async fn shut_down(&mut self) {
        // What was published before is sent before.
        while let Ok(command) = self.commands.try_recv() {
            self.handle_command(command);
        }
        let events = self.router.shut_down();
        self.apply(events);
        self.leave.cancel();
        let ended = async {
            while !self.tasks.is_empty() {
                tokio::select! {
                    Some(report) = self.reports.recv() => self.handle_report(report),
                    Some(result) = self.tasks.join_next() => self.note_end(result),
                }
            }
        };
        if timeout(BYE_TIMEOUT + SHUTDOWN_MARGIN, ended).await.is_err() {
            warn!(
                connections = self.connections.len(),
                "connections did not end in time and are cut"
            );
            self.tasks.shutdown().await;
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Publish {
                route,
                frame,
                among,
                hold,
            } => self.publish(&route, &frame, &among, &hold),
            Command::Subscribe { prefix, reply } => {
                let result = self.router.subscribe(prefix).map(|updates| {
                    for (conn, update) in updates {
                        self.send(conn, &update);
                    }
                });
                // Who asked may be gone.
                let _ = reply.send(result);
            }
            Command::Listen(listener) => {
                let stop = self.leave.child_token();
                self.tasks
                    .spawn(listen::run(Arc::clone(&self.shared), listener, stop));
            }
            Command::Peer {
                address,
                retry,
                awaited,
            } => self.dial(address, retry, awaited),
            Command::Unpeer(address) => {
                if let Some(dialer) = self.dialers.remove(&address) {
                    dialer.stop.cancel();
                }
            }
            Command::Disconnect(peer) => {
                let conn = self.router.connection(peer);
                if let Some(entry) = conn.and_then(|conn| self.connections.get(&conn)) {
                    entry.leave.cancel();
                }
            }
            Command::Peers(reply) => {
                let peers = self
                    .router
                    .peers()
                    .filter_map(|(_, conn)| self.connections.get(&conn)?.info.clone());
                let _ = reply.send(peers.collect());
            }
        }
    }

    fn dial(&mut self, address: PeerAddress, retry: Option<Duration>, awaited: Vec<Topic>) {
        if self.dialers.contains_key(&address) {
            return;
        }
        self.last_dialer += 1;
        let number = self.last_dialer;
        let stop = self.leave.child_token();
        let task = connect::run(
            Arc::clone(&self.shared),
            address.clone(),
            retry,
            awaited,
            stop.clone(),
            number,
        );
        self.tasks.spawn(task);
        self.dialers.insert(address, Dialer { number, stop });
    }

    fn handle_report(&mut self, report: Report) {
        match report {
            Report::Identified {
                conn,
                peer,
                side,
                outbox,
                leave,
            } => {
                let verdict = self.router.admit(conn, peer, side);
                outbox.order(Order::Admit(verdict));
                let entry = Entry {
                    peer,
                    outbox,
                    leave,
                    info: None,
                    overflowing: false,
                };
                self.connections.insert(conn, entry);
            }
            Report::Established { conn, filter, info } => {
                if let Some(entry) = self.connections.get_mut(&conn) {
                    entry.info = Some(info);
                }
                let events = self.router.established(conn, filter);
                self.apply(events);
            }
            Report::FilterChanged { conn, filter, done } => {
                self.router.update_filter(conn, filter);
                let _ = done.send(());
            }
            Report::Gone { conn, orphan } => self.forget(conn, orphan),
            Report::Redundant { peer, reply } => {
                let gone = self.router.knows(peer).then(|| {
                    let (waiting, gone) = oneshot::channel();
                    self.waiting.entry(peer).or_default().push(waiting);
                    gone
                });
                let _ = reply.send(gone);
            }
            Report::DialerEnded { address, number } => {
                if self
                    .dialers
                    .get(&address)
                    .is_some_and(|dialer| dialer.number == number)
                {
                    self.dialers.remove(&address);
                }
            }
        }
    }

    fn forget(&mut self, conn: ConnId, orphan: Option<PeerInfo>) {
        let events = self.router.lost(conn);
        self.apply(events);
        if let Some(peer) = orphan {
            self.shared.counters.peers_removed.increment();
            let shared = Arc::clone(&self.shared);
            let reason = EndReason::Internal;
            self.tasks
                .spawn(async move { shared.deliver(EndpointEvent::PeerRemoved { peer, reason }).await });
        }
        if let Some(Entry { peer, .. }) = self.connections.remove(&conn)
            && !self.router.knows(peer)
        {
            // Dropping the senders would say the same.
            for waiting in self.waiting.remove(&peer).into_iter().flatten() {
                let _ = waiting.send(());
            }
        }
    }

    fn apply(&self, events: Vec<RouterEvent>) {
        for event in events {
            match event {
                RouterEvent::PeerAdded { conn, .. } => {
                    if let Some(entry) = self.connections.get(&conn) {
                        entry.outbox.order(Order::Begin);
                    }
                }
                // The connection itself has announced it.
                RouterEvent::PeerLost { .. } => {}
                RouterEvent::Verdict { conn, admission } => {
                    if let Some(entry) = self.connections.get(&conn) {
                        entry.outbox.order(Order::Admit(admission));
                    }
                }
                RouterEvent::Send { conn, envelope } => self.send(conn, &envelope),
            }
        }
    }

    fn send(&self, conn: ConnId, envelope: &Envelope) {
        let mut frame = BytesMut::new();
        // The router has seen that its updates can be encoded.
        if envelope.encode_frame(&mut frame).is_ok()
            && let Some(entry) = self.connections.get(&conn)
        {
            entry.outbox.push(frame.freeze(), QueuedKind::Control);
        }
    }

    fn publish(&mut self, route: &Envelope, frame: &Bytes, among: &Among<EndpointId>, hold: &Hold) {
        let mut recipients = 0_usize;
        for conn in self.router.recipients(route) {
            recipients += 1;
            let Some(entry) = self.connections.get_mut(&conn) else {
                continue;
            };
            if !among.has(&entry.peer) {
                continue;
            }
            match entry
                .outbox
                .push_held(frame.clone(), QueuedKind::Message, hold.clone())
            {
                Pushed::Queued => entry.overflowing = false,
                Pushed::Dropped(count) => {
                    self.shared.counters.overflowed.add(count);
                    if !entry.overflowing {
                        entry.overflowing = true;
                        warn!(peer = %entry.peer, policy = self.shared.config.overflow.name(), "peer reads too slowly, messages for it are dropped");
                    }
                }
                Pushed::Overflowed(count) => {
                    self.shared.counters.overflowed.add(count);
                    self.shared.counters.overflow_disconnects.increment();
                }
                Pushed::Closed => {}
            }
        }
        if recipients == 0 && !route.receiver.is_nil() {
            self.shared.counters.undeliverable.increment();
        }
    }

    fn note_end(&self, result: Result<(), JoinError>) {
        if let Err(error) = result
            && error.is_panic()
        {
            self.shared.counters.panics.increment();
            error!(%error, "a task of the endpoint panicked");
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Also when the endpoint was dropped and this task with it.
        self.shared.stopped.cancel();
        debug!(id = %self.shared.id, "endpoint ended");
    }
}
