//! A Broker peer of the running process, on a connection of its own, with the recorded id and filter.
//!
//! What it sends is followed by a routing update that changes nothing and a ping. The pong comes when the process has queued
//! the message for its program: so its program hears everything in the order of the recording, over however many connections.

use std::{io, time::Duration};

use broker_codec::{
    EndpointId, Envelope, EnvelopeKind, Filter,
    control::RoutingUpdate,
    frame::FrameDecoder,
    handshake::{Admission, Handshake, Output as Step, Role},
    peering::{Peering, PeeringOutput},
};
use broker_endpoint::{
    PeerAddress,
    tls::{Acceptance, Connection, TlsError, Transport},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
};

use super::{Happening, Output, over_tls};

/// The content of pings. Not empty: Zeek 6.1 and older close the connection for that.
const HEARD: &[u8] = b"heard?";

/// Who connects.
#[derive(Debug)]
pub(super) enum Way {
    /// The player.
    Connect(PeerAddress, Connection),
    /// The running process.
    Accept(TcpListener, Acceptance),
}

/// Why a handshake fails without TLS, if the peer has not said so: Broker speaks first to whoever connects.
const SAYS_NOTHING: &str =
    "closed by the peer without a word; it may speak TLS, which is off here (Broker::disable_ssl)";

/// What a player is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this, and say when it was heard.
    Send(Envelope),
    /// Say when everything so far was heard.
    Ask,
    /// Leave in good order: what the process has sent before still comes.
    Leave,
}

/// A player before its connection is there.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) way: Way,
    pub(super) own: EndpointId,
    pub(super) filter: Filter,
    pub(super) orders: UnboundedReceiver<Order>,
    /// How long the handshake of TLS may take.
    pub(super) patience: Duration,
}

impl Player {
    /// Plays until the connection ends, or nobody listens. An error says why the peering did not come about.
    pub(super) async fn play(self, tell: impl Fn(Happening)) -> io::Result<()> {
        let (transport, role) = match self.way {
            Way::Connect(target, protection) => {
                let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
                stream.set_nodelay(true)?;
                (protection.connect(stream, self.patience).await, Role::Connector)
            }
            Way::Accept(listener, protection) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                (protection.accept(stream, self.patience).await, Role::Acceptor)
            }
        };
        let mut wire = Wire {
            stream: transport.map_err(over_tls)?,
            buffer: BytesMut::new(),
            decoder: FrameDecoder::handshake(),
        };
        let peer = wire.shake_hands(role, self.own, &self.filter).await?;
        wire.decoder = FrameDecoder::operation();
        tell(Happening::Added(peer));
        let mut peered = Peered {
            wire,
            own: self.own,
            filter: self.filter,
            peering: Peering::new(self.own, peer, None, Duration::ZERO),
            orders: self.orders,
        };
        // However it ends: what is missing then is missed by whoever awaits it.
        let _ = peered.play(tell).await;
        Ok(())
    }
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
    async fn play(&mut self, tell: impl Fn(Happening)) -> io::Result<()> {
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Send(envelope)) => {
                        if envelope.kind == EnvelopeKind::RoutingUpdate
                            && let Ok(update) = RoutingUpdate::decode(&envelope.payload)
                        {
                            self.filter = update.topics.into_iter().collect();
                        }
                        self.wire.send(&envelope).await?;
                        self.ask().await?;
                    }
                    Some(Order::Ask) => self.ask().await?,
                    Some(Order::Leave) => {
                        let bye = self.peering.leave(Duration::ZERO);
                        self.wire.send(&bye).await?;
                    }
                    None => return Ok(()),
                },
                frame = self.wire.frame() => match frame? {
                    Some(frame) => {
                        if self.hears(frame, &tell).await? {
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
    async fn hears(&mut self, frame: Bytes, tell: &impl Fn(Happening)) -> io::Result<bool> {
        if let Ok(envelope) = Envelope::decode(frame.clone())
            && envelope.kind == EnvelopeKind::Pong
            && envelope.payload == HEARD
        {
            tell(Happening::Heard);
            return Ok(false);
        }
        match self.peering.handle_frame(frame, Duration::ZERO) {
            Ok(Some(PeeringOutput::Deliver(envelope))) => {
                tell(Happening::Said(Output::Envelope(envelope)));
            }
            Ok(Some(PeeringOutput::Send(pong))) => self.wire.send(&pong).await?,
            Ok(Some(PeeringOutput::Close(_))) => return Ok(true),
            Ok(Some(PeeringOutput::FilterChanged(_)) | None) => {}
            Err(rejection) => tell(Happening::Complaint(rejection.to_string())),
        }
        Ok(false)
    }
}
