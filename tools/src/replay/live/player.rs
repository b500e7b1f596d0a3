//! A peer of the running process, on a connection of its own: a WebSocket client, or a Broker peer with the recorded id and filter.
//!
//! What a Broker peer sends is followed by a routing update that changes nothing and a ping. The pong comes when the process has queued
//! the message for its program: so its program hears everything in the order of the recording, over however many connections.

use std::{io, time::Duration};

use broker_codec::{
    EndpointId, Envelope, EnvelopeKind, Filter,
    control::RoutingUpdate,
    frame::FrameDecoder,
    handshake::{Admission, Handshake, Output as Step, Role},
    peering::{Peering, PeeringOutput},
    websocket::PATH,
};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsError, Transport},
};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
    time::timeout,
};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::replay::subject::Output;

/// The content of pings. Not empty: Zeek 6.1 and older close the connection for that.
const HEARD: &[u8] = b"heard?";

/// How a player gets its connection.
#[derive(Debug)]
pub(super) enum Way {
    /// It connects as a Broker peer.
    Connect(PeerAddress, Connection),
    /// The running process does.
    Accept(TcpListener, Acceptance),
    /// It connects as a WebSocket client.
    Upgrade(PeerAddress, Connection),
}

/// What a player reports.
#[derive(Debug)]
pub(super) enum Notice {
    /// It is connected, as a Broker peer with the running process.
    Connected(Option<EndpointId>),
    /// The running process has sent something.
    Sent(Output),
    /// The running process has what was sent.
    Heard,
    Complaint(String),
    /// There is no connection.
    Failed(String),
    Gone,
}

/// Why a handshake fails without TLS, if the peer has not said so: Broker speaks first to a peer that connects.
const SAYS_NOTHING: &str =
    "closed by the peer without a word; it may speak TLS, which is off here (Broker::disable_ssl)";

/// What a player is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this, and say when it was heard.
    Send(Output),
    /// Say when everything so far was heard.
    Ask,
    /// Leave in good order: what the process has sent before still comes.
    Leave,
}

/// A player before it is connected.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) own: EndpointId,
    pub(super) filter: Filter,
    pub(super) orders: UnboundedReceiver<Order>,
    /// How long connecting may take.
    pub(super) timeout: Duration,
}

impl Player {
    /// Plays until the connection ends. An error says why there was none.
    pub(super) async fn play(self, way: Way, notify: impl Fn(Notice)) -> io::Result<()> {
        let (transport, role) = match way {
            Way::Upgrade(target, protection) => return self.play_client(target, protection, notify).await,
            Way::Connect(target, protection) => (
                connected(&target, protection, self.timeout).await?,
                Role::Connector,
            ),
            Way::Accept(listener, protection) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let transport = protection.accept(stream, self.timeout).await;
                (transport.map_err(over_tls)?, Role::Acceptor)
            }
        };
        let mut wire = Wire {
            stream: transport,
            buffer: BytesMut::new(),
            decoder: FrameDecoder::handshake(),
        };
        let peer = wire.shake_hands(role, self.own, &self.filter).await?;
        wire.decoder = FrameDecoder::operation();
        notify(Notice::Connected(Some(peer)));
        let mut peered = Peered {
            wire,
            own: self.own,
            filter: self.filter,
            peering: Peering::new(self.own, peer, None, Duration::ZERO),
            orders: self.orders,
        };
        // However it ends: what is missing then is missed where it is awaited.
        let _ = peered.play(notify).await;
        Ok(())
    }

    async fn play_client(
        mut self,
        target: PeerAddress,
        protection: Connection,
        notify: impl Fn(Notice),
    ) -> io::Result<()> {
        let upgraded = async {
            let transport = connected(&target, protection, self.timeout).await?;
            let upgraded = client_async(format!("ws://{target}{PATH}"), transport).await;
            upgraded.map(|(socket, _)| socket).map_err(io::Error::other)
        };
        let late = |_| io::Error::other(format!("it does not come about within {:?}", self.timeout));
        let mut socket = timeout(self.timeout, upgraded).await.map_err(late)??;
        notify(Notice::Connected(None));
        let mut is_leaving = false;
        loop {
            tokio::select! {
                order = self.orders.recv(), if !is_leaving => match order {
                    Some(Order::Send(Output::Text(text))) => {
                        let text = String::from_utf8(text.to_vec()).map_err(io::Error::other)?;
                        if socket.send(Message::text(text)).await.is_err() {
                            return Ok(());
                        }
                    }
                    Some(Order::Send(_) | Order::Ask) => {}
                    Some(Order::Leave) | None => {
                        is_leaving = true;
                        let _ = socket.close(None).await;
                    }
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        notify(Notice::Sent(Output::Text(Bytes::from(text.as_str().to_owned()))));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Ok(()),
                },
            }
        }
    }
}

async fn connected(
    target: &PeerAddress,
    protection: Connection,
    at_most: Duration,
) -> io::Result<Transport<TcpStream>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    protection.connect(stream, at_most).await.map_err(over_tls)
}

/// What is wrong with TLS, whichever side reports it.
fn over_tls(error: TlsError) -> io::Error {
    io::Error::other(error)
}

/// A connection as a stream of frames.
#[derive(Debug)]
struct Wire {
    stream: Transport<TcpStream>,
    buffer: BytesMut,
    decoder: FrameDecoder,
}

impl Wire {
    /// The next frame; `None` at the end. May be cancelled.
    async fn frame(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer).map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            // That its certificate is refused, a client of TLS 1.3 hears only here.
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|error| TlsError::from_transport(error).map_or_else(|error| error, over_tls))?
                == 0
            {
                return Ok(None);
            }
        }
    }

    async fn send(&mut self, envelope: &Envelope) -> io::Result<()> {
        let mut frame = BytesMut::new();
        envelope.encode_frame(&mut frame).map_err(io::Error::other)?;
        self.stream.write_all(&frame).await
    }

    async fn shake_hands(&mut self, role: Role, own: EndpointId, filter: &Filter) -> io::Result<EndpointId> {
        let mut machine = Handshake::new(role, own, Duration::MAX);
        let mut has_spoken = false;
        loop {
            while let Some(step) = machine.poll() {
                match step {
                    Step::Send(message) => {
                        let mut frame = BytesMut::new();
                        message.encode_frame(&mut frame).map_err(io::Error::other)?;
                        self.stream.write_all(&frame).await?;
                    }
                    Step::Identified { .. } => machine.admit(Admission::Proceed {
                        filter: filter.clone(),
                    }),
                    Step::Established { peer, .. } => return Ok(peer),
                    Step::Close(reason) => return Err(io::Error::other(reason)),
                }
            }
            match self.frame().await {
                Ok(Some(frame)) => machine.handle_frame(&frame),
                // Its hello or its alert: a record of TLS, which as the length of a frame is too much.
                Err(_) if matches!(self.buffer[..], [20..=23, 3, ..]) => {
                    return Err(over_tls(TlsError::TlsPeer));
                }
                Ok(None) | Err(_) if !has_spoken && !self.stream.is_tls() => {
                    return Err(io::Error::other(SAYS_NOTHING));
                }
                Ok(None) => return Err(io::Error::other("closed by the peer during the handshake")),
                Err(error) => return Err(error),
            }
            has_spoken = true;
        }
    }
}

/// A player with a peering.
#[derive(Debug)]
struct Peered {
    wire: Wire,
    own: EndpointId,
    filter: Filter,
    peering: Peering,
    orders: UnboundedReceiver<Order>,
}

impl Peered {
    async fn play(&mut self, notify: impl Fn(Notice)) -> io::Result<()> {
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Send(Output::Envelope(envelope))) => {
                        if envelope.kind == EnvelopeKind::RoutingUpdate
                            && let Ok(update) = RoutingUpdate::decode(&envelope.payload)
                        {
                            self.filter = update.topics.into_iter().collect();
                        }
                        self.wire.send(&envelope).await?;
                        self.ask().await?;
                    }
                    Some(Order::Ask | Order::Send(_)) => self.ask().await?,
                    Some(Order::Leave) => {
                        let bye = self.peering.leave(Duration::ZERO);
                        self.wire.send(&bye).await?;
                    }
                    None => return Ok(()),
                },
                frame = self.wire.frame() => match frame? {
                    Some(frame) => {
                        if self.hears(frame, &notify).await? {
                            break;
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
        self.wire.stream.shutdown().await?;
        while self.wire.frame().await?.is_some() {}
        Ok(())
    }

    /// Asks whether everything was heard. Broker's core handles routing updates, so peerings that come and go wait their turn.
    async fn ask(&mut self) -> io::Result<()> {
        let peer = self.peering.peer();
        let update = RoutingUpdate::envelope(&self.filter, self.own, peer).map_err(io::Error::other)?;
        self.wire.send(&update).await?;
        let ping = Envelope::ping(self.own, peer, Bytes::from_static(HEARD));
        self.wire.send(&ping).await
    }

    /// Takes a frame of the peer. `true` if that has let us go.
    async fn hears(&mut self, frame: Bytes, notify: &impl Fn(Notice)) -> io::Result<bool> {
        if let Ok(envelope) = Envelope::decode(frame.clone())
            && envelope.kind == EnvelopeKind::Pong
            && envelope.payload == HEARD
        {
            notify(Notice::Heard);
            return Ok(false);
        }
        match self.peering.handle_frame(frame, Duration::ZERO) {
            Ok(Some(PeeringOutput::Deliver(envelope))) => {
                notify(Notice::Sent(Output::Envelope(envelope)));
            }
            Ok(Some(PeeringOutput::Send(pong))) => self.wire.send(&pong).await?,
            Ok(Some(PeeringOutput::Close(_))) => return Ok(true),
            Ok(Some(PeeringOutput::FilterChanged(_)) | None) => {}
            Err(rejection) => notify(Notice::Complaint(rejection.to_string())),
        }
        Ok(false)
    }
}
