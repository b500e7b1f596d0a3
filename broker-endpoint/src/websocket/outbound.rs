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
use crate::credit::Hold;

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
    /// Until it is sent.
    ping: Option<Bytes>,
    messages: VecDeque<(Utf8Bytes, Hold)>,
    bytes: usize,
    /// What the message that is being sent keeps of its sender's credit.
    sending: Hold,
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
                sending: Hold::default(),
            }),
            messages_max,
            bytes_max,
            ready: Notify::new(),
            overflowed: Notify::new(),
        }
    }

    /// Adds a message. If there is no room for it, everything that waits is dropped and the connection is doomed.
    ///
    /// DIFFERENCE(slow-clients): Zeek has one unbounded queue and one thread with blocking sends for all clients (W-24).
    ///
    /// A message finds room in an empty queue whatever its size, so that one that is larger than all limits is still
    /// delivered to a client that reads.
    pub(super) fn push(&self, text: Utf8Bytes, hold: Hold) {
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
        state.messages.push_back((text, hold));
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
                Next::Ping(payload) => self.write_ping(sink, payload).await?,
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
            let ping = self.lock().ping.clone();
            if let Some(payload) = ping {
                self.write_ping(sink, payload).await?;
            }
        }
        send(
            sink,
            Message::Frame(Frame::message(rest, OpCode::Data(kind), true)),
        )
        .await
    }

    async fn write_ping<W>(&self, sink: &mut W, payload: Bytes) -> Result<(), tungstenite::Error>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        send(sink, Message::Ping(payload)).await?;
        self.lock().ping = None;
        Ok(())
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        state.sending = Hold::default();
        if let Some(payload) = &state.ping {
            return Next::Ping(payload.clone());
        }
        match state.messages.pop_front() {
            Some((text, hold)) => {
                state.sending = hold;
                state.bytes = state.bytes.saturating_sub(text.len());
                Next::Text(text)
            }
            None if state.phase == Phase::Draining => Next::End,
            None => Next::Nothing,
        }
    }

    /// Drops what waits: nothing is sent any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        state.messages = VecDeque::new();
        state.sending = Hold::default();
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

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures_util::FutureExt as _;

    use super::*;

    /// A sink that takes everything.
    #[derive(Default)]
    struct Taken(Vec<Message>);

    impl Sink<Message> for Taken {
        type Error = tungstenite::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
            self.0.push(message);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What is sent now, and whether that was all for ever.
    fn sent(outbound: &Outbound) -> (Vec<String>, bool) {
        let mut taken = Taken::default();
        let ended = outbound
            .write(&mut taken, &Counters::default())
            .now_or_never()
            .is_some();
        let payload = |message: Message| String::from_utf8(message.into_data().to_vec()).unwrap();
        (taken.0.into_iter().map(payload).collect(), ended)
    }

    #[test]
    fn messages_are_sent_in_order_and_pings_first() {
        let outbound = Outbound::new(9, 9);
        outbound.push("1".into(), Hold::default());
        outbound.push("2".into(), Hold::default());
        assert!(outbound.ping("ping".to_owned()));
        assert!(
            !outbound.ping("another".to_owned()),
            "the first one is not sent yet"
        );
        assert_eq!(
            sent(&outbound),
            (vec!["another".to_owned(), "1".to_owned(), "2".to_owned()], false)
        );
        assert!(outbound.ping("ping".to_owned()));
        outbound.push("3".into(), Hold::default());
        outbound.drain();
        outbound.push("too late".into(), Hold::default());
        assert_eq!(sent(&outbound), (vec!["ping".to_owned(), "3".to_owned()], true));
    }

    #[test]
    fn there_is_room_for_exactly_the_configured_numbers() {
        // Three messages, ten bytes.
        for (messages, overflow) in [
            (&["", "", ""][..], None),
            (&["", "", "", ""], Some((3, 0))),
            (&["12345", "12345"], None),
            (&["12345", "123456"], Some((1, 5))),
            // One alone may have any length.
            (&["123456789012"], None),
            (&["123456789012", ""], Some((1, 12))),
        ] {
            let outbound = Outbound::new(3, 10);
            for message in messages {
                outbound.push((*message).into(), Hold::default());
            }
            assert_eq!(outbound.overflowed().now_or_never(), overflow, "{messages:?}");
            let expected = if overflow.is_some() { &[] } else { messages };
            assert_eq!(
                sent(&outbound),
                (expected.iter().map(ToString::to_string).collect(), false)
            );
            // What was sent makes room, unless it is too late.
            outbound.push("x".into(), Hold::default());
            assert_eq!(sent(&outbound).0.len(), usize::from(overflow.is_none()));
        }
    }
}
