//! What the peer under test asks of the Supervisor, and the recorded one did not.

use broker_codec::{Data, zeek::Event};

use super::Engine;
use crate::replay::{
    capture::Content,
    standin::{self, Reaction},
    statement::Statement,
    waivers::Deviation,
};

impl Engine<'_> {
    /// Answers for the Supervisor what the recorded peer did not ask, as far as that is waived.
    pub(super) fn stand_in(&mut self, link: usize, event: &Event) {
        let supervisor = self
            .life
            .links
            .get(&link)
            .filter(|known| known.is_supervisor)
            .and_then(|known| known.peer);
        let Some(supervisor) = supervisor else {
            return;
        };
        let alone = self.ledger.can_take(&Deviation::Extra(event.name.to_string()))
            && !self.is_recorded_later(link, event);
        if let (true, Some(Data::String(reqid))) = (alone, event.args.first()) {
            self.unrecorded.insert(reqid.clone());
        }
        let Reaction { answer, hello } = self.supervisor.hear(event, alone);
        let answer = answer.and_then(|(topic, answer)| standin::envelope(supervisor, &topic, answer));
        if let Some(answer) = answer {
            self.subject.envelope(link, answer);
            self.exclude("answers of a Supervisor that are not recorded");
        }
        if let Some(node) = hello {
            let (topic, event) = standin::hello(&node);
            self.subject.unrecorded(&topic, event);
            self.exclude("hellos of nodes that are not recorded");
        }
    }

    /// Whether the recorded peer made the same request to the Supervisor from here on. The status is asked for again and again:
    /// of these requests only one counts that it makes before the next thing is asked of it.
    fn is_recorded_later(&self, link: usize, event: &Event) -> bool {
        let asks_for_status = event.name == "SupervisorControl::status_request";
        let rest = self.capture.messages.iter().skip(self.position + 1);
        for message in rest {
            let (Some(known), Content::Envelope(envelope)) =
                (self.life.links.get(&message.connection), &message.content)
            else {
                continue;
            };
            let Some(statement) = Statement::of_envelope(envelope) else {
                continue;
            };
            if message.from == known.own {
                if message.connection == link && standin::is_counterpart(&statement, event) {
                    return true;
                }
            } else if asks_for_status && statement.event.name.ends_with(b"_request") {
                return false;
            }
        }
        false
    }
}
