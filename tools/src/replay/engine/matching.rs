//! Which of the events that were sent is the counterpart of a recorded one.
//!
//! On a connection, events are due in the recorded order, with two exceptions. What the peer under test sends because of things on
//! different connections may change places, for how these are interleaved is not seen. So may requests of one kind to the Supervisor
//! that are sent at once, for their order is that of a hash table.

use std::time::Duration;

use broker_codec::{Data, zeek::Event};
use mgmt_agent::supervisors::zeek::PROBE;
use mgmt_api::topics;

use super::{Engine, Payload, Sent};
use crate::replay::{
    capture::{Content, Message},
    history::says,
    message::{EventMessage, Value, is_burst, is_hello, kind_of_text, lossy, reqid},
    report::{COPIES, Difference, HELLOS},
    rules::{Case, Kind},
};

/// How long before the end of a capture something may happen whose consequences are not in it.
const LAST_TIME: Duration = Duration::from_millis(100);

/// What is most like a recorded event: it has the same id, or another first argument that is the same.
const SAME_ID: u8 = 4;

impl Engine<'_> {
    /// The recorded peer sent this event.
    pub(super) fn expect(&mut self, message: &Message, recorded: EventMessage) {
        let link = message.connection;
        let event = recorded.event.clone();
        let is_probe = event.args.len() == 2 && event.args.iter().all(|arg| says(arg, PROBE));
        if is_probe && recorded.topic == *topics::SUPERVISOR {
            // They depend on the time alone, and no Supervisor here is a process of the agent's.
            return self.exclude("health probes");
        }
        match self.await_counterpart(link, &recorded) {
            Some(sent) => self.compare(message, recorded, sent),
            None => self.missing(message, &event),
        }
        self.judge.history.recorded(link, &event);
    }

    fn missing(&mut self, message: &Message, event: &Event) {
        let link = message.connection;
        if let Some(what) = self.by_chance(link, event) {
            return self.exclude(what);
        }
        let name = event.name.to_string();
        if self.judge.explain(&missing(&name, link, event), self.report) {
            return;
        }
        let difference = self.difference(message, name);
        let next = self.queues.get(&link).and_then(|queue| queue.front());
        let note = match next.map(|sent| &sent.what) {
            Some(Payload::Event(next)) => {
                format!("was not sent; what comes next is {}", next.event.name)
            }
            _ => "was not sent".into(),
        };
        self.report.differences.push(Difference { note, ..difference });
    }

    /// The counterpart, once it is there. What would be due before it is taken for something that is not recorded.
    fn await_counterpart(&mut self, link: usize, recorded: &EventMessage) -> Option<EventMessage> {
        let name = recorded.event.name.to_string();
        let may_be_missing = self.is_explained(&missing(&name, link, &recorded.event))
            || self.by_chance(link, &recorded.event).is_some();
        let is_answer = !recorded.event.name.ends_with(b"_request");
        let mut waits = self.waits_max();
        let position = loop {
            let found = self.counterpart(link, recorded);
            // A running peer may still be at it.
            let is_certain = !self.subject.is_running() || !is_burst(&recorded.event.name);
            match found {
                Some((_, likeness))
                    if may_be_missing && (likeness == 0 || is_answer && likeness < SAME_ID) =>
                {
                    return None;
                }
                Some((position, likeness)) if is_certain || likeness > 1 => break position,
                None if may_be_missing => return None,
                found if waits == 0 || !self.wait(link) => break found?.0,
                _ => waits -= 1,
            }
        };
        let queue = self.queues.get_mut(&link)?;
        let mut passed: Vec<Sent> = queue.drain(..=position).collect();
        let sent = passed.pop()?;
        let Payload::Event(found) = sent.what else {
            return None;
        };
        if sent.overtaken {
            self.judge
                .explain(&extra(Kind::Early, &name, link, &found.event), self.report);
        }
        let mut kept = Vec::new();
        for mut other in passed {
            other.overtaken = true;
            if self.may_be_passed(link, &other, sent.cause, &found) {
                kept.push(other);
            } else {
                self.extra(link, &other);
            }
        }
        for other in kept.into_iter().rev() {
            self.queues.entry(link).or_default().push_front(other);
        }
        Some(found)
    }

    /// The best of those that are due, else the first of that name, and how like it is.
    fn counterpart(&self, link: usize, recorded: &EventMessage) -> Option<(usize, u8)> {
        let queue = self.queues.get(&link)?;
        let mut best: Option<(usize, u8)> = None;
        let mut first = None;
        for (position, sent) in queue.iter().enumerate() {
            let Payload::Event(message) = &sent.what else {
                continue;
            };
            if message.event.name != recorded.event.name || self.is_unrecorded(&message.event) {
                continue;
            }
            let likeness = self.likeness(&message.event, &recorded.event);
            first = first.or(Some((position, likeness)));
            let mut before = queue.iter().take(position);
            let is_due =
                likeness > 0 && before.all(|other| self.may_be_passed(link, other, sent.cause, message));
            if is_due && best.is_none_or(|(_, other)| likeness > other) {
                best = Some((position, likeness));
            }
        }
        best.or(first)
    }

    /// Whether something may come later than what was sent after it.
    fn may_be_passed(&self, link: usize, earlier: &Sent, cause: Option<usize>, later: &EventMessage) -> bool {
        let Payload::Event(message) = &earlier.what else {
            return earlier.cause != cause;
        };
        let name = message.event.name.to_string();
        earlier.cause != cause
            || is_burst(&message.event.name) && message.event.name == later.event.name
            || self.by_chance(link, &message.event).is_some()
            || self.is_explained(&extra(Kind::Extra, &name, link, &message.event))
            || self.is_explained(&extra(Kind::Early, &name, link, &message.event))
            || self.is_repetition(&message.event)
    }

    /// How like a recorded event an event is; 0 if its id stands for another one.
    fn likeness(&self, sent: &Event, recorded: &Event) -> u8 {
        let bound = reqid(sent).map(|own| self.ids.recorded(own).unwrap_or(own));
        let is_request = sent.name.ends_with(b"_request");
        if bound == reqid(recorded) {
            return SAME_ID + u8::from(sent.args == recorded.args);
        }
        match (sent.args.get(1), recorded.args.get(1)) {
            _ if is_request && bound != reqid(sent) => 0,
            (Some(own), Some(other)) if is_request && own == other => 3,
            // The node has the same name.
            (Some(Data::Vector(own)), Some(Data::Vector(other)))
                if is_request && own.first() == other.first() =>
            {
                2
            }
            _ => 1,
        }
    }

    pub(super) fn is_unrecorded(&self, event: &Event) -> bool {
        reqid(event).is_some_and(|reqid| self.unrecorded.contains(reqid))
    }

    /// Whether the interleaving of connections decides if an event is sent, and what it is then.
    fn by_chance(&self, link: usize, event: &Event) -> Option<&'static str> {
        if is_hello(event) && self.judge.history.has_sent(link, event) {
            Some(HELLOS)
        } else {
            self.copies.may_see(link, event).then_some(COPIES)
        }
    }

    /// Whether a request has the id of one that has its counterpart.
    fn is_repetition(&self, event: &Event) -> bool {
        event.name.ends_with(b"_request") && reqid(event).is_some_and(|own| self.ids.recorded(own).is_some())
    }

    /// Reports what was sent and has no counterpart.
    pub(super) fn extra(&mut self, link: usize, sent: &Sent) {
        let (event, content) = match &sent.what {
            Payload::Handshake(_) => ("handshake".into(), None),
            Payload::Text(text) => (kind_of_text(text).into(), Some(lossy(text))),
            Payload::Event(EventMessage { event, .. }) => {
                if let Some(what) = self.by_chance(link, event) {
                    return self.exclude(what);
                }
                let name = event.name.to_string();
                let case = Case {
                    repeats: self.is_repetition(event),
                    ..extra(Kind::Extra, &name, link, event)
                };
                if self.judge.explain(&case, self.report) {
                    return;
                }
                let args: Vec<String> = event.args.iter().map(|arg| Value(arg).to_string()).collect();
                (name, Some(args.join(", ")))
            }
        };
        self.report.differences.push(Difference {
            frame: Some(sent.after),
            connection: self.connection(link),
            event,
            got: content,
            note: "was sent after this frame and is not recorded".into(),
            ..Difference::default()
        });
    }

    /// What has found no counterpart.
    pub(super) fn remaining(&mut self) {
        for (link, sent) in std::mem::take(&mut self.queues) {
            for sent in sent {
                if self.is_cut_off(link, sent.after) {
                    self.exclude("messages that the capture is too short for");
                } else {
                    self.extra(link, &sent);
                }
            }
        }
    }

    /// Whether the capture ends soon after this packet, and the connection does not.
    fn is_cut_off(&self, link: usize, frame: u64) -> bool {
        let messages = &self.capture.messages;
        let since = messages.iter().find(|message| message.frame >= frame);
        let left = since
            .zip(messages.last())
            .map(|(since, last)| last.time.saturating_sub(since.time));
        let is_end =
            |message: &Message| message.connection == link && matches!(message.content, Content::Closed);
        left.is_some_and(|left| left < LAST_TIME) && !messages.iter().any(is_end)
    }

    /// Whether a rule explains a deviation.
    pub(super) fn is_explained(&self, case: &Case<'_>) -> bool {
        self.judge.explanation(case).is_some()
    }
}

fn missing<'a>(name: &'a str, link: usize, recorded: &'a Event) -> Case<'a> {
    Case {
        recorded: Some(recorded),
        ..Case::new(Kind::Missing, name, link)
    }
}

pub(super) fn extra<'a>(kind: Kind, name: &'a str, link: usize, sent: &'a Event) -> Case<'a> {
    Case {
        sent: Some(sent),
        ..Case::new(kind, name, link)
    }
}
