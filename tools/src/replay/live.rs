//! A running process as the peer under test: its peers in the recording are played over real sockets.
//!
//! Each of its Broker peers is one with the recorded id and filter, which connects to it, or listens where the running process
//! connects to; each WebSocket client is one. Nothing sleeps: what is awaited is waited for, up to a timeout.

mod place;
mod player;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use broker_codec::{EndpointId, Envelope, EnvelopeKind, Filter, data::ZeekString, zeek::Event};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsConfig, TlsContext},
};
use bytes::Bytes;
use mgmt_daemon::process::with_causes;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout_at},
};

pub(super) use self::place::Place;
use self::player::{Notice, Order, Player, Way};
use super::{
    error::ReplayError,
    recording::{Link, Process},
    standin::{envelope, unrecorded_peer},
    subject::{Output, Sent, Subject},
};
use crate::tcp::Speaker;

/// How long a running peer may take to do what the recorded one did, unless told otherwise: longer than a request may take before it
/// times out.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Where a running peer is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its Broker port.
    pub broker: PeerAddress,
    /// How Broker connections are protected, in either direction.
    pub tls: TlsConfig,
    /// Its WebSocket port, if it has one.
    pub websocket: PeerAddress,
    /// Whether that speaks TLS as Broker connections do. Up to Zeek 8.0.2 it does.
    pub websocket_tls: bool,
    /// Where an agent connects to its controller; none for where the recorded one did.
    pub controller: Option<PeerAddress>,
    /// Where an agent connects to its Supervisor; none for where the recorded one did.
    pub supervisor: Option<PeerAddress>,
    /// An agent's state directory; none for the recorded one.
    pub state_dir: Option<String>,
    /// How long it may take to do what the recorded one did.
    pub timeout: Duration,
}

impl Target {
    /// Where to listen for a connection that the recorded process made.
    fn listening(&self, known: &Link) -> PeerAddress {
        let given = if known.is_supervisor {
            &self.supervisor
        } else {
            &self.controller
        };
        given.clone().unwrap_or_else(|| known.addresses.server.into())
    }
}

/// The running peer and the players of its peers.
pub(super) struct Live {
    runtime: Runtime,
    process: Arc<Process>,
    target: Target,
    tls: Option<TlsContext>,
    place: Place,
    /// Whether there was ever a connection with a WebSocket client, and with a Broker peer.
    reached: [bool; 2],
    /// Why there was none.
    unreachable: Option<String>,
    /// How many peers there were that are not in the recording.
    unrecorded: usize,
    players: BTreeMap<usize, Playing>,
    notify: UnboundedSender<(usize, Notice)>,
    notices: UnboundedReceiver<(usize, Notice)>,
    sent: Sent,
}

/// A player at work.
struct Playing {
    orders: UnboundedSender<Order>,
    is_connected: bool,
    /// The running process, if this is a Broker peer and connected.
    peer: Option<EndpointId>,
}

impl Live {
    pub(super) fn new(process: Arc<Process>, target: Target, place: Place) -> Result<Self, ReplayError> {
        let (notify, notices) = unbounded_channel();
        Ok(Self {
            tls: TlsContext::new(&target.tls)?,
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            process,
            target,
            place,
            reached: [false; 2],
            unreachable: None,
            unrecorded: 0,
            players: BTreeMap::new(),
            notify,
            notices,
            sent: Sent::default(),
        })
    }

    /// Why no peer could reach it, if so.
    pub(super) fn unreachable(&self) -> Option<&str> {
        self.unreachable.as_deref()
    }

    /// Takes notices until one is what is awaited. `false` if that takes too long.
    fn until(&mut self, at_most: Duration, is: impl Fn(usize, &Notice) -> bool) -> bool {
        let deadline = Instant::now() + at_most;
        loop {
            let next = self
                .runtime
                .block_on(async { timeout_at(deadline, self.notices.recv()).await });
            let Ok(Some((link, notice))) = next else {
                return false;
            };
            let awaited = is(link, &notice);
            self.note(link, notice);
            if awaited {
                return true;
            }
        }
    }

    fn note(&mut self, link: usize, notice: Notice) {
        match notice {
            Notice::Connected(peer) => {
                self.reached[usize::from(peer.is_some())] = true;
                if let Some(player) = self.players.get_mut(&link) {
                    player.is_connected = true;
                    player.peer = peer;
                }
            }
            // What is sent to an unrecorded peer has no counterpart.
            Notice::Sent(_) if !self.process.links.contains_key(&link) => {}
            Notice::Sent(output) => {
                let output = match output {
                    Output::Envelope(envelope) => Output::Envelope(self.place.to_recorded(envelope)),
                    other => other,
                };
                self.sent.outputs.push((link, output));
            }
            Notice::Heard => {}
            Notice::Complaint(what) => self.complain(link, what),
            Notice::Failed(why) => self.failed(link, &why),
            Notice::Gone => {
                self.players.remove(&link);
            }
        }
    }

    /// How a player for a recorded connection gets its own.
    fn way(&self, known: &Link) -> io::Result<Way> {
        if known.peer.is_none() {
            let protection = if self.target.websocket_tls {
                self.connection()
            } else {
                Connection::Plaintext
            };
            return Ok(Way::Upgrade(self.target.websocket.clone(), protection));
        }
        if known.own == Speaker::Server {
            return Ok(Way::Connect(self.target.broker.clone(), self.connection()));
        }
        let own = self.target.listening(known);
        let listener = self
            .runtime
            .block_on(TcpListener::bind((own.host.as_str(), own.port)));
        let listener = listener.map_err(|error| {
            let place = format!("cannot listen at {own} as the {}: {error}", known.with);
            io::Error::new(error.kind(), place)
        })?;
        let acceptance = self.tls.clone().map_or(Acceptance::Plaintext, Acceptance::Tls);
        Ok(Way::Accept(listener, acceptance))
    }

    fn connection(&self) -> Connection {
        self.tls.clone().map_or(Connection::Plaintext, Connection::Tls)
    }

    /// Starts a player, and waits until it is connected. An error says why it is not, unless that is noted.
    fn play(&mut self, link: usize, way: Way, own: EndpointId, filter: Filter) -> bool {
        let (orders, ordered) = unbounded_channel();
        let player = Player {
            own,
            filter,
            orders: ordered,
            timeout: self.target.timeout,
        };
        let notify = self.notify.clone();
        self.runtime.spawn(async move {
            let notify = |notice| {
                // The replay may be over.
                let _ = notify.send((link, notice));
            };
            if let Err(error) = player.play(way, notify).await {
                notify(Notice::Failed(with_causes(&error)));
            }
            notify(Notice::Gone);
        });
        let (is_connected, peer) = (false, None);
        self.players.insert(
            link,
            Playing {
                orders,
                is_connected,
                peer,
            },
        );
        self.until(self.target.timeout, |other, notice| {
            other == link && matches!(notice, Notice::Connected(_) | Notice::Gone)
        })
    }

    /// Gives a Broker peer an order, and waits until the running process has what it is about.
    fn order(&mut self, link: usize, order: Order) {
        let Some(Playing {
            orders,
            peer: Some(_),
            ..
        }) = self.players.get(&link)
        else {
            return;
        };
        // A player that is gone is missed where its answer is awaited.
        let is_heard =
            |other, notice: &Notice| other == link && matches!(notice, Notice::Heard | Notice::Gone);
        let timeout = self.target.timeout;
        if orders.send(order).is_ok() && !self.until(timeout, is_heard) {
            self.complain(link, format_args!("does not answer a ping within {timeout:?}"));
        }
    }

    fn complain(&mut self, link: usize, what: impl std::fmt::Display) {
        let complaint = format!("{}: {what}", self.in_words(link));
        self.sent.complaints.push(complaint);
    }

    /// A connection is missing. If it is the first of its kind, the others will not be there either.
    fn failed(&mut self, link: usize, why: &str) {
        let known = self.process.links.get(&link);
        let is_broker = known.is_none_or(|known| known.peer.is_some());
        if self.reached[usize::from(is_broker)] {
            self.complain(link, format_args!("cannot be made: {why}"));
        } else if self.unreachable.is_none() {
            self.unreachable = Some(format!("{} cannot be made: {why}", self.in_words(link)));
        }
    }

    fn in_words(&self, link: usize) -> String {
        match self.process.links.get(&link) {
            Some(known) => format!("connection {} with the {}", link + 1, known.with),
            None => "a connection that is not in the recording".into(),
        }
    }

    /// Ends a player's connection in good order: what the peer under test has sent before still comes.
    fn leave(&mut self, link: usize) {
        let Some(player) = self.players.get(&link) else {
            return;
        };
        // It may be gone already, which was noted.
        let _ = player.orders.send(Order::Leave);
        if !player.is_connected {
            self.players.remove(&link);
            return;
        }
        let is_gone = |other, notice: &Notice| other == link && matches!(notice, Notice::Gone);
        if !self.until(self.target.timeout, is_gone) {
            self.complain(link, "does not end");
        }
    }
}

impl Subject for Live {
    fn opened(&mut self, link: usize) {
        let Some(known) = self.process.links.get(&link).cloned() else {
            return;
        };
        let way = match self.way(&known) {
            Ok(way) => way,
            Err(error) => return self.failed(link, &error.to_string()),
        };
        let filter = known.peer_filter.iter().cloned().collect();
        if self.play(link, way, known.peer.unwrap_or(EndpointId::NIL), filter) {
            return self.order(link, Order::Ask);
        }
        let timeout = self.target.timeout;
        let why = if known.peer.is_some() && known.own == Speaker::Client {
            let own = self.target.listening(&known);
            format!("no peer has connected to {own} within {timeout:?}")
        } else {
            format!("it does not come about within {timeout:?}")
        };
        self.failed(link, &why);
    }

    fn handshake(&mut self, _link: usize, _frame: &Bytes) {}

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let peer = self.players.get(&link).and_then(|player| player.peer);
        let (Some(peer), EnvelopeKind::Data | EnvelopeKind::RoutingUpdate) = (peer, envelope.kind) else {
            // The player has its own pings.
            return;
        };
        // It has an id of its own.
        let receiver = if envelope.receiver.is_nil() {
            envelope.receiver
        } else {
            peer
        };
        let envelope = self.place.to_own(Envelope { receiver, ..envelope });
        self.order(link, Order::Send(Output::Envelope(envelope)));
    }

    fn unrecorded(&mut self, topic: &ZeekString, event: Event) {
        // Beyond those of the recording.
        let link = usize::MAX - self.unrecorded;
        let id = unrecorded_peer(self.unrecorded);
        self.unrecorded += 1;
        let Some(envelope) = envelope(id, topic, event) else {
            return;
        };
        let way = Way::Connect(self.target.broker.clone(), self.connection());
        if self.play(link, way, id, Filter::default()) {
            self.order(link, Order::Send(Output::Envelope(envelope)));
        } else {
            self.failed(link, "it does not come about in time");
        }
    }

    fn text(&mut self, link: usize, text: &Bytes) {
        if let Some(player) = self.players.get(&link) {
            // A player that is gone is missed where its answer is awaited.
            let _ = player.orders.send(Order::Send(Output::Text(text.clone())));
        }
    }

    fn closed(&mut self, link: usize) {
        self.leave(link);
        let mut players = self.players.iter();
        if let Some((other, _)) = players.find(|(_, player)| player.peer.is_some()) {
            self.order(*other, Order::Ask);
        }
    }

    fn proceed(&mut self) {}

    fn wait(&mut self, link: Option<usize>) -> bool {
        // A player that is gone receives nothing more.
        let may_send = link.map_or(!self.players.is_empty(), |link| self.players.contains_key(&link));
        may_send && self.until(self.target.timeout, |_, notice| matches!(notice, Notice::Sent(_)))
    }

    fn linger(&mut self, link: usize, at_most: Duration) -> bool {
        self.players.contains_key(&link)
            && self.until(at_most.min(self.target.timeout), |other, notice| {
                other == link && matches!(notice, Notice::Sent(_) | Notice::Gone)
            })
    }

    fn finish(&mut self) {
        for link in self.players.keys().copied().collect::<Vec<_>>() {
            self.leave(link);
        }
    }

    fn sent(&mut self) -> &mut Sent {
        while let Ok((link, notice)) = self.notices.try_recv() {
            self.note(link, notice);
        }
        &mut self.sent
    }

    fn is_running(&self) -> bool {
        true
    }

    fn gives_up(&self) -> bool {
        self.unreachable.is_some()
    }
}
