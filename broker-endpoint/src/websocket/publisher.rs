use std::sync::Arc;

use broker_codec::{Recipients, json::DataMessage};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::hub::{Hub, To, is_long};
use crate::credit::Credit;

/// Publishes to the clients of a [`WebSocketServer`](super::WebSocketServer); cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    hub: Arc<Hub>,
    credit: Credit,
}

#[derive(Debug)]
enum Job {
    Publish(To, DataMessage, Credit),
    /// Everything before is with the clients' queues.
    Flush(oneshot::Sender<()>),
}

impl Publisher {
    /// How many published messages may wait to be written as JSON.
    pub const PUBLICATIONS_MAX: usize = 256;

    /// A publisher, and the task that writes what is published.
    pub(super) fn start(hub: Arc<Hub>) -> (Self, AbortOnDropHandle<()>) {
        let (jobs, queue) = mpsc::channel(Self::PUBLICATIONS_MAX);
        let task = AbortOnDropHandle::new(tokio::spawn(deliver(queue, Arc::clone(&hub))));
        let credit = Credit::none();
        (Self { jobs, hub, credit }, task)
    }

    /// A publisher whose messages keep the credit of another one until clients have taken them.
    #[must_use]
    pub fn with_credit(&self, credit: &Credit) -> Self {
        Self {
            credit: credit.clone(),
            ..self.clone()
        }
    }

    /// Delivers a message to the clients that subscribed to a prefix of its topic, of those with these numbers ([`super::ClientId`]), if they
    /// [may hear it](super::WebSocketConfig::may_hear).
    ///
    /// The message is written as JSON once, in a task of the server, and never waits for a client: one that reads too
    /// slowly is disconnected. What one task publishes arrives in its order. Waits only while
    /// [`PUBLICATIONS_MAX`](Self::PUBLICATIONS_MAX) earlier messages are not written as JSON yet. Without effect
    /// after the server's end.
    pub async fn publish(&self, recipients: Recipients<u64>, message: DataMessage) {
        self.send(To::Listeners(recipients), message).await;
    }

    /// As [`Self::publish`], to one client, whatever it may hear: an answer to what it has asked.
    pub async fn answer(&self, client: u64, message: DataMessage) {
        self.send(To::One(client), message).await;
    }

    /// Whether a client gets what is published on this topic. If none does, it need not be made.
    pub fn is_heard(&self, topic: &[u8]) -> bool {
        !self
            .hub
            .recipients(topic, &To::Listeners(Recipients::all()))
            .is_empty()
    }

    async fn send(&self, to: To, message: DataMessage) {
        let job = Job::Publish(to, message, self.credit.clone());
        let _ = self.jobs.send(job).await;
    }

    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

/// Writes publications as JSON and puts them into the queues of their recipients, in order.
async fn deliver(mut jobs: mpsc::Receiver<Job>, hub: Arc<Hub>) {
    while let Some(job) = jobs.recv().await {
        let (to, message, credit) = match job {
            Job::Publish(to, message, credit) => (to, message, credit),
            Job::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        };
        if hub.recipients(&message.topic, &to).is_empty() {
            continue;
        }
        let topic = message.topic.clone();
        let text = if is_long(&message.data) {
            // It fails if writing panics, or with the runtime.
            tokio::task::spawn_blocking(move || message.encode())
                .await
                .map_err(|error| error.to_string())
        } else {
            Ok(message.encode())
        };
        let text = match text.and_then(|text| text.map_err(|error| error.to_string())) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%topic, error, "message not published");
                continue;
            }
        };
        let text = Bytes::from(text);
        let hold = credit.hold(text.len());
        for recipient in hub.recipients(&topic, &to) {
            recipient.push(text.clone(), hold.clone());
        }
    }
}
