//! What of a running peer is waited for. In this process, what is not said at once will not be; elsewhere that takes its time,
//! and what cannot come is not to be waited for.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{Data, Envelope, data::ZeekString, zeek::Event};

use super::{Engine, Said};
use crate::replay::{
    recording::event_of,
    statement::{Statement, is_burst},
};

/// Hellos that a running agent cannot be expected to say.
pub(super) const HELLOS: &str = "hellos repeated for an earlier peering";

/// Requests that a running peer makes again because the recording is waited for.
pub(super) const REPETITIONS: &str = "requests repeated while the recording was waited for";

/// What the peer under test owes the others.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// The answers that were asked for and did not come: their events and the ids of the requests.
    answers: BTreeSet<(ZeekString, ZeekString)>,
    /// Per connection, how many hellos are due: an agent says it to all its peers whenever one is added.
    hellos: BTreeMap<usize, usize>,
}

impl Debts {
    /// A peering comes about.
    pub(super) fn peered(&mut self, link: usize) {
        self.hellos.entry(link).or_default();
        for due in self.hellos.values_mut() {
            *due += 1;
        }
    }

    /// A peer says something.
    pub(super) fn asked(&mut self, envelope: &Envelope) {
        if let Some(event) = event_of(envelope)
            && let Some(what) = event.name.strip_suffix(b"_request")
            && let Some(reqid) = reqid(&event)
        {
            let answer = [what, b"_response"].concat();
            self.answers.insert((answer.as_slice().into(), reqid.clone()));
        }
    }

    /// Whether an event of the recording is due. Zeek's agent answers some requests twice, and says hello twice to a peer if it
    /// hears of an earlier peering only then: when it does, nobody sees.
    pub(super) fn settle(&mut self, link: usize, recorded: &Event) -> bool {
        if is_hello(&recorded.name) {
            let due = self.hellos.entry(link).or_default();
            let is_due = *due > 0;
            *due = due.saturating_sub(1);
            is_due
        } else if is_agents(&recorded.name) && recorded.name.ends_with(b"_response") {
            reqid(recorded).is_some_and(|reqid| self.answers.remove(&(recorded.name.clone(), reqid.clone())))
        } else {
            true
        }
    }
}

fn is_agents(name: &ZeekString) -> bool {
    name.to_string().contains("Agent::API::")
}

/// Whether an agent says that it is there.
pub(super) fn is_hello(name: &ZeekString) -> bool {
    name.ends_with(b"Agent::API::notify_agent_hello")
}

fn reqid(event: &Event) -> Option<&ZeekString> {
    match event.args.first()? {
        Data::String(reqid) => Some(reqid),
        _ => None,
    }
}

impl Engine<'_> {
    /// Whether a running peer asks again what it has asked under the same id, rather than what is recorded: something that it does
    /// not do was waited for, and with it the answer.
    pub(super) fn is_repetition(&self, sent: &Event, recorded: &Event) -> bool {
        let asked = reqid(sent).and_then(|own| self.ids.recorded(own));
        self.subject.is_running()
            && sent.name.ends_with(b"_request")
            && asked.is_some_and(|asked| Some(asked) != reqid(recorded))
    }

    /// Waits until the counterpart of a request to the Supervisor is there: the order of a burst is that of a hash table, and a
    /// running peer may still be at it.
    pub(super) fn await_rest_of_burst(&mut self, link: usize, recorded: &Statement) {
        if !self.subject.is_running() || !is_burst(&recorded.event.name) {
            return;
        }
        while !self.has_counterpart(link, recorded) && self.subject.wait(Some(link)) {
            self.fetch();
        }
    }

    fn has_counterpart(&self, link: usize, recorded: &Statement) -> bool {
        self.waiting(link).any(|sent| {
            sent.event.name == recorded.event.name
                && !self.is_unrecorded(&sent.event)
                && self.likeness(sent, recorded) > 1
        })
    }

    /// Whether such an event has been sent and not been asked for yet.
    pub(super) fn has_sent(&self, link: usize, name: &ZeekString) -> bool {
        self.waiting(link).any(|sent| sent.event.name == *name)
    }

    fn waiting(&self, link: usize) -> impl Iterator<Item = &Statement> {
        let queue = self.queues.get(&link).into_iter().flatten();
        queue.filter_map(|sent| match &sent.what {
            Said::Event(statement) => Some(statement),
            Said::Handshake(_) | Said::Text(_) => None,
        })
    }
}
