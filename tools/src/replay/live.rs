//! A running process as the peer under test: everybody else in the recording is played over real sockets.
//!
//! Each of its Broker peers is one with the recorded id and filter, which connects to it, or listens where the running process
//! connects to; each WebSocket client is one. Nothing sleeps: what is awaited is waited for, as long as there is patience.

mod place;
mod player;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    EndpointId, Envelope, EnvelopeKind, Filter, data::ZeekString, websocket::PATH, zeek::Event,
};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsConfig, TlsContext, TlsError, Transport},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use mgmt_daemon::process::with_causes;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

pub(super) use self::place::Place;
use self::player::{Order, Player, Way};
use super::{
    LiveError,
    message::encoded,
    recording::{Link, Process},
    standin::{envelope, stranger},
    subject::{Output, Subject},
};
use crate::tcp::Speaker;

/// How long a running peer may take to do what the recorded one did, unless told otherwise: longer than a request may take before it
/// times out.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where a running peer is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Whereabouts {
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
    pub patience: Duration,
}

impl Whereabouts {
    /// Where to listen for a connection that the recorded process made.
    fn listening(&self, known: &Link) -> PeerAddress {
        let given = if known.is_supervisor {
            &self.supervisor
        } else {
            &self.controller
        };
        let recorded = known.addresses.server;
        given.clone().unwrap_or_else(|| recorded.into())
    }
}

/// The running peer, and those who talk to it.
pub(super) struct Live {
    runtime: Runtime,
    process: Arc<Process>,
    whereabouts: Whereabouts,
    /// None without TLS.
    tls: Option<TlsContext>,
    place: Place,
    /// Whether there was ever a peering, and a connection of a WebSocket client.
    reached: [bool; 2],
    /// Why there was none.
    unreachable: Option<String>,
    /// How many peers there were that are not in the recording.
    strangers: usize,
    players: BTreeMap<usize, Playing>,
    tell: UnboundedSender<(usize, Happening)>,
    told: UnboundedReceiver<(usize, Happening)>,
    outputs: VecDeque<(usize, Output)>,
    complaints: Vec<String>,
}

/// Somebody who talks to the running peer.
enum Playing {
    Broker {
        orders: UnboundedSender<Order>,
        /// The peer under test, once it is there.
        peer: Option<EndpointId>,
    },
    Client(UnboundedSender<Bytes>),
}

/// What befalls a player.
#[derive(Debug)]
enum Happening {
    Added(EndpointId),
    Said(Output),
    /// The running process has what was sent.
    Heard,
    Complaint(String),
    /// There is no connection.
    Failed(String),
    Gone,
}

impl Live {
    pub(super) fn new(
        process: Arc<Process>,
        whereabouts: Whereabouts,
        place: Place,
    ) -> Result<Self, LiveError> {
        let (tell, told) = unbounded_channel();
        Ok(Self {
            tls: TlsContext::new(&whereabouts.tls)?,
            reached: [false; 2],
            unreachable: None,
            strangers: 0,
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            process,
            whereabouts,
            place,
            players: BTreeMap::new(),
            tell,
            told,
            outputs: VecDeque::new(),
            complaints: Vec::new(),
        })
    }

    /// Why nobody could talk to it, if so.
    pub(super) fn unreachable(&self) -> Option<&str> {
        self.unreachable.as_deref()
    }

    /// Lets things happen until one is what is awaited. `false` if it takes too long.
    fn until(&mut self, is: impl Fn(usize, &Happening) -> bool) -> bool {
        self.until_or(self.whereabouts.patience, is)
    }

    fn until_or(&mut self, at_most: Duration, is: impl Fn(usize, &Happening) -> bool) -> bool {
        let deadline = Instant::now() + at_most;
        loop {
            let next = self
                .runtime
                .block_on(async { timeout_at(deadline, self.told.recv()).await });
            let Ok(Some((link, happening))) = next else {
                return false;
            };
            let awaited = is(link, &happening);
            self.note(link, happening);
            if awaited {
                return true;
            }
        }
    }

    fn note(&mut self, link: usize, happening: Happening) {
        match happening {
            Happening::Added(id) => {
                self.reached[0] = true;
                if let Some(Playing::Broker { peer, .. }) = self.players.get_mut(&link) {
                    *peer = Some(id);
                }
            }
            // Nobody in the recording hears what is said to a stranger.
            Happening::Said(_) if !self.process.links.contains_key(&link) => {}
            Happening::Said(output) => {
                let output = match output {
                    Output::Envelope(envelope) => Output::Envelope(self.place.to_recorded(envelope)),
                    other => other,
                };
                self.outputs.push_back((link, output));
            }
            Happening::Heard => {}
            Happening::Complaint(what) => self.complain(link, what),
            Happening::Failed(why) => self.failed(link, &why),
            Happening::Gone => {
                self.players.remove(&link);
            }
        }
    }

    /// Starts a Broker peer, which connects or listens as the recorded one did.
    fn play_peer(&mut self, link: usize, known: &Link, own: EndpointId) -> io::Result<()> {
        let way = match known.own {
            Speaker::Server => Way::Connect(self.whereabouts.broker.clone(), self.connection()),
            Speaker::Client => {
                let own = self.whereabouts.listening(known);
                let listener = self
                    .runtime
                    .block_on(TcpListener::bind((own.host.as_str(), own.port)));
                let listener = listener.map_err(|error| {
                    let place = format!("cannot listen at {own} as the {}: {error}", known.with);
                    io::Error::new(error.kind(), place)
                })?;
                let acceptance = self.tls.clone().map_or(Acceptance::Plaintext, Acceptance::Tls);
                Way::Accept(listener, acceptance)
            }
        };
        let filter = known.peer_filter.iter().cloned().collect();
        self.spawn_player(link, way, own, filter);
        Ok(())
    }

    fn spawn_player(&mut self, link: usize, way: Way, own: EndpointId, filter: Filter) {
        let (orders, ordered) = unbounded_channel();
        let player = Player {
            way,
            own,
            filter,
            orders: ordered,
            patience: self.whereabouts.patience,
        };
        let tell = self.tell.clone();
        self.runtime.spawn(async move {
            let said = |happening| {
                // Nobody listens when the replay is over.
                let _ = tell.send((link, happening));
            };
            if let Err(error) = player.play(said).await {
                said(Happening::Failed(with_causes(&error)));
            }
            said(Happening::Gone);
        });
        self.players.insert(link, Playing::Broker { orders, peer: None });
    }

    /// Waits until there is a peering, or why not is known.
    fn is_added(&mut self, link: usize) -> bool {
        self.until(|other, happening| {
            other == link && matches!(happening, Happening::Added(_) | Happening::Gone)
        })
    }

    fn connection(&self) -> Connection {
        self.tls.clone().map_or(Connection::Plaintext, Connection::Tls)
    }

    /// Gives a player an order, and waits until the running process has heard what it is about.
    fn order(&mut self, link: usize, order: Order) {
        let Some(Playing::Broker { orders, .. }) = self.players.get(&link) else {
            return;
        };
        // Whoever is gone is missed where its answer is awaited.
        let is_heard = |other, happening: &Happening| {
            other == link && matches!(happening, Happening::Heard | Happening::Gone)
        };
        if orders.send(order).is_ok() && !self.until(is_heard) {
            let patience = self.whereabouts.patience;
            self.complain(link, format_args!("does not answer a ping within {patience:?}"));
        }
    }

    /// Connects as a WebSocket client.
    fn play_client(&mut self, link: usize) -> io::Result<()> {
        let protection = if self.whereabouts.websocket_tls {
            self.connection()
        } else {
            Connection::Plaintext
        };
        let patience = self.whereabouts.patience;
        let connected = upgraded(&self.whereabouts.websocket, protection, patience);
        let socket = self
            .runtime
            .block_on(async { timeout(patience, connected).await })
            .unwrap_or_else(|_| Err(io::Error::other(self.not_in_time())))?;
        self.reached[1] = true;
        let (mut sink, mut stream) = socket.split();
        let (say, mut said) = unbounded_channel::<Bytes>();
        self.runtime.spawn(async move {
            while let Some(text) = said.recv().await {
                let Ok(text) = String::from_utf8(text.to_vec()) else {
                    continue;
                };
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            let _ = sink.close().await;
        });
        let tell = self.tell.clone();
        self.runtime.spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message {
                    let output = Output::Text(Bytes::from(text.as_str().to_owned()));
                    if tell.send((link, Happening::Said(output))).is_err() {
                        return;
                    }
                }
            }
            let _ = tell.send((link, Happening::Gone));
        });
        self.players.insert(link, Playing::Client(say));
        Ok(())
    }

    fn not_in_time(&self) -> String {
        format!("it does not come about within {:?}", self.whereabouts.patience)
    }

    fn complain(&mut self, link: usize, what: impl std::fmt::Display) {
        self.complaints.push(format!("{}: {what}", self.in_words(link)));
    }

    /// A connection is missing. If it is the first of its kind, the others will not be there either.
    fn failed(&mut self, link: usize, why: &str) {
        let is_client = self
            .process
            .links
            .get(&link)
            .is_some_and(|known| known.peer.is_none());
        if self.reached[usize::from(is_client)] {
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
        match self.players.get(&link) {
            Some(Playing::Broker {
                orders,
                peer: Some(_),
            }) => {
                // It may be gone already, which was told.
                let _ = orders.send(Order::Leave);
            }
            Some(Playing::Broker { peer: None, .. }) | None => {
                self.players.remove(&link);
                return;
            }
            Some(Playing::Client(_)) => {
                self.players.remove(&link);
            }
        }
        let is_gone = |other, happening: &Happening| other == link && matches!(happening, Happening::Gone);
        if !self.until(is_gone) {
            self.complain(link, "does not end");
        }
    }
}

impl Subject for Live {
    fn opened(&mut self, link: usize) {
        let Some(known) = self.process.links.get(&link).cloned() else {
            return;
        };
        let Some(id) = known.peer else {
            if let Err(error) = self.play_client(link) {
                self.failed(link, &with_causes(&error));
            }
            return;
        };
        if let Err(error) = self.play_peer(link, &known, id) {
            self.failed(link, &error.to_string());
            return;
        }
        if self.is_added(link) {
            self.order(link, Order::Ask);
        } else {
            let patience = self.whereabouts.patience;
            let why = match known.own {
                Speaker::Server => self.not_in_time(),
                Speaker::Client => {
                    let own = self.whereabouts.listening(&known);
                    format!("no peer has connected to {own} within {patience:?}")
                }
            };
            self.failed(link, &why);
        }
    }

    fn handshake(&mut self, _link: usize, _frame: &Bytes) {}

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let Some(Playing::Broker { peer: Some(peer), .. }) = self.players.get(&link) else {
            return;
        };
        // It has an id of its own.
        let receiver = if envelope.receiver.is_nil() {
            envelope.receiver
        } else {
            *peer
        };
        match envelope.kind {
            EnvelopeKind::Data | EnvelopeKind::RoutingUpdate => {
                let envelope = self.place.to_own(Envelope { receiver, ..envelope });
                self.order(link, Order::Send(envelope));
            }
            // The player has its own.
            EnvelopeKind::Ping | EnvelopeKind::Pong | EnvelopeKind::Command => {}
        }
    }

    fn unrecorded(&mut self, topic: &ZeekString, event: Event) {
        // Beyond those of the recording.
        let link = usize::MAX - self.strangers;
        let id = stranger(self.strangers);
        self.strangers += 1;
        let Some(envelope) = envelope(id, topic, event) else {
            return;
        };
        let way = Way::Connect(self.whereabouts.broker.clone(), self.connection());
        self.spawn_player(link, way, id, Filter::default());
        if self.is_added(link) {
            self.order(link, Order::Send(envelope));
        } else {
            self.failed(link, &self.not_in_time());
        }
    }

    fn text(&mut self, link: usize, text: &Bytes) {
        if let Some(Playing::Client(say)) = self.players.get(&link) {
            // Whoever is gone is missed where its answer is awaited.
            let _ = say.send(text.clone());
        }
    }

    fn closed(&mut self, link: usize) {
        self.leave(link);
        let peered = self
            .players
            .iter()
            .find(|(_, player)| matches!(player, Playing::Broker { peer: Some(_), .. }));
        if let Some(other) = peered.map(|(link, _)| *link) {
            self.order(other, Order::Ask);
        }
    }

    fn proceed(&mut self) {}

    fn wait(&mut self, link: Option<usize>) -> bool {
        // Whoever is gone says nothing more.
        let may_speak = match link {
            Some(link) => self.players.contains_key(&link),
            None => !self.players.is_empty(),
        };
        may_speak && self.until(|_, happening| matches!(happening, Happening::Said(_)))
    }

    fn linger(&mut self, link: usize, at_most: Duration) -> bool {
        let at_most = at_most.min(self.whereabouts.patience);
        self.players.contains_key(&link)
            && self.until_or(at_most, |other, happening| {
                other == link && matches!(happening, Happening::Said(_) | Happening::Gone)
            })
    }

    fn finish(&mut self) {
        let links: Vec<usize> = self.players.keys().copied().collect();
        for link in links {
            self.leave(link);
        }
    }

    fn outputs(&mut self) -> Vec<(usize, Output)> {
        while let Ok((link, happening)) = self.told.try_recv() {
            self.note(link, happening);
        }
        self.outputs.drain(..).collect()
    }

    fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    fn is_running(&self) -> bool {
        true
    }

    fn gives_up(&self) -> bool {
        self.unreachable.is_some()
    }

    fn log(&self) -> Option<&[String]> {
        None
    }
}

/// A WebSocket connection, on which nothing was said.
async fn upgraded(
    target: &PeerAddress,
    protection: Connection,
    patience: Duration,
) -> io::Result<WebSocketStream<Transport<TcpStream>>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let transport = protection.connect(stream, patience).await.map_err(over_tls)?;
    let upgraded = client_async(format!("ws://{target}{PATH}"), transport).await;
    upgraded.map(|(socket, _)| socket).map_err(io::Error::other)
}

/// What is wrong with TLS, whoever reports it.
fn over_tls(error: TlsError) -> io::Error {
    io::Error::other(error)
}
