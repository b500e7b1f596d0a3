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

    /// Sends what waits, as it comes: all that waits at a time together, up to [`BATCH_MAX`](crate::queue::BATCH_MAX). Ends when the queue
    /// is drained, or with an error of the connection.
    pub(super) async fn write<W>(&self, sink: &mut W, counters: &Counters<Counted>) -> tungstenite::Result<()>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        loop {
            let ping = lock(&self.ping).clone();
            if let Some(payload) = ping {
                self.write_ping(sink, payload).await?;
            } else if let Some(text) = self.queue.take() {
                let (count, bytes) = self.write_batch(sink, text).await?;
                counters.add(Counted::MessagesOut, count);
                counters.add(Counted::BytesOut, bytes);
            } else if self.queue.is_drained() {
                return Ok(());
            } else {
                self.queue.changed().await;
            }
        }
    }

    /// Sends a message, and with it those that wait and are short; returns how many messages and bytes these were.
    async fn write_batch<W>(&self, sink: &mut W, first: Bytes) -> tungstenite::Result<(usize, usize)>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        let (mut count, mut bytes) = (1, first.len());
        self.feed_fragments(sink, first).await?;
        while let Some(next) = self.queue.take_more(bytes) {
            count += 1;
            bytes += next.len();
            self.feed_fragments(sink, next).await?;
        }
        sink.flush().await?;
        Ok((count, bytes))
    }

    /// Hands a message to the connection, which has sent all but the last fragment then.
    async fn feed_fragments<W>(&self, sink: &mut W, mut rest: Bytes) -> tungstenite::Result<()>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        let fragment =
            |bytes, kind, is_last| Message::Frame(Frame::message(bytes, OpCode::Data(kind), is_last));
        let mut kind = Data::Text;
        while rest.len() >= 2 * FRAGMENT_LEN {
            feed(sink, fragment(rest.split_to(FRAGMENT_LEN), kind, false)).await?;
            sink.flush().await?;
            kind = Data::Continue;
            let ping = lock(&self.ping).clone();
            if let Some(payload) = ping {
                self.write_ping(sink, payload).await?;
            }
        }
        feed(sink, fragment(rest, kind, true)).await
    }

    async fn write_ping<W>(&self, sink: &mut W, payload: Bytes) -> tungstenite::Result<()>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        feed(sink, Message::Ping(payload)).await?;
        sink.flush().await?;
        *lock(&self.ping) = None;
        Ok(())
    }
}

/// Hands a frame to the connection, which sends it when it is flushed at the latest.
async fn feed<W>(sink: &mut W, mut message: Message) -> tungstenite::Result<()>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    loop {
        match sink.feed(message).await {
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
    use crate::queue::BATCH_MAX;

    /// A sink that takes everything, and what it has taken when it was flushed.
    #[derive(Default)]
    struct Taken {
        fed: Vec<Message>,
        flushed: Vec<Vec<Message>>,
    }

    impl Sink<Message> for Taken {
        type Error = tungstenite::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
            self.fed.push(message);
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            let fed = std::mem::take(&mut self.fed);
            self.flushed.push(fed);
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What is sent now, and whether that was all for ever.
    fn sent(outbound: &Outbound) -> (Vec<Vec<Message>>, bool) {
        let mut taken = Taken::default();
        let ended = outbound
            .write(&mut taken, &Counters::default())
            .now_or_never()
            .is_some();
        assert_eq!(taken.fed, [], "everything is flushed");
        (taken.flushed, ended)
    }

    fn texts(flushed: &[Vec<Message>]) -> Vec<Vec<String>> {
        let payload = |message: &Message| String::from_utf8(message.clone().into_data().to_vec()).unwrap();
        flushed
            .iter()
            .map(|messages| messages.iter().map(payload).collect())
            .collect()
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
        let (flushed, ended) = sent(&outbound);
        assert_eq!(texts(&flushed), [vec!["another"], vec!["1", "2"]]);
        assert!(!ended);
        assert!(outbound.ping("ping".to_owned()));
        outbound.push("3".into(), Hold::default());
        outbound.queue.drain();
        outbound.push("too late".into(), Hold::default());
        let (flushed, ended) = sent(&outbound);
        assert_eq!(texts(&flushed), [["ping"], ["3"]]);
        assert!(ended);
    }

    #[test]
    fn what_waits_is_sent_together_as_far_as_it_is_short() {
        let outbound = Outbound::new(1000, 1 << 20);
        let count = BATCH_MAX / 100 + 1;
        let lens = [vec![100; count], vec![2 * FRAGMENT_LEN, 1]].concat();
        for len in lens {
            outbound.push(vec![b'x'; len].into(), Hold::default());
        }
        let (flushed, _) = sent(&outbound);
        let len = |message: &Message| message.clone().into_data().len();
        let lens = |messages: &Vec<Message>| messages.iter().map(len).collect::<Vec<_>>();
        assert_eq!(
            flushed.iter().map(lens).collect::<Vec<_>>(),
            [
                vec![100; count - 1],
                vec![100],
                vec![FRAGMENT_LEN],
                vec![FRAGMENT_LEN],
                vec![1]
            ]
        );
    }
}
