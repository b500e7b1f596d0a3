//! What the owner of an endpoint publishes.

use broker_codec::{
    Data, EndpointId, Envelope, EnvelopeKind, Payload, Recipients, Topic, binary::EncodeError,
    envelope::TTL_DEFAULT, frame::FrameError,
};
use bytes::{Bytes, BytesMut};
use tokio::task::coop::consume_budget;

use super::EndpointHandle;

/// A message cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message would be larger than [`EndpointConfig::message_max`](super::EndpointConfig::message_max).
    #[error("message to {topic}: {source}")]
    TooLong { topic: Topic, source: FrameError },
    /// Zeek 6.1 and older close the connection for it.
    #[error("topic is empty")]
    EmptyTopic,
    /// Nothing on such a topic leaves an endpoint.
    #[error("topic {0} is reserved for use within an endpoint")]
    LocalTopic(Topic),
    #[error("endpoint has ended")]
    Ended,
}

impl EndpointHandle {
    /// Sends a value to every peer that subscribed to a prefix of the topic.
    ///
    /// Never waits for a peer: of what waits for one that reads too slowly, the oldest is dropped. What one task publishes arrives in
    /// its order. Nothing is acknowledged.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish(&self, topic: Topic, data: &Data) -> Result<(), PublishError> {
        let payload = Payload::of(data)?;
        self.publish_encoded(Recipients::all(), topic, payload).await
    }

    /// The same for a value that is encoded ([`binary`](broker_codec::binary)) already, and only to some of the peers that subscribed.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish_encoded(
        &self,
        recipients: Recipients<EndpointId>,
        topic: Topic,
        payload: Payload,
    ) -> Result<(), PublishError> {
        self.send(EndpointId::NIL, recipients, topic, payload).await
    }

    /// Sends an encoded value to one peer, whatever it subscribed to. What is shared of it is not copied. If it is not there, the value is dropped and counted.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish_to(
        &self,
        receiver: EndpointId,
        topic: Topic,
        payload: Payload,
    ) -> Result<(), PublishError> {
        self.send(receiver, Recipients::all(), topic, payload).await
    }

    async fn send(
        &self,
        receiver: EndpointId,
        recipients: Recipients<EndpointId>,
        topic: Topic,
        payload: Payload,
    ) -> Result<(), PublishError> {
        if topic.is_empty() {
            return Err(PublishError::EmptyTopic);
        }
        if topic.is_local_only() {
            return Err(PublishError::LocalTopic(topic));
        }
        let Payload { own, shared } = payload;
        let envelope = Envelope {
            sender: self.shared.id,
            receiver,
            kind: EnvelopeKind::Data,
            ttl: TTL_DEFAULT,
            topic,
            payload: own,
        };
        let max = self.shared.config.message_max;
        let len = envelope.encoded_len().saturating_add(shared.len());
        let mut frame = BytesMut::new();
        let encoded = match u32::try_from(len) {
            Ok(len) if len <= max => envelope.begin_frame(shared.len(), &mut frame),
            _ => Err(FrameError::Unsendable { len, max }),
        };
        let route = Envelope {
            payload: Bytes::new(),
            ..envelope
        };
        if let Err(source) = encoded {
            let topic = route.topic;
            return Err(PublishError::TooLong { topic, source });
        }
        if self.shared.stopped.is_cancelled() {
            return Err(PublishError::Ended);
        }
        let hold = self.credit.hold(frame.len() + shared.len());
        let frame = [frame.freeze(), shared];
        self.shared.publish(&route, &frame, &recipients, &hold);
        // However much is published, connections get their turns to send it.
        consume_budget().await;
        Ok(())
    }
}
