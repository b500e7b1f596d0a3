//! A running process as the peer under test: its peers in the recording are played over real sockets.
//!
//! Each of its Broker peers is one with the recorded id and filter, which connects to it, or listens where the running process
//! connects to; each WebSocket client is one. Nothing sleeps: what is awaited is waited for, up to a timeout.
//!
//! What a Broker peer sends is followed by a routing update that changes nothing and a ping. The pong comes when the process has queued
//! the message for its program: so its program hears everything in the order of the recording, over however many connections.

mod connection;
mod player;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker_codec::{Envelope, EnvelopeKind, Filter, data::ZeekString, handshake::Role, zeek::Event};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsConfig, TlsContext},
    with_causes,
};
use bytes::Bytes;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout_at},
};

use self::{
    connection::{News, Way, run},
    player::Player,
};
use super::{
    error::ReplayError,
    recording::{Link, Process},
    standin::{envelope, unrecorded_peer},
    subject::{Sent, Subject},
};
use crate::tcp::Speaker;

/// Where Zeek's controller serves WebSocket clients.
const WEBSOCKET_PORT: u16 = 2149;

/// What there is to know of a running peer besides its Broker port.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The running peer's WebSocket port; 2149 on the same host if left out
    #[arg(long, value_name = "HOST:PORT", requires = "peer")]
    websocket: Option<PeerAddress>,
    /// The running peer's WebSocket port speaks TLS as its Broker port does, as it does up to Zeek 8.0.2
    #[arg(long, requires = "peer")]
    websocket_tls: bool,
    /// Where to listen as the controller for a running agent that connects to it; where the recorded one listened if left out
    #[arg(long, value_name = "HOST:PORT", requires = "peer")]
    pub(super) controller: Option<PeerAddress>,
    /// Where to listen as the Supervisor of a running agent; where the recorded one listened if left out
    #[arg(long, value_name = "HOST:PORT", requires = "peer")]
    pub(super) supervisor: Option<PeerAddress>,
    /// A running agent's state directory, which replaces the recorded one in all messages
    #[arg(long, value_name = "DIR", requires = "peer")]
    pub(super) state_dir: Option<String>,
    /// How many seconds a running peer may take to do what the recorded one did, before that counts as not done. Use 12 or more:
    /// a request times out after up to 12 s
    #[arg(long, value_name = "SECONDS", requires = "peer", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
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
    /// Its Broker port.
    broker: PeerAddress,
    target: Target,
    tls: Option<TlsContext>,
    /// How long it may take to do what the recorded one did.
    timeout: Duration,
    /// Whether there was ever a connection with a WebSocket client, and with a Broker peer.
    reached: [bool; 2],
    /// Why there was none.
    unreachable: Option<String>,
    /// How many peers there were that are not in the recording.
    unrecorded: usize,
    players: BTreeMap<usize, Player>,
    notify: UnboundedSender<(usize, News)>,
    news: UnboundedReceiver<(usize, News)>,
    sent: Sent,
}

impl Live {
    pub(super) fn new(
        process: Arc<Process>,
        broker: PeerAddress,
        tls: &TlsConfig,
        target: Target,
    ) -> Result<Self, ReplayError> {
        let (notify, news) = unbounded_channel();
        Ok(Self {
            tls: TlsContext::new(tls)?,
            timeout: Duration::from_secs(target.timeout),
            broker,
            runtime: Builder::new_current_thread().enable_all().build()?,
            process,
            target,
            reached: [false; 2],
            unreachable: None,
            unrecorded: 0,
            players: BTreeMap::new(),
            notify,
            news,
            sent: Sent::default(),
        })
    }

    /// Why no peer could reach it, if so.
    pub(super) fn unreachable(&self) -> Option<&str> {
        self.unreachable.as_deref()
    }

    /// Takes news until something is so. `false` if that takes too long.
    fn until(&mut self, at_most: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + at_most;
        while !is_so(self) {
            let next = self
                .runtime
                .block_on(async { timeout_at(deadline, self.news.recv()).await });
            let Ok(Some((link, news))) = next else {
                return false;
            };
            self.note(link, news);
        }
        true
    }

    fn note(&mut self, link: usize, news: News) {
        let Some(player) = self.players.get_mut(&link) else {
            return;
        };
        let was_connected = player.is_connected();
        match news {
            News::Opened => player.opened(),
            News::Received(bytes) => match player.received(bytes) {
                // What is sent to an unrecorded peer has no counterpart.
                Ok(output) if self.process.links.contains_key(&link) => {
                    self.sent.outputs.extend(output.map(|output| (link, output)));
                }
                Ok(_) => {}
                Err(rejection) => self.complain(link, rejection),
            },
            News::Closed(why) => {
                self.players.remove(&link);
                let why = why.unwrap_or_else(|| "closed by the peer during the handshake".into());
                // What is missing otherwise is missed where it is awaited.
                if !was_connected {
                    self.failed(link, &why);
                }
            }
        }
        let Some(player) = self.players.get_mut(&link) else {
            return;
        };
        match player.follow() {
            Ok(()) => self.reached[usize::from(player.is_broker_peer())] |= player.is_connected(),
            Err(why) => {
                self.players.remove(&link);
                self.failed(link, &why.to_string());
            }
        }
    }

    /// How a player for a recorded connection gets its own.
    fn way(&self, known: &Link) -> Way {
        let protection = self.tls.clone().map_or(Connection::Plaintext, Connection::Tls);
        if known.peer.is_none() {
            let protection = if self.target.websocket_tls {
                protection
            } else {
                Connection::Plaintext
            };
            let same_host = || PeerAddress::new(self.broker.host.clone(), WEBSOCKET_PORT);
            let websocket = self.target.websocket.clone().unwrap_or_else(same_host);
            return Way::Upgrade(websocket, protection);
        }
        if known.own == Speaker::Server {
            return Way::Connect(self.broker.clone(), protection);
        }
        let acceptance = self.tls.clone().map_or(Acceptance::Plaintext, Acceptance::Tls);
        Way::Accept(self.target.listening(known), acceptance)
    }

    /// Starts a player, and waits until it is connected. `false` if that takes too long; that it failed is noted.
    fn play(&mut self, link: usize, way: Way, player: impl FnOnce(UnboundedSender<Bytes>) -> Player) -> bool {
        let (queue, queued) = unbounded_channel();
        let (notify, timeout) = (self.notify.clone(), self.timeout);
        self.runtime.spawn(async move {
            let notify = |news| {
                // The replay may be over.
                let _ = notify.send((link, news));
            };
            let ended = run(way, timeout, queued, notify).await;
            notify(News::Closed(ended.err().map(|error| with_causes(&error))));
        });
        self.players.insert(link, player(queue));
        self.until(timeout, |live| {
            live.players.get(&link).is_none_or(Player::is_connected)
        })
    }

    /// Sends something as a Broker peer, if it is connected, and waits until the running process has it.
    fn tell(&mut self, link: usize, envelope: Option<Envelope>) {
        let Some(player) = self
            .players
            .get_mut(&link)
            .filter(|player| player.peer().is_some())
        else {
            return;
        };
        player.tell(envelope);
        let timeout = self.timeout;
        if !self.until(timeout, |live| {
            live.players.get(&link).is_none_or(Player::is_heard)
        }) {
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
        let Some(player) = self.players.get_mut(&link) else {
            return;
        };
        if !player.is_connected() {
            self.players.remove(&link);
            return;
        }
        player.leave();
        // It is established, so it does not fail to be.
        let _ = player.follow();
        if !self.until(self.timeout, |live| !live.players.contains_key(&link)) {
            self.complain(link, "does not end");
        }
    }
}

impl Subject for Live {
    fn opened(&mut self, link: usize) {
        let Some(known) = self.process.links.get(&link).cloned() else {
            return;
        };
        let player = |queue| match known.peer {
            Some(id) => {
                let role = match known.own {
                    Speaker::Client => Role::Acceptor,
                    Speaker::Server => Role::Connector,
                };
                Player::broker_peer(queue, id, role, known.peer_filter.iter().cloned().collect())
            }
            None => Player::client(queue),
        };
        if self.play(link, self.way(&known), player) {
            return self.tell(link, None);
        }
        let timeout = self.timeout;
        let why = if known.peer.is_some() && known.own == Speaker::Client {
            let own = self.target.listening(&known);
            format!("no peer has connected to {own} within {timeout:?}")
        } else {
            format!("it does not come about within {timeout:?}")
        };
        self.failed(link, &why);
    }

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let peer = self.players.get(&link).and_then(Player::peer);
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
        self.tell(link, Some(Envelope { receiver, ..envelope }));
    }

    fn unrecorded(&mut self, topic: &ZeekString, event: Event) {
        // Beyond those of the recording.
        let link = usize::MAX - self.unrecorded;
        let id = unrecorded_peer(self.unrecorded);
        self.unrecorded += 1;
        let protection = self.tls.clone().map_or(Connection::Plaintext, Connection::Tls);
        let way = Way::Connect(self.broker.clone(), protection);
        let player = |queue| Player::broker_peer(queue, id, Role::Connector, Filter::default());
        if self.play(link, way, player) {
            self.tell(link, envelope(id, topic, event));
        } else {
            self.failed(link, "it does not come about in time");
        }
    }

    fn text(&mut self, link: usize, text: &Bytes) {
        if let Some(player) = self.players.get(&link) {
            player.send(text.clone());
        }
    }

    fn closed(&mut self, link: usize) {
        self.leave(link);
        let mut players = self.players.iter();
        if let Some((other, _)) = players.find(|(_, player)| player.peer().is_some()) {
            self.tell(*other, None);
        }
    }

    fn wait(&mut self, link: Option<usize>) -> bool {
        // A player that is gone receives nothing more.
        let may_send = link.map_or(!self.players.is_empty(), |link| self.players.contains_key(&link));
        may_send && self.until(self.timeout, |live| !live.sent.outputs.is_empty())
    }

    fn linger(&mut self, link: usize, at_most: Duration) -> bool {
        self.players.contains_key(&link)
            && self.until(at_most.min(self.timeout), |live| {
                let mut links = live.sent.outputs.iter().map(|(link, _)| link);
                links.any(|other| *other == link) || !live.players.contains_key(&link)
            })
    }

    fn finish(&mut self) {
        for link in self.players.keys().copied().collect::<Vec<_>>() {
            self.leave(link);
        }
    }

    fn sent(&mut self) -> &mut Sent {
        while let Ok((link, news)) = self.news.try_recv() {
            self.note(link, news);
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
