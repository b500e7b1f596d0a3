use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::{
    self, Message, Utf8Bytes,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::counters::Counters;

/// Messages of at least this many bytes are sent in fragments of this size, the last one up to twice as long, as
/// Zeek's server does (`IXWebSocketTransport.h`, `kChunkSize`). A ping need not wait for a long message then, and
/// tungstenite, which moves the rest of its write buffer after each partial write, has little to move.
pub(super) const FRAGMENT_LEN: usize = 32 * 1024;

/// What waits to be sent to one client; bounded in messages and bytes.
#[derive(Debug)]
pub(super) struct Outbound {
    state: Mutex<State>,
    messages_max: usize,
    bytes_max: usize,
    /// There is something to do for the writer.
    ready: Notify,
    /// The state became [`Phase::Overflowed`].
    overflowed: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    ping: Option<Bytes>,
    messages: VecDeque<Utf8Bytes>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is there is sent, and nothing is added.
    Draining,
    /// Nothing is sent any more.
    Overflowed {
        messages: usize,
        bytes: usize,
    },
}

enum Next {
    Ping(Bytes),
    Text(Utf8Bytes),
    Nothing,
    End,
}

impl Outbound {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Open,
                ping: None,
                messages: VecDeque::new(),
                bytes: 0,
            }),
            messages_max,
            bytes_max,
            ready: Notify::new(),
            overflowed: Notify::new(),
        }
    }

    /// Adds a message. If there is no room for it, everything that waits is dropped and the connection is doomed.
    ///
    /// A message finds room in an empty queue whatever its size, so that one that is larger than all limits is still
    /// delivered to a client that reads.
    pub(super) fn push(&self, text: Utf8Bytes) {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return;
        }
        let bytes = state.bytes.saturating_add(text.len());
        if !state.messages.is_empty() && (state.messages.len() >= self.messages_max || bytes > self.bytes_max)
        {
            state.phase = Phase::Overflowed {
                messages: state.messages.len(),
                bytes: state.bytes,
            };
            state.messages = VecDeque::new();
            self.overflowed.notify_one();
            return;
        }
        state.messages.push_back(text);
        state.bytes = bytes;
        drop(state);
        self.ready.notify_one();
    }

    /// Asks for a ping, ahead of everything that waits; false if the one before is not sent yet.
    pub(super) fn ping(&self, payload: String) -> bool {
        let sent = self.lock().ping.replace(payload.into()).is_none();
        self.ready.notify_one();
        sent
    }

    /// Accepts nothing any more; [`Self::write`] ends when everything is sent.
    pub(super) fn drain(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Waits until there was no room for a message; yields how many messages and bytes waited.
    pub(super) async fn overflowed(&self) -> (usize, usize) {
        loop {
            if let Phase::Overflowed { messages, bytes } = self.lock().phase {
                return (messages, bytes);
            }
            self.overflowed.notified().await;
        }
    }

    /// Sends what waits, as it comes. Ends after [`Self::drain`], or with an error of the connection.
    pub(super) async fn write<W>(&self, sink: &mut W, counters: &Counters) -> Result<(), tungstenite::Error>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        loop {
            match self.next() {
                Next::Ping(payload) => send(sink, Message::Ping(payload)).await?,
                Next::Text(text) => {
                    let len = text.len();
                    self.write_fragments(sink, text.into()).await?;
                    counters.sent(len);
                }
                Next::Nothing => self.ready.notified().await,
                Next::End => return Ok(()),
            }
        }
    }

    async fn write_fragments<W>(&self, sink: &mut W, mut rest: Bytes) -> Result<(), tungstenite::Error>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        let mut kind = Data::Text;
        while rest.len() >= 2 * FRAGMENT_LEN {
            let fragment = rest.split_to(FRAGMENT_LEN);
            send(
                sink,
                Message::Frame(Frame::message(fragment, OpCode::Data(kind), false)),
            )
            .await?;
            kind = Data::Continue;
            let ping = self.lock().ping.take();
            if let Some(payload) = ping {
                send(sink, Message::Ping(payload)).await?;
            }
        }
        send(
            sink,
            Message::Frame(Frame::message(rest, OpCode::Data(kind), true)),
        )
        .await
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        if let Some(payload) = state.ping.take() {
            return Next::Ping(payload);
        }
        match state.messages.pop_front() {
            Some(text) => {
                state.bytes = state.bytes.saturating_sub(text.len());
                Next::Text(text)
            }
            None if state.phase == Phase::Draining => Next::End,
            None => Next::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send<W>(sink: &mut W, mut message: Message) -> Result<(), tungstenite::Error>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    loop {
        match sink.send(message).await {
            // Answers to pings took the buffer while the client did not read.
            Err(tungstenite::Error::WriteBufferFull(returned)) => message = *returned,
            done => return done,
        }
        sink.flush().await?;
    }
}
