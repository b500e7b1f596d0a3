//! What differs between an event and its counterpart.

use broker_codec::{Data, handshake::Message as Handshake, zeek::Event};
use bytes::Bytes;
use mgmt_api::schema::Layout;

use super::{Engine, Payload};
use crate::replay::{
    capture::Message,
    history::Incident,
    json,
    message::{ACK, EventMessage, Form, SPACES, TEXTS, kind_of_text, lossy},
    names::{Mismatch, mismatches},
    recording::{Role, pid_of},
    report::Difference,
    rules::{Case, Kind},
};

impl Engine<'_> {
    /// Takes the first of a kind out of what was sent on a connection.
    fn take(&mut self, link: usize, is: impl Fn(&Payload) -> bool) -> Option<Bytes> {
        let queue = self.queues.get_mut(&link)?;
        let position = queue.iter().position(|sent| is(&sent.what))?;
        match queue.remove(position)?.what {
            Payload::Handshake(bytes) | Payload::Text(bytes) => Some(bytes),
            Payload::Event(_) => None,
        }
    }

    pub(super) fn expect_handshake(&mut self, message: &Message, recorded: &Bytes) {
        if self.subject.is_running() {
            return self.exclude("handshake messages: the peer has its own endpoint");
        }
        let in_words = |frame: &Bytes| match Handshake::decode(frame) {
            Ok(message) => format!("{message:?}"),
            Err(error) => error.to_string(),
        };
        let got = self.take(message.connection, |what| matches!(what, Payload::Handshake(_)));
        if got.as_ref() == Some(recorded) {
            return self.report.count("handshake messages, as bytes", 1);
        }
        let got = got.as_ref().map_or_else(|| "nothing".into(), in_words);
        self.differs(message, "handshake", in_words(recorded), got);
    }

    /// An acknowledgement or an error message.
    pub(super) fn expect_text(&mut self, message: &Message, recorded: &Bytes) {
        let link = message.connection;
        let name = kind_of_text(recorded);
        let expected = json::without_spaces(recorded);
        let mut got = None;
        for _ in 0..self.waits_max() {
            got = self.take(link, |what| matches!(what, Payload::Text(_)));
            if got.is_some() {
                break;
            }
            let missing = Case::new(Kind::Missing, name, link);
            if self.judge.explain(&missing, self.report) {
                return self.judge.history.note(Incident::Refused);
            }
            if !self.wait(link) {
                break;
            }
        }
        match got {
            Some(got) if got == expected => {
                self.report.count(TEXTS, 1);
                if expected != recorded {
                    self.exclude(SPACES);
                }
            }
            Some(got) if self.subject.is_running() && name == ACK && kind_of_text(&got) == ACK => {
                self.exclude("acknowledgements: the peer has its own id and version");
            }
            got => {
                let got = got.map_or_else(|| "nothing".into(), |got| lossy(&got));
                self.differs(message, name, lossy(&expected), got);
            }
        }
    }

    fn differs(&mut self, message: &Message, event: &str, expected: String, got: String) {
        let difference = self.difference(message, event.into());
        self.report.differences.push(difference.between(expected, got));
    }

    /// Compares what was sent with what was recorded, bytes first.
    pub(super) fn compare(&mut self, message: &Message, recorded: EventMessage, sent: EventMessage) {
        let name = recorded.event.name.to_string();
        let mut recorded = recorded;
        if matches!(&recorded.event.metadata, Some(metadata) if !metadata.is_empty())
            && sent.event.metadata.as_ref().is_none_or(Vec::is_empty)
        {
            // Zeek 6.0 to 7.2 say what time it is.
            self.exclude("network timestamps in events");
            let event = Event {
                metadata: sent.event.metadata.clone(),
                ..recorded.event.clone()
            };
            recorded = recorded.with(event);
        }
        let bytes = json::without_spaces(&recorded.bytes);
        if recorded.form == Form::Json && bytes != recorded.bytes {
            self.exclude(SPACES);
            recorded.bytes = bytes;
        }
        if let Err(taken) = self.learn_id(&recorded.event, &sent.event) {
            let difference = self.difference(message, name.clone());
            self.report.differences.push(Difference {
                path: "reqid".into(),
                note: taken,
                ..difference
            });
            return;
        }
        let recorded = recorded.with_args(|arg| self.ids.comparable(arg));
        let sent = sent.with_args(|arg| self.ids.to_recorded(arg));
        let alike = sent.bytes == recorded.bytes;
        let differences = differences(&recorded, &sent, alike);
        let how = match (differences.is_empty(), alike, recorded.form) {
            (true, true, Form::Native) => "events, topic and payload as bytes",
            (true, false, Form::Native) => "events, as values without the order of a hash table",
            (true, true, Form::Json) => TEXTS,
            (true, false, Form::Json) => "WebSocket messages, as values without the order of a hash table",
            (false, ..) => "events, but for deviations that are explained",
        };
        let case = Case {
            recorded: Some(&recorded.event),
            sent: Some(&sent.event),
            ..Case::new(Kind::Differs, &name, message.connection)
        };
        let of = self.difference(message, name.clone());
        if self.judge.compare(differences, &case, &of, self.report) {
            self.report.count(how, 1);
        }
    }

    /// The id of a request is the recorded one, or stands for it from now on; so is the endpoint ID of an agent in its hello.
    fn learn_id(&mut self, recorded: &Event, sent: &Event) -> Result<(), String> {
        if let Role::Agent(instance) = &self.process.role
            && recorded.name.ends_with(b"::get_nodes_response")
        {
            self.ids
                .learn_pid(pid_of(sent, instance), pid_of(recorded, instance));
        }
        let place = if recorded.name.ends_with(b"request") {
            0
        } else if recorded.name.ends_with(b"notify_agent_hello") {
            1
        } else {
            return Ok(());
        };
        match (sent.args.get(place), recorded.args.get(place)) {
            (Some(Data::String(own)), Some(Data::String(recorded)))
                if own != recorded && !own.is_empty() && !recorded.is_empty() =>
            {
                self.ids.bind(own, recorded).map_err(|taken| taken.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Where an event and its counterpart differ.
fn differences(recorded: &EventMessage, sent: &EventMessage, alike: bool) -> Vec<Mismatch> {
    let text = |text: String| Data::String(text.as_str().into());
    let envelope = |message: &EventMessage| {
        let metadata = text(format!("{:?}", message.event.metadata));
        [
            ("topic", Data::String(message.topic.clone())),
            ("ttl", Data::Count(message.ttl.into())),
            ("metadata", metadata),
        ]
    };
    let pairs = std::iter::zip(envelope(recorded), envelope(sent));
    let mut differences: Vec<Mismatch> = pairs
        .filter(|(recorded, sent)| recorded != sent)
        .map(|((path, expected), (_, got))| Mismatch::new(path, expected, got))
        .collect();
    if !alike {
        differences.extend(mismatches(&recorded.event, &sent.event.args));
    }
    if !alike && differences.is_empty() && !Layout::of(&recorded.event).is_unordered() {
        let [expected, got] = [recorded, sent].map(|message| match message.form {
            Form::Json => text(lossy(&message.bytes)),
            Form::Native => text(hex::encode(&message.bytes)),
        });
        differences.push(Mismatch::new("the order of values", expected, got));
    }
    differences
}
