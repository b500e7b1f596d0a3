//! What the peer under test asks of the Supervisor, and the recorded one did not.

use broker_codec::{Data, Envelope, data::ZeekString, zeek::Event};

use super::{Engine, Payload, matching::extra};
use crate::replay::{
    message::{answer_of, event_in, event_of, reqid},
    rules::Kind,
    standin,
};

const STATUS_REQUEST: &str = "SupervisorControl::status_request";

/// The requests for which our agent asks for the status, and those before 5.0 did not.
const DEPLOYING: [&[u8]; 3] = [
    b"::deploy_request",
    b"::set_configuration_request",
    b"::agent_standby_request",
];

impl Engine<'_> {
    /// Answers for the Supervisor what the recorded peer did not ask, as far as a rule explains it.
    pub(super) fn stand_in(&mut self, link: usize, event: &Event) {
        let known = self.process.links.get(&link).filter(|known| known.is_supervisor);
        let Some(supervisor) = known.and_then(|known| known.peer) else {
            return;
        };
        let alone = self.may_be_extra(link, event) && !self.is_recorded_later(link, event);
        let Some((topic, answer, hello)) = self.supervisor.hear(event).filter(|_| alone) else {
            return;
        };
        self.unrecorded.extend(reqid(event).cloned());
        if let Some(answer) = standin::envelope(supervisor, &topic, answer) {
            self.subject.envelope(link, answer);
            self.exclude("answers of a Supervisor that are not recorded");
        }
        if let Some(node) = hello {
            let (topic, event) = standin::hello(&node);
            self.subject.unrecorded(&topic, event);
            self.exclude("hellos of nodes that are not recorded");
        }
    }

    /// Waits for what a running peer is known to do because of a request, and the recorded one did not: that it asks for the status, of
    /// which `before` is an earlier count, and that it answers. Later, it could not be told from what is recorded there.
    pub(super) fn await_unrecorded(&mut self, link: usize, envelope: &Envelope, before: usize) {
        let Some(request) = event_of(envelope).filter(|_| self.subject.is_running()) else {
            return;
        };
        let deploys = DEPLOYING.iter().any(|verb| request.name.ends_with(verb));
        let status = Event {
            name: STATUS_REQUEST.into(),
            args: vec![Data::String("".into()), Data::String("".into())],
            metadata: None,
        };
        let mut links = self.process.links.iter();
        let supervisor = links
            .find(|(_, known)| known.is_supervisor)
            .map(|(link, _)| *link);
        if let (true, Some(supervisor)) = (deploys, supervisor)
            && self.may_be_extra(supervisor, &status)
            && !self.is_recorded_later(supervisor, &status)
        {
            while self.unrecorded.len() == before && self.subject.wait(Some(supervisor)) {
                self.fetch();
            }
        }
        let Some(answer) = answer_of(&request) else {
            return;
        };
        let event = Event {
            name: answer.clone(),
            ..request.clone()
        };
        if self.may_be_extra(link, &event) && !self.is_answered_later(link, &answer, request.args.first()) {
            while !self.has_sent(link, &answer) && self.subject.wait(Some(link)) {
                self.fetch();
            }
        }
    }

    fn may_be_extra(&self, link: usize, event: &Event) -> bool {
        self.is_explained(&extra(Kind::Extra, &event.name.to_string(), link, event))
    }

    /// Whether such an event waits for its counterpart.
    fn has_sent(&self, link: usize, name: &ZeekString) -> bool {
        let mut sent = self.queues.get(&link).into_iter().flatten();
        sent.any(|sent| matches!(&sent.what, Payload::Event(message) if message.event.name == *name))
    }

    fn is_answered_later(&self, link: usize, answer: &ZeekString, reqid: Option<&Data>) -> bool {
        let rest = self.capture.messages.iter().skip(self.position);
        let mut on_link = rest.filter(|message| message.connection == link);
        on_link.any(|message| {
            let event = event_in(&message.content);
            event.is_some_and(|event| event.name == *answer && event.args.first() == reqid)
        })
    }

    /// Whether the recorded peer made the same request to the Supervisor from here on: what is looked at may be that request, for which
    /// a running peer takes its time. The status is asked for again and again: of these requests only one counts that it makes before
    /// the next thing is asked of it.
    fn is_recorded_later(&self, link: usize, event: &Event) -> bool {
        let asks_for_status = event.name == STATUS_REQUEST;
        let rest = self.capture.messages.iter().skip(self.position);
        for (distance, message) in rest.enumerate() {
            let (Some(known), Some(recorded)) = (
                self.process.links.get(&message.connection),
                event_in(&message.content),
            ) else {
                continue;
            };
            if message.from == known.own {
                if message.connection == link && standin::is_counterpart(&recorded, event) {
                    return true;
                }
            } else if asks_for_status && distance > 0 && recorded.name.ends_with(b"_request") {
                return false;
            }
        }
        false
    }
}
