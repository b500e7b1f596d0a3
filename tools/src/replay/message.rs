//! Events as they are compared, and what is known of them.

use broker_codec::{
    Data, Envelope, EnvelopeKind, binary,
    data::ZeekString,
    json::{Answer, DataMessage, ServerMessage},
    zeek::Event,
};
use bytes::{Bytes, BytesMut};
use mgmt_api::topics;

use super::capture::Content;

/// An event with the message that it is sent in.
#[derive(Clone, Debug)]
pub(super) struct EventMessage {
    pub(super) form: Form,
    pub(super) topic: ZeekString,
    pub(super) ttl: u16,
    pub(super) event: Event,
    /// The payload of the envelope, or the whole text.
    pub(super) bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Native,
    Json,
}

impl EventMessage {
    pub(super) fn of_envelope(envelope: &Envelope) -> Option<Self> {
        Some(Self {
            form: Form::Native,
            topic: envelope.topic.as_bytes().into(),
            ttl: envelope.ttl,
            event: event_of(envelope)?,
            bytes: envelope.payload.clone(),
        })
    }

    pub(super) fn of_text(text: &Bytes) -> Option<Self> {
        let (message, event) = event_of_text(text)?;
        Some(Self {
            form: Form::Json,
            topic: message.topic,
            ttl: 0,
            event,
            bytes: text.clone(),
        })
    }

    /// The same with other arguments. What does not change stays as it was written.
    pub(super) fn with_args(self, map: impl Fn(&Data) -> Data) -> Self {
        let args: Vec<Data> = self.event.args.iter().map(map).collect();
        if args == self.event.args {
            return self;
        }
        self.with(Event {
            args,
            ..self.event.clone()
        })
    }

    /// The same with another event, written anew.
    pub(super) fn with(&self, event: Event) -> Self {
        let data = event.to_data();
        let bytes = match self.form {
            Form::Native => encoded(&data),
            Form::Json => {
                let message = DataMessage {
                    topic: self.topic.clone(),
                    data,
                };
                message.encode().ok().map(Bytes::from)
            }
        };
        Self {
            event,
            bytes: bytes.unwrap_or_default(),
            ..self.clone()
        }
    }
}

/// A value in Broker's binary format.
pub(super) fn encoded(data: &Data) -> Option<Bytes> {
    let mut payload = BytesMut::new();
    binary::encode(data, &mut payload).ok()?;
    Some(payload.freeze())
}

pub(super) const ACK: &str = "WebSocket acknowledgement";

/// What a WebSocket message without an event is called.
pub(super) fn kind_of_text(text: &[u8]) -> &'static str {
    match ServerMessage::decode(text) {
        Ok(ServerMessage::Answer(Answer::Ack(_))) => ACK,
        Ok(ServerMessage::Answer(Answer::Error(_))) => "WebSocket error",
        _ => "WebSocket message",
    }
}

pub(super) const TEXTS: &str = "WebSocket messages, as bytes";

pub(super) const SPACES: &str = "messages with spaces in their JSON (W-36)";

/// Whether Zeek sends several such requests at once, in the order of a hash table.
pub(super) fn is_burst(name: &ZeekString) -> bool {
    ["create", "destroy", "restart"]
        .iter()
        .any(|verb| *name == *format!("SupervisorControl::{verb}_request"))
}

/// Whether an agent says by it that it is there.
pub(super) fn is_hello(event: &Event) -> bool {
    event.name.ends_with(b"Agent::API::notify_agent_hello")
}

pub(super) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// A value as Broker prints it, with quotes around a string of its own.
pub(super) struct Value<'a>(pub(super) &'a Data);

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Data::String(text) => write!(f, "{:?}", text.to_string()),
            data => data.fmt(f),
        }
    }
}

/// The first that is found in a value, from outside to inside; of tables, in the values.
pub(super) fn find<T>(data: &Data, found: &dyn Fn(&Data) -> Option<T>) -> Option<T> {
    let inside = |data| find(data, found);
    found(data).or_else(|| match data {
        Data::Vector(elements) => elements.iter().find_map(inside),
        Data::Set(elements) => elements.iter().find_map(inside),
        Data::Table(entries) => entries.iter().find_map(|(_, value)| inside(value)),
        _ => None,
    })
}

/// The event in an envelope, if there is one.
pub(super) fn event_of(envelope: &Envelope) -> Option<Event> {
    if envelope.kind != EnvelopeKind::Data {
        return None;
    }
    Event::from_data(binary::decode(&envelope.payload).ok()?).ok()
}

/// Whether it belongs to the extension between controller and agents of ours: what an agent answers depends on its host.
pub(super) fn is_of_extension(envelope: &Envelope) -> bool {
    envelope.kind == EnvelopeKind::Data && envelope.topic.as_bytes() == topics::LINK.as_bytes()
}

/// The event in a message of whichever form, if there is one.
pub(super) fn event_in(content: &Content) -> Option<Event> {
    match content {
        Content::Envelope(envelope) => event_of(envelope),
        Content::Text(text) => event_of_text(text).map(|(_, event)| event),
        _ => None,
    }
}

/// The event in a text, if there is one.
pub(super) fn event_of_text(text: &[u8]) -> Option<(DataMessage, Event)> {
    let message = DataMessage::decode(text).ok()?;
    let event = Event::from_data(message.data.clone()).ok()?;
    Some((message, event))
}

/// The id of a request or of the request that is answered.
pub(super) fn reqid(event: &Event) -> Option<&ZeekString> {
    match event.args.first()? {
        Data::String(reqid) => Some(reqid),
        _ => None,
    }
}

pub(super) fn answer_of(request: &Event) -> Option<ZeekString> {
    let verb = request.name.strip_suffix(b"_request")?;
    Some([verb, b"_response"].concat().as_slice().into())
}
