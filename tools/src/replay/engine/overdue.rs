//! Answers that a recording lacks, and that the peer under test gives when the request times out: time stands still, so nothing else
//! would bring them about.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{Engine, WAITS_MAX};

/// When an agent's requests time out, unless told otherwise (`Management::Request::timeout_interval`).
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same of a controller.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a running peer has at least to answer a request before the connection ends, if the recorded one did not answer it.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A connection, an answer's event and the id of its request.
type Question = (usize, ZeekString, ZeekString);

/// What the peer under test was asked and has not answered, and when.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<Question, Duration>);

impl Questions {
    /// Somebody says something on a connection.
    pub(super) fn heard(&mut self, link: usize, event: &Event, time: Duration) {
        if let Some(verb) = event.name.strip_suffix(b"_request")
            && let Some(Data::String(reqid)) = event.args.first()
        {
            let answer = [verb, b"_response"].concat();
            self.0
                .insert((link, answer.as_slice().into(), reqid.clone()), time);
        }
    }

    /// The peer under test says something.
    pub(super) fn said(&mut self, link: usize, event: &Event) {
        if let Some(Data::String(reqid)) = event.args.first() {
            self.0.remove(&(link, event.name.clone(), reqid.clone()));
        }
    }

    /// How long ago the oldest request on the connection was made.
    fn oldest(&self, link: usize, now: Duration) -> Option<Duration> {
        let of_link = self.0.iter().filter(|((on, ..), _)| *on == link);
        of_link.map(|(_, asked)| now.saturating_sub(*asked)).max()
    }

    /// Whether a request on the connection has timed out by now.
    fn is_overdue(&self, link: usize, now: Duration) -> bool {
        self.0.iter().any(|((on, answer, _), asked)| {
            let timeout = if answer.to_string().contains("Agent::API::") {
                AGENT_TIMEOUT
            } else {
                CONTROLLER_TIMEOUT
            };
            *on == link && now.saturating_sub(*asked) >= timeout
        })
    }
}

impl Engine<'_> {
    /// Before a connection ends: lets requests on it time out that were made so long ago. A running peer has a clock of its own, and
    /// as much time for its answers as the recorded one had.
    pub(super) fn time_out(&mut self, link: usize, now: Duration) {
        if self.subject.is_running() {
            while let Some(passed) = self.questions.oldest(link, now)
                && self.subject.linger(link, passed.max(ANSWER_TIME))
            {
                self.fetch();
            }
            return;
        }
        for _ in 0..WAITS_MAX {
            if !self.questions.is_overdue(link, now) || !self.subject.wait(Some(link)) {
                break;
            }
            self.fetch();
        }
    }
}
