//! A running process as the peer under test: everybody else in the recording is played over real sockets.
//!
//! Each of its Broker peers is an endpoint with the recorded id and filter, which connects to it, or listens where the recorded
//! process connected to; each WebSocket client is one. Nothing sleeps: what is awaited is waited for, at most [`LIMIT`].

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    EndpointId, Envelope, EnvelopeKind, Topic, binary, control::RoutingUpdate, data::ZeekString,
    envelope::TTL_DEFAULT, websocket::PATH, zeek::Event,
};
use broker_endpoint::{
    Endpoint, EndpointConfig, EndpointError, EndpointEvent, EndpointHandle, PeerAddress, tls::TlsConfig,
};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{
    recording::{Life, Link},
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
}

/// The running peer, and those who talk to it.
pub(super) struct Live {
    runtime: Runtime,
    life: Arc<Life>,
    whereabouts: Whereabouts,
    players: BTreeMap<usize, Player>,
    tell: UnboundedSender<(usize, Happening)>,
    told: UnboundedReceiver<(usize, Happening)>,
    outputs: VecDeque<(usize, Output)>,
    complaints: Vec<String>,
}

/// Somebody who talks to the running peer.
enum Player {
    Broker {
        handle: EndpointHandle,
        /// The peer under test, once it is there.
        peer: Option<EndpointId>,
    },
    Client(UnboundedSender<Bytes>),
}

/// What befalls a player.
enum Happening {
    Added(EndpointId),
    Said(Output),
    Gone,
}

impl Live {
    pub(super) fn new(life: Arc<Life>, whereabouts: Whereabouts) -> io::Result<Self> {
        let (tell, told) = unbounded_channel();
        Ok(Self {
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            life,
            whereabouts,
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
                if let Some(Player::Broker { peer, .. }) = self.players.get_mut(&link) {
                    *peer = Some(id);
                }
            }
            Happening::Said(output) => self.outputs.push_back((link, output)),
            Happening::Gone => {
                self.players.remove(&link);
            }
        }
    }

    /// Starts a Broker peer, which connects or listens as the recorded one did.
    fn play_peer(&mut self, link: usize, known: &Link, id: EndpointId) -> Result<(), EndpointError> {
        let mut config = EndpointConfig::default();
        config.id = Some(id);
        config.tls = TlsConfig::Off;
        config.subscriptions.clone_from(&known.peer_filter);
        let tell = self.tell.clone();
        let target = self.whereabouts.broker.clone();
        let (own, listening) = (known.own, known.addresses.server);
        let _within = self.runtime.enter();
        let endpoint = Endpoint::start(config)?;
        let handle = endpoint.handle();
        self.runtime.block_on(async {
            match own {
                Speaker::Server => handle.peer(target, None).await,
                Speaker::Client => {
                    handle
                        .listen(&listening.ip().to_string(), listening.port())
                        .await?;
                }
            }
            Ok::<(), EndpointError>(())
        })?;
        self.runtime.spawn(listen(link, endpoint, tell));
        self.players.insert(link, Player::Broker { handle, peer: None });
        Ok(())
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
        self.players.insert(link, Player::Client(say));
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
            Some(Player::Broker {
                handle,
                peer: Some(peer),
            }) => {
                let (handle, peer) = (handle.clone(), *peer);
                self.runtime.spawn(async move { handle.disconnect(peer).await });
            }
            Some(Player::Broker { peer: None, .. }) | None => {
                self.players.remove(&link);
                return;
            }
            Some(Player::Client(_)) => {
                self.players.remove(&link);
            }
        }
        let is_gone = |other, happening: &Happening| other == link && matches!(happening, Happening::Gone);
        if !self.until(is_gone) {
            self.complain(link, "does not end");
        }
    }
}

/// Passes on what a Broker peer hears, until its peering ends.
async fn listen(link: usize, mut endpoint: Endpoint, tell: UnboundedSender<(usize, Happening)>) {
    let own = endpoint.id();
    while let Some(event) = endpoint.recv().await {
        let happening = match event {
            EndpointEvent::PeerAdded(peer) => Happening::Added(peer.id),
            EndpointEvent::Message(message) => {
                let mut payload = BytesMut::new();
                if binary::encode(&message.data, &mut payload).is_err() {
                    continue;
                }
                Happening::Said(Output::Envelope(Envelope {
                    sender: message.peer,
                    receiver: own,
                    kind: EnvelopeKind::Data,
                    ttl: TTL_DEFAULT,
                    topic: message.topic,
                    payload: payload.freeze(),
                }))
            }
            EndpointEvent::PeerLost { .. }
            | EndpointEvent::PeerRemoved { .. }
            | EndpointEvent::PeerUnavailable { .. } => break,
            _ => continue,
        };
        if tell.send((link, happening)).is_err() {
            break;
        }
    }
    let _ = tell.send((link, Happening::Gone));
    endpoint.shutdown().await;
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
        let is_there =
            |other, happening: &Happening| other == link && !matches!(happening, Happening::Said(_));
        if !self.until(is_there) || !self.players.contains_key(&link) {
            self.complain(
                link,
                format_args!("does not come about within {} s", LIMIT.as_secs()),
            );
        }
    }

    fn handshake(&mut self, _link: usize, _frame: &Bytes) {}

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let Some(Player::Broker { handle, .. }) = self.players.get(&link) else {
            return;
        };
        let failed = match envelope.kind {
            EnvelopeKind::Data => {
                let Ok(data) = binary::decode(&envelope.payload) else {
                    return;
                };
                let sent = handle.publish(envelope.topic, &data);
                self.runtime.block_on(sent).err().map(|error| error.to_string())
            }
            EnvelopeKind::RoutingUpdate => {
                let topics: Vec<Topic> = RoutingUpdate::decode(&envelope.payload)
                    .map(|update| update.topics)
                    .unwrap_or_default();
                let subscribed = self.runtime.block_on(async {
                    for topic in topics {
                        handle.subscribe(topic).await?;
                    }
                    Ok::<(), EndpointError>(())
                });
                subscribed.err().map(|error| error.to_string())
            }
            // The endpoint has its own.
            EnvelopeKind::Ping | EnvelopeKind::Pong | EnvelopeKind::Command => None,
        };
        if let Some(failed) = failed {
            self.complain(link, failed);
        }
    }

    /// Not over a connection of its own: nobody in the recording shows what it would be like.
    fn unrecorded(&mut self, _topic: &ZeekString, _event: Event) {}

    fn text(&mut self, link: usize, text: &Bytes) {
        if let Some(Player::Client(say)) = self.players.get(&link) {
            // Whoever is gone is missed where its answer is awaited.
            let _ = say.send(text.clone());
        }
    }

    fn closed(&mut self, link: usize) {
        self.leave(link);
    }

    fn proceed(&mut self) {}

    fn wait(&mut self, _link: usize) -> bool {
        self.until(|_, happening| matches!(happening, Happening::Said(_)))
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

    fn shows_handshakes(&self) -> bool {
        false
    }

    fn log(&self) -> Option<&[String]> {
        None
    }
}
