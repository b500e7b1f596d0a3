use std::{io, sync::Arc, time::Duration};

use broker_codec::{
    EndpointId, Filter,
    endpoint::{CloseReason, Output},
    frame::{FrameDecoder, FrameError, HANDSHAKE_FRAME_MAX},
    handshake::{Awaited, Close, Message, Role},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep_until, timeout, timeout_at},
};

use super::Connection;
use crate::{
    endpoint::{
        event::{PeerInfo, PeeringError},
        shared::Link,
    },
    socket::linger,
    tls::{self, TlsError, Transport},
};

/// The largest frame while the peer is not known, in bytes. Only what follows, with a filter, is larger.
pub(crate) const IDENTIFICATION_FRAME_MAX: u32 = 4096;

/// How much is read at a time, in bytes.
const READ_MAX: usize = 4096;

/// How long a peer may take to read why it is refused.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a refused peer may still send until then, in bytes.
pub(crate) const REFUSED_BYTES_MAX: usize = 64 * 1024;

/// Makes a connection a peering. Bytes that came behind the handshake stay in the buffer.
pub(super) async fn run<S>(
    connection: &Connection,
    link: &mut Link,
    transport: &mut Transport<S>,
    buffer: &mut BytesMut,
) -> Result<PeerInfo, PeeringError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let driver = Driver {
        connection,
        link,
        transport,
        buffer,
        received: 0,
        is_closed: false,
    };
    driver.run().await
}

struct Driver<'a, S> {
    connection: &'a Connection,
    link: &'a mut Link,
    transport: &'a mut Transport<S>,
    buffer: &'a mut BytesMut,
    received: usize,
    /// Whether the peer was found to have closed when something was to be sent.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    async fn run(mut self) -> Result<PeerInfo, PeeringError> {
        let connection = self.connection;
        let shared = &connection.shared;
        loop {
            while let Ok(output) = self.link.outputs.try_recv() {
                if let Some(info) = self.follow(*output).await? {
                    return Ok(info);
                }
            }
            // What follows a message that the router has to decide on is not looked at before the verdict.
            let awaited = self.awaited();
            let undecided = matches!(awaited, Awaited::Admission(_));
            if !undecided && let Some(frame) = self.next_frame(awaited)? {
                // Only a peering rejects frames and delivers them.
                let _ = shared.call(|endpoint| endpoint.handle_frame(self.link.id, frame, shared.now()));
                continue;
            }
            let evicted = async {
                match &connection.handshake {
                    Some(place) => place.evicted().await,
                    None => std::future::pending().await,
                }
            };
            self.buffer.reserve(READ_MAX);
            tokio::select! {
                // A peer that waits for the verdict gets it first, with the reason.
                biased;
                Some(output) = self.link.outputs.recv() => {
                    if let Some(info) = self.follow(*output).await? {
                        return Ok(info);
                    }
                }
                () = connection.leave.cancelled(), if !undecided => return Err(PeeringError::ShuttingDown),
                () = evicted => return Err(PeeringError::Evicted),
                result = self.transport.read_buf(self.buffer) => self.count(result)?,
                () = sleep_until(shared.instant(connection.deadline)) => {
                    shared.call(|endpoint| endpoint.handle_timeout(self.link.id, shared.now()));
                }
            }
        }
    }

    /// Does what the codec wants; yields the peer when the handshake is complete.
    async fn follow(&mut self, output: Output) -> Result<Option<PeerInfo>, PeeringError> {
        match output {
            // It was sent when the connection was accepted.
            Output::Handshake(Message::Probe)
                if self.connection.handshake.is_some() && !tls::is_tls(self.transport) => {}
            Output::Handshake(message) => self.send(&message).await?,
            Output::Established { .. } if self.is_closed => return Err(self.closed()),
            Output::Established { peer, filter, .. } => {
                let info = self.info(peer, filter);
                self.connection.shared.announce(self.link.id, info.clone());
                return Ok(Some(info));
            }
            Output::Close(CloseReason::Handshake(reason)) => {
                if !matches!(reason, Close::TimedOut { .. } | Close::Dropped(_)) {
                    self.linger().await;
                }
                let own = self.connection.shared.id;
                return Err(PeeringError::Handshake(match reason {
                    // The other end of this connection is ours, too, and was the first to notice.
                    Close::Dropped(drop) if drop.sender == own => Close::UnusableId(own),
                    reason => reason,
                }));
            }
            // Of peerings.
            Output::Close(CloseReason::Peering(_)) | Output::Send(_) => {}
        }
        Ok(None)
    }

    /// Writes and flushes one message. With TLS this makes it a record of its own, without which a Broker that responds may
    /// not see what follows the last message.
    async fn send(&mut self, message: &Message) -> Result<(), PeeringError> {
        let mut frame = BytesMut::new();
        message.encode_frame(&mut frame).map_err(PeeringError::Frame)?;
        let deadline = self.connection.shared.instant(self.connection.deadline);
        let write = async {
            self.transport.write_all(&frame).await?;
            self.transport.flush().await
        };
        match timeout_at(deadline, write).await {
            Ok(Ok(())) => Ok(()),
            // What it said before it closed is still to be read: a TLS alert, or why it refuses us.
            Ok(Err(error)) if is_closed_by_peer(&error) => {
                self.is_closed = true;
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(PeeringError::Handshake(Close::TimedOut {
                awaited: self.awaited(),
            })),
        }
    }

    fn awaited(&self) -> Awaited {
        let shared = &self.connection.shared;
        shared.call(|endpoint| endpoint.awaited(self.link.id))
    }

    fn next_frame(&mut self, awaited: Awaited) -> Result<Option<Bytes>, PeeringError> {
        let max = match awaited {
            Awaited::OriginatorSyn | Awaited::ResponderSynAck | Awaited::OriginatorAck => HANDSHAKE_FRAME_MAX,
            _ => IDENTIFICATION_FRAME_MAX,
        };
        FrameDecoder::handshake()
            .with_max(max)
            .decode(self.buffer)
            .map_err(|error| self.explain(error))
    }

    /// A length that makes no sense may be the beginning of a TLS record, or of a text.
    fn explain(&self, error: FrameError) -> PeeringError {
        const ALERT: u8 = 0x15;
        const HANDSHAKE: u8 = 0x16;
        const MAJOR_VERSION: u8 = 3;
        let FrameError::TooLong { len, .. } = error else {
            return PeeringError::Frame(error);
        };
        match len.to_be_bytes() {
            [ALERT | HANDSHAKE, MAJOR_VERSION, ..] if !tls::is_tls(self.transport) => {
                PeeringError::Tls(TlsError::TlsPeer)
            }
            [b'A'..=b'Z', b'A'..=b'Z', ..] => PeeringError::TextPeer,
            _ => PeeringError::Frame(error),
        }
    }

    fn count(&mut self, result: io::Result<usize>) -> Result<(), PeeringError> {
        let len = result.map_err(|error| self.failed(error))?;
        if len == 0 {
            return Err(self.closed());
        }
        self.received += len;
        let max = self.connection.shared.config.handshake_bytes_max;
        if self.received > max {
            return Err(PeeringError::TooMuch { max });
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> PeeringError {
        match TlsError::from_transport(error) {
            Ok(error) => PeeringError::Tls(error),
            Err(error) if is_closed_by_peer(&error) => self.closed(),
            Err(error) => PeeringError::Io(error),
        }
    }

    fn closed(&self) -> PeeringError {
        let awaited = self.awaited();
        let mute =
            self.received == 0 && !tls::is_tls(self.transport) && self.connection.role == Role::Connector;
        PeeringError::Closed { awaited, mute }
    }

    fn info(&self, id: EndpointId, subscriptions: Filter) -> PeerInfo {
        PeerInfo {
            id,
            address: self.connection.address,
            dialled: self.connection.dialled.clone(),
            certificate: tls::peer_certificate(self.transport),
            subscriptions: Arc::new(subscriptions),
        }
    }

    /// Gives a refused peer time to read why.
    async fn linger(&mut self) {
        let read = async {
            if self.transport.shutdown().await.is_ok() {
                linger(self.transport, REFUSAL_TIMEOUT, REFUSED_BYTES_MAX).await;
            }
        };
        // It is over in any case.
        let _ = timeout(REFUSAL_TIMEOUT, read).await;
    }
}

/// A peer that closes without having read everything resets the connection.
fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
