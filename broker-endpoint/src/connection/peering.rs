use std::{future::Future, io, pin::Pin, time::Duration};

use broker_codec::{
    EndpointId, Envelope, Topic,
    endpoint::{CloseReason, Output},
    frame::FrameDecoder,
    peering::Rejection,
};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    task::yield_now,
};
use tracing::{debug, warn};

use super::{Connection, inbound};
use crate::{
    credit::Credits,
    endpoint::{
        config::EndpointConfig,
        counted::Counted,
        event::{EndReason, EndpointEvent, Message, PeerInfo},
        shared::{Link, Shared},
    },
    time::at,
    tls::{TlsError, Transport},
};

/// How much room there is for reading at least, in bytes: while little comes, as an agent may have a hundred nodes that say something every
/// few seconds; and after a read that has filled all the room there was.
const ROOM_MIN: usize = 1024;
const ROOM_BUSY: usize = 16 * 1024;

/// How much room the buffer for reading has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// For a peer that says little.
    Small,
    Large,
    /// The last read has filled it.
    Filled,
}

/// With so many pongs waiting, a peer is not read from: it pings and does not read.
const PONGS_MAX: usize = 64;

/// So many bad messages of a peering are logged; all are counted.
const REJECTIONS_LOGGED: u32 = 5;

/// Runs an established peering.
pub(super) struct Driver<'a, S> {
    connection: &'a Connection,
    link: &'a mut Link,
    shared: &'a Shared,
    peer: EndpointId,
    reader: ReadHalf<Transport<S>>,
    writer: WriteHalf<Transport<S>>,
    buffer: BytesMut,
    room: Room,
    decoder: FrameDecoder,
    /// What is being sent.
    writing: Bytes,
    /// When the system last took something of it, or it was begun.
    progressed: Duration,
    /// A message on its way to the owner of the endpoint, who is busy. Until it is there, nothing is read.
    delivery: Option<Delivery<'a>>,
    leaving: bool,
    /// Until the peer has subscribed to what it must.
    awaiting: bool,
    rejections: Rejections,
}

type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), BadPayload>> + Send + 'a>>;

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Driver<'a, S> {
    /// One that has read this behind the handshake.
    pub(super) fn new(
        connection: &'a Connection,
        link: &'a mut Link,
        peer: &PeerInfo,
        transport: Transport<S>,
        buffer: BytesMut,
    ) -> Self {
        let (reader, writer) = tokio::io::split(transport);
        let shared = &*connection.shared;
        let awaited = connection.awaited.of(peer.id).to_vec();
        let awaiting = shared.call(|endpoint| {
            endpoint.await_subscription(link.id, awaited, &peer.subscriptions, shared.now());
            endpoint.is_awaiting(link.id)
        });
        Self {
            connection,
            link,
            shared,
            peer: peer.id,
            reader,
            writer,
            // The handshake had more room.
            room: Room::Large,
            buffer,
            decoder: FrameDecoder::operation().with_max(shared.config.message_max),
            writing: Bytes::new(),
            progressed: Duration::ZERO,
            delivery: None,
            leaving: false,
            awaiting,
            rejections: Rejections::default(),
        }
    }

    /// Runs it until the peer has subscribed to what is awaited, or the end.
    pub(super) async fn await_subscription(&mut self) -> Result<(), EndReason> {
        while self.awaiting {
            self.step().await?;
        }
        Ok(())
    }

    /// Runs it until it ends.
    pub(super) async fn run(&mut self) -> EndReason {
        loop {
            match self.step().await {
                Ok(()) => {}
                // It may close before it has read all.
                Err(EndReason::Closed | EndReason::Failed(_) | EndReason::Tls(_))
                    if self.shared.call(|endpoint| endpoint.peer_leaves(self.link.id)) =>
                {
                    return EndReason::Left;
                }
                Err(reason) => return reason,
            }
        }
    }

    /// Does what can be done at once, then waits for what comes first. An error is the end.
    async fn step(&mut self) -> Result<(), EndReason> {
        self.check_end()?;
        if self.writing.is_empty()
            && let Some((bytes, count)) = self.link.queue.take_batch()
        {
            self.shared.counters.add(Counted::MessagesOut, count);
            self.shared.counters.add(Counted::BytesOut, bytes.len());
            self.writing = bytes;
            self.progressed = self.shared.now();
        }
        let awaited = self.awaiting;
        let reading = self.handle_frames()?;
        if awaited && !self.awaiting {
            return Ok(());
        }
        if reading {
            self.make_room();
        }
        // Silence is only the peer's while we listen.
        let deadline = self.shared.call(|endpoint| endpoint.deadline(self.link.id));
        let deadline = deadline.filter(|_| reading || self.leaving);
        let timer = at(deadline.map(|deadline| self.shared.instant(deadline)));
        let liveness = self.shared.config.liveness;
        let stuck = at(liveness.map(|liveness| {
            self.shared
                .instant(self.progressed.saturating_add(liveness.timeout))
        }));
        let delivery = async {
            match &mut self.delivery {
                Some(delivery) => delivery.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.writer.write(&self.writing), if !self.writing.is_empty() => {
                self.wrote(result)?;
                if !self.writing.is_empty() {
                    // Each part that TLS takes is one that others wait for.
                    yield_now().await;
                }
            }
            // DIFFERENCE(liveness): also of a peer that speaks, which is not silent, but takes nothing.
            () = stuck, if !self.writing.is_empty() => self.handle_stuck()?,
            result = self.reader.read_buf(&mut self.buffer), if reading => self.has_read(result)?,
            result = delivery => {
                self.delivery = None;
                if let Err(bad) = result {
                    self.reject(&BadMessage::Payload(bad))?;
                }
            }
            () = self.link.queue.changed() => {}
            Some(output) = self.link.outputs.recv() => check_output(&output)?,
            () = timer => self.handle_timeout(reading)?,
            () = self.link.cut.cancelled() => return Err(EndReason::Cut),
            () = self.connection.leave.cancelled(), if !self.leaving => {
                self.leaving = true;
                self.shared.call(|endpoint| endpoint.leave(self.link.id, self.shared.now()));
            }
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), EndReason> {
        self.link
            .outputs
            .try_recv()
            .map_or(Ok(()), |output| check_output(&output))
    }

    fn wrote(&mut self, result: io::Result<usize>) -> Result<(), EndReason> {
        let len = result.map_err(EndReason::from_io)?;
        if len == 0 {
            return Err(EndReason::Closed);
        }
        self.writing.advance(len);
        self.progressed = self.shared.now();
        Ok(())
    }

    fn handle_stuck(&mut self) -> Result<(), EndReason> {
        // While this process stood still, the peer may have made room that this task has not looked for.
        if let Some(result) = self.writer.write(&self.writing).now_or_never() {
            return self.wrote(result);
        }
        let silence = self.shared.now().saturating_sub(self.progressed);
        Err(EndReason::Stuck { silence })
    }

    /// Makes room for reading. `BytesMut` would keep the memory of the longest frame for as long as the peer is there.
    fn make_room(&mut self) {
        if self.room == Room::Filled {
            self.buffer.reserve(ROOM_BUSY);
            return;
        }
        if self.room == Room::Large && self.buffer.len() <= ROOM_BUSY {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.room = Room::Small;
        }
        self.buffer.reserve(ROOM_MIN);
    }

    fn has_read(&mut self, result: io::Result<usize>) -> Result<(), EndReason> {
        match result {
            Ok(0) => Err(EndReason::Closed),
            Ok(_) => {
                if self.buffer.len() == self.buffer.capacity() {
                    self.room = Room::Filled;
                } else if self.room == Room::Filled {
                    self.room = Room::Large;
                }
                Ok(())
            }
            Err(error) => Err(EndReason::from_io(error)),
        }
    }

    /// Takes what has been read as far as it can be taken; says whether to read more.
    fn handle_frames(&mut self) -> Result<bool, EndReason> {
        let awaited = self.awaiting;
        loop {
            // What comes behind the subscription is taken when the peer has been announced.
            let subscribed = awaited && !self.awaiting;
            if subscribed || self.delivery.is_some() || self.link.queue.pongs() >= PONGS_MAX {
                return Ok(false);
            }
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(frame)) => self.handle_frame(frame)?,
                Ok(None) => return Ok(true),
                Err(error) => return Err(EndReason::Frame(error)),
            }
        }
    }

    fn handle_frame(&mut self, frame: Bytes) -> Result<(), EndReason> {
        let (shared, conn) = (self.shared, self.link.id);
        shared.counters.increment(Counted::MessagesIn);
        shared.counters.add(Counted::BytesIn, frame.len());
        let taken = shared.call(|endpoint| {
            let taken = endpoint.handle_frame(conn, frame, shared.now());
            self.awaiting &= endpoint.is_awaiting(conn);
            taken
        });
        match taken {
            Ok(None) => self.check_end(),
            Ok(Some(envelope)) => self.deliver(envelope),
            Err(rejection) => self.reject(&BadMessage::Envelope(rejection)),
        }
    }

    fn deliver(&mut self, envelope: Envelope) -> Result<(), EndReason> {
        let mut delivery: Delivery<'_> = Box::pin(deliver(
            self.shared,
            &self.connection.credits,
            self.peer,
            envelope,
        ));
        match delivery.as_mut().now_or_never() {
            Some(Ok(())) => Ok(()),
            Some(Err(bad)) => self.reject(&BadMessage::Payload(bad)),
            None => {
                self.delivery = Some(delivery);
                Ok(())
            }
        }
    }

    fn handle_timeout(&mut self, reading: bool) -> Result<(), EndReason> {
        // While the owner was busy, the peer may have said something that is still to be read.
        if reading && let Some(result) = self.reader.read_buf(&mut self.buffer).now_or_never() {
            return self.has_read(result);
        }
        self.shared
            .call(|endpoint| endpoint.handle_timeout(self.link.id, self.shared.now()));
        Ok(())
    }

    /// Counts a message that is dropped, and ends the peering if they are too many.
    fn reject(&mut self, bad: &BadMessage) -> Result<(), EndReason> {
        let max = self.shared.config.rejections_max;
        let window = EndpointConfig::REJECTIONS_WINDOW;
        let (peer, address) = (self.peer, self.connection.address);
        self.shared.counters.increment(Counted::Rejected);
        let (in_window, in_total) = self.rejections.add(self.shared.now(), window);
        if in_total <= REJECTIONS_LOGGED {
            warn!(%peer, %address, error = %bad, "dropped a bad message");
        } else {
            debug!(%peer, %address, error = %bad, "dropped a bad message");
        }
        if in_window > max {
            // DIFFERENCE(bad-messages-end-a-peering): Zeek 8.0 and later drop any number of them, older releases none.
            return Err(EndReason::TooManyRejections { max, window });
        }
        Ok(())
    }
}

/// Brings a message to the owner of the endpoint, as soon as the peer has credit for it, and there is memory for it and room in the
/// queue.
async fn deliver(
    shared: &Shared,
    credits: &Credits,
    peer: EndpointId,
    envelope: Envelope,
) -> Result<(), BadPayload> {
    let mut credit = Some(credits.acquire(envelope.payload.len()).await);
    let memory = shared
        .reserve_memory(EndpointConfig::weight(envelope.payload.len()))
        .await;
    let Envelope { topic, payload, .. } = envelope;
    let contents = match inbound::read(&payload) {
        Ok(contents) => contents,
        Err(error) => return Err(BadPayload { topic, error }),
    };
    drop(payload);
    shared.counters.add(Counted::Ignored, contents.ignored);
    if contents.messages.len() > 1 {
        // Each message of a batch needs its own, or a batch would be a way around it.
        credit = None;
    }
    for data in contents.messages {
        let credit = match credit.take() {
            Some(credit) => credit,
            None => credits.acquire(0).await,
        };
        let message = Message {
            peer,
            topic: topic.clone(),
            data,
            credit,
        };
        shared
            .deliver(EndpointEvent::Message(message), memory.clone())
            .await;
    }
    Ok(())
}

/// Of a peering, the end is all that is not in the queue.
const fn check_output(output: &Output) -> Result<(), EndReason> {
    match output {
        Output::Close(CloseReason::Peering(end)) => Err(EndReason::Ended(*end)),
        _ => Ok(()),
    }
}

impl EndReason {
    fn from_io(error: io::Error) -> Self {
        match TlsError::from_transport(error) {
            Ok(error) => Self::Tls(error),
            Err(error) => Self::Failed(error),
        }
    }
}

/// What is wrong with a message that is dropped.
#[derive(Debug, thiserror::Error)]
enum BadMessage {
    #[error(transparent)]
    Envelope(Rejection),
    #[error(transparent)]
    Payload(BadPayload),
}

#[derive(Debug, thiserror::Error)]
#[error("malformed data message on topic {topic:?}: {error}")]
struct BadPayload {
    topic: Topic,
    error: inbound::ContentsError,
}

/// How many bad messages came, in total and within the current window.
#[derive(Debug, Default)]
struct Rejections {
    window_began: Duration,
    in_window: u32,
    in_total: u32,
}

impl Rejections {
    fn add(&mut self, now: Duration, window: Duration) -> (u32, u32) {
        if now.saturating_sub(self.window_began) >= window {
            self.window_began = now;
            self.in_window = 0;
        }
        self.in_window = self.in_window.saturating_add(1);
        self.in_total = self.in_total.saturating_add(1);
        (self.in_window, self.in_total)
    }
}
