//! What has happened so far in a replay: what rules and time-outs depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{
    message::{answer_of, find, reqid},
    recording::Process,
};

/// When an agent's requests time out, unless told otherwise (`Management::Request::timeout_interval`).
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same of a controller.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, an answer's event and the id of its request.
type Answer = (usize, ZeekString, ZeekString);

pub(super) struct History {
    pub(super) process: Arc<Process>,
    /// The requests that the peer under test has not answered, and when they were made.
    unanswered: BTreeMap<Answer, Duration>,
    /// The same of the recorded one.
    open: BTreeSet<Answer>,
    /// How often the recorded one has sent an event on a connection.
    sent: BTreeMap<(usize, ZeekString), usize>,
    /// The configuration that it has deployed last on a connection.
    deployed: BTreeMap<usize, Data>,
    incidents: BTreeSet<Incident>,
}

/// What has happened to the recorded process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Incident {
    /// It has welcomed an agent twice on a connection.
    WelcomedTwice,
    DeploymentTimedOut,
    /// It has refused a request because nothing is deployed.
    NothingDeployed,
    /// It has refused a WebSocket client's message that is not refused here.
    Refused,
    LostSupervisor,
    LostPeer,
}

impl History {
    pub(super) fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            unanswered: BTreeMap::new(),
            open: BTreeSet::new(),
            sent: BTreeMap::new(),
            deployed: BTreeMap::new(),
            incidents: BTreeSet::new(),
        }
    }

    pub(super) fn note(&mut self, incident: Incident) {
        self.incidents.insert(incident);
    }

    pub(super) fn has(&self, incident: Incident) -> bool {
        self.incidents.contains(&incident)
    }

    pub(super) fn received(&mut self, link: usize, event: &Event, time: Duration) {
        if let (Some(answer), Some(reqid)) = (answer_of(event), reqid(event)) {
            let answer = (link, answer, reqid.clone());
            self.open.insert(answer.clone());
            self.unanswered.insert(answer, time);
        }
        self.note_timeout(event);
    }

    /// The peer under test sends an event.
    pub(super) fn answered(&mut self, link: usize, event: &Event) {
        if let Some(reqid) = reqid(event) {
            self.unanswered.remove(&(link, event.name.clone(), reqid.clone()));
        }
    }

    /// The recorded one has sent an event.
    pub(super) fn recorded(&mut self, link: usize, event: &Event) {
        if let Some(reqid) = reqid(event) {
            self.open.remove(&(link, event.name.clone(), reqid.clone()));
        }
        let sent = self.sent.entry((link, event.name.clone())).or_default();
        *sent += 1;
        if *sent > 1 && event.name.ends_with(b"::agent_welcome_request") {
            self.note(Incident::WelcomedTwice);
        }
        if event.name.ends_with(b"::deploy_request") {
            let config = event.args.get(1).cloned().unwrap_or_default();
            self.deployed.insert(link, config);
        }
        if event.args.iter().any(|arg| says(arg, NOTHING_DEPLOYED)) {
            self.note(Incident::NothingDeployed);
        }
        self.note_timeout(event);
    }

    fn note_timeout(&mut self, event: &Event) {
        if event.name.ends_with(b"::deploy_response") && event.args.iter().any(|arg| says(arg, TIMED_OUT)) {
            self.note(Incident::DeploymentTimedOut);
        }
    }

    /// Whether controller and agents are of releases that do not understand each other.
    pub(super) fn crosses_7_0(&self) -> bool {
        self.process.links.values().any(|link| link.crosses_7_0)
    }

    /// Whether the recorded process owes this answer.
    pub(super) fn is_open(&self, link: usize, answer: &Event) -> bool {
        reqid(answer).is_some_and(|reqid| self.open.contains(&(link, answer.name.clone(), reqid.clone())))
    }

    /// Whether it owes such an answer to any request, on a connection or on any.
    pub(super) fn owes(&self, link: Option<usize>, verb: &str) -> bool {
        let mut open = self.open.iter();
        open.any(|(on, name, _)| link.is_none_or(|link| *on == link) && name.ends_with(verb.as_bytes()))
    }

    /// Whether it has sent such an event on the connection.
    pub(super) fn has_sent(&self, link: usize, event: &Event) -> bool {
        self.sent.contains_key(&(link, event.name.clone()))
    }

    /// Whether it has deployed that configuration last on the connection.
    pub(super) fn has_deployed(&self, link: usize, request: &Event) -> bool {
        request
            .args
            .get(1)
            .is_some_and(|config| self.deployed.get(&link) == Some(config))
    }

    /// How long ago the oldest request on the connection was made.
    pub(super) fn oldest(&self, link: usize, now: Duration) -> Option<Duration> {
        let of_link = self.unanswered.iter().filter(|((on, ..), _)| *on == link);
        of_link.map(|(_, asked)| now.saturating_sub(*asked)).max()
    }

    /// Whether a request on the connection has timed out by now.
    pub(super) fn is_overdue(&self, link: usize, now: Duration) -> bool {
        self.unanswered.iter().any(|((on, answer, _), asked)| {
            let timeout = if answer.to_string().contains("Agent::API::") {
                AGENT_TIMEOUT
            } else {
                CONTROLLER_TIMEOUT
            };
            *on == link && now.saturating_sub(*asked) >= timeout
        })
    }
}

/// What a request that has timed out is answered with.
pub(super) const TIMED_OUT: &str = "request timed out";

/// What a request is answered with if nothing is deployed.
pub(super) const NOTHING_DEPLOYED: &str = "no active cluster deployment";

/// Whether a text occurs in a value.
pub(super) fn says(data: &Data, text: &str) -> bool {
    let is_there = |data: &Data| match data {
        Data::String(string) => string.to_string().contains(text).then_some(()),
        _ => None,
    };
    find(data, &is_there).is_some()
}
