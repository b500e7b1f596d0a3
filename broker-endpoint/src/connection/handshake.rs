use std::{io, sync::Arc, time::Duration};

use broker_codec::{
    EndpointId, Filter,
    frame::{FrameDecoder, FrameError, HANDSHAKE_FRAME_MAX},
    handshake::{Awaited, Close, Handshake, Message, Output, Role},
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep_until, timeout, timeout_at},
};

use super::{Connection, Order, Registration};
use crate::{
    endpoint::{PeerInfo, PeeringError, Report},
    tls::{TlsError, Transport},
};

/// The largest frame before the peer is known: then a filter may come, before there is nothing of any size.
pub(crate) const IDENTIFICATION_FRAME_MAX: u32 = 4096;

/// How much is read at a time, in bytes.
const READ_MAX: usize = 4096;

/// How long a peer may take to read why it is refused.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a refused peer may still send until then, in bytes: closing with unread bytes would be a reset, which may overtake
/// the refusal.
pub(crate) const REFUSED_BYTES_MAX: usize = 64 * 1024;

/// A handshake that did not succeed.
pub(super) struct Failure {
    pub(super) error: PeeringError,
    pub(super) peer: Option<EndpointId>,
}

/// Makes a connection a peering. Bytes that came behind the handshake stay in the buffer.
pub(super) async fn run<S>(
    connection: &Connection,
    registration: &Registration,
    transport: &mut Transport<S>,
    buffer: &mut BytesMut,
) -> Result<PeerInfo, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver {
        connection,
        registration,
        transport,
        buffer,
        received: 0,
        peer: None,
        is_closed: false,
    };
    driver.run().await.map_err(|error| Failure {
        error,
        peer: driver.peer,
    })
}

struct Driver<'a, S> {
    connection: &'a Connection,
    registration: &'a Registration,
    transport: &'a mut Transport<S>,
    buffer: &'a mut BytesMut,
    received: usize,
    peer: Option<EndpointId>,
    /// Whether the peer was found to have closed when something was to be sent.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    async fn run(&mut self) -> Result<PeerInfo, PeeringError> {
        let shared = &self.connection.shared;
        let deadline = self.connection.deadline;
        let mut handshake = Handshake::new(self.connection.role, shared.id, deadline);
        loop {
            while let Some(output) = handshake.poll() {
                match output {
                    // It was sent when the connection was accepted.
                    Output::Send(Message::Probe)
                        if self.connection.handshake.is_some() && !self.transport.is_tls() => {}
                    Output::Send(message) => self.send(&message, &handshake, deadline).await?,
                    Output::Identified { peer, side } => {
                        self.peer = Some(peer);
                        shared.report(Report::Identified {
                            conn: self.registration.id,
                            peer,
                            side,
                            outbox: self.registration.outbox.clone(),
                            leave: self.connection.leave.clone(),
                        });
                    }
                    Output::Established { .. } if self.is_closed => {
                        return Err(self.closed(handshake.awaited()));
                    }
                    Output::Established { peer, filter, .. } => {
                        let info = self.info(peer, filter.clone());
                        shared.report(Report::Established {
                            conn: self.registration.id,
                            filter,
                            info: info.clone(),
                        });
                        self.await_begin().await?;
                        return Ok(info);
                    }
                    Output::Close(reason) => {
                        if !matches!(reason, Close::TimedOut { .. } | Close::Dropped(_)) {
                            self.linger().await;
                        }
                        return Err(match reason {
                            // The other end of this connection is ours, too, and was the first to notice.
                            Close::Dropped(drop) if drop.sender == shared.id => Close::UnusableId(shared.id),
                            reason => reason,
                        }
                        .into());
                    }
                }
            }
            // What follows a message that the router has to decide on is not looked at before the verdict.
            let undecided = matches!(handshake.awaited(), Awaited::Admission(_));
            if !undecided && let Some(frame) = self.next_frame(handshake.awaited())? {
                handshake.handle_frame(&frame);
                continue;
            }
            let evicted = async {
                match &self.connection.handshake {
                    Some(place) => place.pending.evicted().await,
                    None => std::future::pending().await,
                }
            };
            self.buffer.reserve(READ_MAX);
            tokio::select! {
                () = self.registration.outbox.changed() => {
                    match self.registration.outbox.next_order() {
                        Some(Order::Admit(verdict)) => handshake.admit(verdict),
                        Some(Order::Begin | Order::End(_)) | None => {}
                    }
                }
                result = self.transport.read_buf(self.buffer) => {
                    self.count(result, handshake.awaited())?;
                }
                () = sleep_until(shared.instant(deadline)) => handshake.handle_timeout(shared.now()),
                () = evicted => return Err(PeeringError::Evicted),
                // Who waits for the verdict gets it now, with the reason.
                () = self.connection.leave.cancelled(), if !undecided => return Err(PeeringError::ShuttingDown),
            }
        }
    }

    /// Writes and flushes one message. With TLS this makes it a record of its own, without which a Broker that responds may
    /// not see what follows the last message.
    async fn send(
        &mut self,
        message: &Message,
        handshake: &Handshake,
        deadline: Duration,
    ) -> Result<(), PeeringError> {
        let mut frame = BytesMut::new();
        message.encode_frame(&mut frame).map_err(PeeringError::Frame)?;
        let write = async {
            self.transport.write_all(&frame).await?;
            self.transport.flush().await
        };
        match timeout_at(self.connection.shared.instant(deadline), write).await {
            Ok(Ok(())) => Ok(()),
            // What it said before it closed is still to be read: a TLS alert, or why it refuses us.
            Ok(Err(error)) if is_closed_by_peer(&error) => {
                self.is_closed = true;
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed(error, handshake.awaited())),
            Err(_) => Err(PeeringError::Handshake(Close::TimedOut {
                awaited: handshake.awaited(),
            })),
        }
    }

    fn next_frame(&mut self, awaited: Awaited) -> Result<Option<bytes::Bytes>, PeeringError> {
        let max = match awaited {
            Awaited::OriginatorSyn | Awaited::ResponderSynAck | Awaited::OriginatorAck => HANDSHAKE_FRAME_MAX,
            _ => IDENTIFICATION_FRAME_MAX,
        };
        FrameDecoder::handshake()
            .with_max(max)
            .decode(self.buffer)
            .map_err(|error| self.explain(error))
    }

    /// A length that makes no sense may be the beginning of a TLS record.
    fn explain(&self, error: FrameError) -> PeeringError {
        const ALERT: u8 = 0x15;
        const HANDSHAKE: u8 = 0x16;
        const MAJOR_VERSION: u8 = 3;
        match (self.transport.is_tls(), error) {
            (false, FrameError::TooLong { len, .. })
                if matches!(len.to_be_bytes(), [ALERT | HANDSHAKE, MAJOR_VERSION, ..]) =>
            {
                PeeringError::Tls(TlsError::TlsPeer)
            }
            _ => PeeringError::Frame(error),
        }
    }

    fn count(&mut self, result: io::Result<usize>, awaited: Awaited) -> Result<(), PeeringError> {
        let len = result.map_err(|error| self.failed(error, awaited))?;
        if len == 0 {
            return Err(self.closed(awaited));
        }
        self.received += len;
        let max = self.connection.shared.config.handshake_bytes_max;
        if self.received > max {
            return Err(PeeringError::TooMuch { max });
        }
        Ok(())
    }

    fn failed(&self, error: io::Error, awaited: Awaited) -> PeeringError {
        match TlsError::from_transport(error) {
            Ok(error) => PeeringError::Tls(error),
            Err(error) if is_closed_by_peer(&error) => self.closed(awaited),
            Err(error) => PeeringError::Io(error),
        }
    }

    fn closed(&self, awaited: Awaited) -> PeeringError {
        let mute = self.received == 0 && !self.transport.is_tls() && self.connection.role == Role::Connector;
        PeeringError::Closed { awaited, mute }
    }

    /// The owner of the endpoint never waits, so this takes no time.
    async fn await_begin(&mut self) -> Result<(), PeeringError> {
        loop {
            match self.registration.outbox.next_order() {
                Some(Order::Begin) => return Ok(()),
                Some(Order::End(_)) => return Err(PeeringError::ShuttingDown),
                Some(Order::Admit(_)) => {}
                None => {
                    tokio::select! {
                        () = self.registration.outbox.changed() => {}
                        () = self.connection.shared.stopped.cancelled() => return Err(PeeringError::ShuttingDown),
                    }
                }
            }
        }
    }

    fn info(&self, id: EndpointId, subscriptions: Filter) -> PeerInfo {
        PeerInfo {
            id,
            address: self.connection.address,
            dialled: self.connection.dialled.clone(),
            certificate: self.transport.peer_certificate().cloned(),
            subscriptions: Arc::new(subscriptions),
        }
    }

    /// Gives a refused peer time to read why.
    async fn linger(&mut self) {
        let mut rest = REFUSED_BYTES_MAX;
        let read = async {
            self.transport.shutdown().await?;
            let mut scratch = [0; 1024];
            while rest > 0 {
                let len = self.transport.read(&mut scratch).await?;
                if len == 0 {
                    break;
                }
                rest = rest.saturating_sub(len);
            }
            io::Result::Ok(())
        };
        // It is over in any case.
        let _ = timeout(REFUSAL_TIMEOUT, read).await;
    }
}

/// Whoever closes without having read everything resets the connection.
fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
