//! A running process as the peer under test: everybody else in the recording is played over real sockets.
//!
//! Each of its Broker peers is one with the recorded id and filter, which connects to it, or listens where the running process
//! connects to; each WebSocket client is one. Nothing sleeps: what is awaited is waited for, at most [`LIMIT`].

mod place;
mod player;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use broker_codec::{EndpointId, Envelope, EnvelopeKind, data::ZeekString, websocket::PATH, zeek::Event};
use broker_endpoint::PeerAddress;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

pub(super) use self::place::Place;
use self::player::{Order, Player, Way};
use super::{
    recording::{Life, Link},
    statement::encoded,
    subject::{Output, Subject},
};
use crate::tcp::Speaker;

/// How long a running peer may take to do what the recorded one did: longer than a request may take before it times out.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Where a running peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its Broker port, without TLS.
    pub broker: PeerAddress,
    /// Its WebSocket port, if it has one.
    pub websocket: PeerAddress,
    /// Where an agent connects to its controller; none for where the recorded one did.
    pub controller: Option<PeerAddress>,
    /// Where an agent connects to its Supervisor; none for where the recorded one did.
    pub supervisor: Option<PeerAddress>,
    /// An agent's state directory; none for the recorded one.
    pub state_dir: Option<String>,
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
    life: Arc<Life>,
    whereabouts: Whereabouts,
    place: Place,
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
    Gone,
}

impl Live {
    pub(super) fn new(life: Arc<Life>, whereabouts: Whereabouts, place: Place) -> io::Result<Self> {
        let (tell, told) = unbounded_channel();
        Ok(Self {
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            life,
            whereabouts,
            place,
            players: BTreeMap::new(),
            tell,
            told,
            outputs: VecDeque::new(),
            complaints: Vec::new(),
        })
    }

    /// Lets things happen until one is what is awaited. `false` if it takes too long.
    fn until(&mut self, is: impl Fn(usize, &Happening) -> bool) -> bool {
        loop {
            let next = self
                .runtime
                .block_on(async { timeout(LIMIT, self.told.recv()).await });
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
                if let Some(Playing::Broker { peer, .. }) = self.players.get_mut(&link) {
                    *peer = Some(id);
                }
            }
            Happening::Said(output) => {
                let output = match output {
                    Output::Envelope(envelope) => Output::Envelope(self.place.to_recorded(envelope)),
                    other => other,
                };
                self.outputs.push_back((link, output));
            }
            Happening::Heard => {}
            Happening::Complaint(what) => self.complain(link, what),
            Happening::Gone => {
                self.players.remove(&link);
            }
        }
    }

    /// Starts a Broker peer, which connects or listens as the recorded one did.
    fn play_peer(&mut self, link: usize, known: &Link, own: EndpointId) -> io::Result<()> {
        let way = match known.own {
            Speaker::Server => Way::Connect(self.whereabouts.broker.clone()),
            Speaker::Client => {
                let own = self.whereabouts.listening(known);
                let listener = self
                    .runtime
                    .block_on(TcpListener::bind((own.host.as_str(), own.port)));
                Way::Accept(listener.map_err(|error| {
                    let place = format!("cannot listen at {own} as the {}: {error}", known.with);
                    io::Error::new(error.kind(), place)
                })?)
            }
        };
        let (orders, ordered) = unbounded_channel();
        let player = Player {
            way,
            own,
            filter: known.peer_filter.iter().cloned().collect(),
            orders: ordered,
        };
        let tell = self.tell.clone();
        self.runtime.spawn(async move {
            let said = |happening| {
                // Nobody listens when the replay is over.
                let _ = tell.send((link, happening));
            };
            if let Err(error) = player.play(said).await {
                said(Happening::Complaint(format!("cannot be made: {error}")));
            }
            said(Happening::Gone);
        });
        self.players.insert(link, Playing::Broker { orders, peer: None });
        Ok(())
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
            self.complain(
                link,
                format_args!("does not answer a ping within {} s", LIMIT.as_secs()),
            );
        }
    }

    /// Connects as a WebSocket client.
    fn play_client(&mut self, link: usize) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let url = format!("ws://{}{PATH}", self.whereabouts.websocket);
        let (socket, _) = self.runtime.block_on(connect_async(url))?;
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

    fn complain(&mut self, link: usize, what: impl std::fmt::Display) {
        let with = self.life.links.get(&link).map(|known| known.with.clone());
        self.complaints.push(format!(
            "connection {} with the {}: {what}",
            link + 1,
            with.unwrap_or_default()
        ));
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
        let Some(known) = self.life.links.get(&link).cloned() else {
            return;
        };
        let Some(id) = known.peer else {
            if let Err(error) = self.play_client(link) {
                self.complain(link, format_args!("cannot be made: {error}"));
            }
            return;
        };
        if let Err(error) = self.play_peer(link, &known, id) {
            self.complain(link, format_args!("cannot be made: {error}"));
            return;
        }
        let is_there = |other, happening: &Happening| {
            other == link && matches!(happening, Happening::Added(_) | Happening::Gone)
        };
        if self.until(is_there) {
            self.order(link, Order::Ask);
        } else {
            self.complain(
                link,
                format_args!("does not come about within {} s", LIMIT.as_secs()),
            );
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

    /// Not over a connection of its own: nobody in the recording shows what it would be like.
    fn unrecorded(&mut self, _topic: &ZeekString, _event: Event) {}

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

    fn log(&self) -> Option<&[String]> {
        None
    }
}
