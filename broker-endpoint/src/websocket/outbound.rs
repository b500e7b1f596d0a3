use std::sync::Mutex;

use bytes::Bytes;
use counters::Counters;
use futures_util::{Sink, SinkExt as _};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::counted::Counted;
use crate::{
    credit::Hold,
    queue::{Kind, Queue, QueueLimits, WhenFull},
    sync::lock,
};

/// Messages of at least this many bytes are sent in fragments of this size, the last one up to twice as long, as
/// Zeek's server does (`IXWebSocketTransport.h`, `kChunkSize`). A ping need not wait for a long message then, and
/// tungstenite, which moves the rest of its write buffer after each partial write, has little to move.
pub(super) const FRAGMENT_LEN: usize = 32 * 1024;

/// What waits to be sent to one client.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) queue: Queue,
    /// Until it is sent.
    ping: Mutex<Option<Bytes>>,
}

impl Outbound {
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            queue: Queue::new(QueueLimits {
                messages,
                bytes,
                when_full: WhenFull::Disconnect,
            }),
            ping: Mutex::default(),
        }
    }

    /// Adds a message. If there is no room for it, everything that waits is dropped and the connection ends.
    ///
    /// DIFFERENCE(slow-clients): Zeek has one unbounded queue and one thread with blocking sends for all clients (W-24).
    pub(super) fn push(&self, text: Bytes, hold: Hold) {
        self.queue.push(text, Kind::Message, hold);
    }

    /// Asks for a ping, ahead of everything that waits; false if the one before is not sent yet.
    pub(super) fn ping(&self, payload: String) -> bool {
        let sent = lock(&self.ping).replace(payload.into()).is_none();
        self.queue.wake();
        sent
    }

    /// Sends what waits, as it comes. Ends when the queue is drained, or with an error of the connection.
    pub(super) async fn write<W>(&self, sink: &mut W, counters: &Counters<Counted>) -> tungstenite::Result<()>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        loop {
            let ping = lock(&self.ping).clone();
            if let Some(payload) = ping {
                self.write_ping(sink, payload).await?;
            } else if let Some(text) = self.queue.take() {
                let len = text.len();
                self.write_fragments(sink, text).await?;
                counters.increment(Counted::MessagesOut);
                counters.add(Counted::BytesOut, len);
            } else if self.queue.is_drained() {
                return Ok(());
            } else {
                self.queue.changed().await;
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
            let ping = lock(&self.ping).clone();
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
        *lock(&self.ping) = None;
        Ok(())
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
        outbound.queue.drain();
        outbound.push("too late".into(), Hold::default());
        assert_eq!(sent(&outbound), (vec!["ping".to_owned(), "3".to_owned()], true));
    }
}
