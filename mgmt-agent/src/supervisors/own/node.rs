//! One node of our own supervision: its process, and what is to become of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_api::{ClusterRole, Now};
use supervise::process::{Effect, Event, Policy, Process, Then};

use crate::core::{ClusterNode, NodePolicy, NodeSpec, order::Launch};

/// When nodes are started again, and how they are stopped.
const fn policy(chosen: NodePolicy) -> Policy {
    Policy {
        delay: Duration::from_millis(500),
        starts_per_delay: 1,
        delay_max: chosen.restart_max,
        since_start: false,
        steady: Duration::from_secs(30),
        // One that dies at 29 seconds each time and one that does at 31 do not differ.
        forgives: Some(Duration::from_secs(60)),
        fails: match chosen.fails_after {
            0 => None,
            ends => Some((ends, chosen.failed_retry)),
        },
        terms: 1,
        round: chosen.stop_timeout,
        kills: true,
    }
}

/// The stage in which workers start, the last.
pub(super) const WORKERS: u8 = 4;

/// How often it is looked whether what a node lacks is there.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Node {
    /// What it was started with, or is to be.
    pub(super) launch: Box<Launch>,
    /// Whether that was made by other settings than today's, or for another Zeek.
    pub(super) is_outdated: bool,
    /// Whether its process is to know of other workers than are written down for it.
    pub(super) is_unwritten: bool,
    /// The process, while there is one.
    pub(super) pid: Option<i64>,
    process: Process,
    /// How long it keeps others waiting at most.
    stage_timeout: Duration,
    /// Whether the process has said hello.
    pub(super) is_up: bool,
    /// When the process was started, or found,
    started: Now,
    /// and how long it had run then.
    ran: Duration,
    pub(super) intent: Intent,
    /// When its process was told to end.
    told_to_end: Option<Now>,
    /// Until when it keeps later stages waiting, unless it comes up before.
    holds_up_until: Option<Now>,
    /// The cluster that its process knows: from its layout, and by being told of workers since.
    pub(super) knows: Arc<BTreeMap<ZeekString, ClusterNode>>,
    /// What it waits for, as it was told.
    pub(super) lacks: Option<String>,
}

/// What is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// It is started, in its turn.
    Start,
    /// It is kept running.
    Run,
    /// Its process ends, in its turn, and the node is started anew; with another launch, if there is one.
    Restart(Option<Box<Launch>>),
    /// Its process ends, in its turn, and the node is forgotten.
    End,
}

impl Node {
    /// A node that is to be started.
    pub(super) fn new(launch: Box<Launch>, chosen: NodePolicy) -> Self {
        Self {
            process: Process::new(policy(chosen)).spread(seed(&launch.spec)),
            stage_timeout: chosen.stage_timeout,
            knows: launch.spec.cluster.clone(),
            launch,
            is_outdated: false,
            is_unwritten: false,
            pid: None,
            is_up: false,
            started: Now::START,
            ran: Duration::ZERO,
            intent: Intent::Start,
            told_to_end: None,
            holds_up_until: None,
            lacks: None,
        }
    }

    /// A node that runs already.
    pub(super) fn found(
        launch: Box<Launch>,
        chosen: NodePolicy,
        now: Now,
        (pid, age): (i64, Duration),
    ) -> Self {
        let mut node = Self::new(launch, chosen);
        node.intent = Intent::Run;
        node.is_outdated = true;
        node.was_started(now, pid);
        node.ran = age;
        node.holds_up_until = None;
        node
    }

    fn role(&self) -> ClusterRole {
        let places = &self.launch.spec.cluster;
        places
            .get(self.launch.node())
            .map_or(ClusterRole::None, |place| place.role)
    }

    /// Loggers first, so that every line of a log has a place to go; with ZeroMQ the manager, through which all others meet.
    pub(super) fn start_stage(&self) -> u8 {
        match self.role() {
            ClusterRole::Manager if self.launch.is_zeromq() => 0,
            ClusterRole::Logger => 1,
            ClusterRole::Manager => 2,
            ClusterRole::Proxy => 3,
            _ => WORKERS,
        }
    }

    /// Workers first and loggers last, so that no line of theirs is lost.
    pub(super) fn stop_stage(&self) -> u8 {
        match self.role() {
            ClusterRole::Logger => 2,
            ClusterRole::Manager | ClusterRole::Proxy => 1,
            _ => 0,
        }
    }

    pub(super) fn step(&mut self, now: Now, event: Event) -> Option<Effect> {
        let effect = self.process.step(now.since_start(), event);
        if effect == Some(Effect::Spawn) {
            self.knows = self.launch.spec.cluster.clone();
            self.is_unwritten = false;
        }
        effect
    }

    /// For how long its process has run.
    pub(super) fn age(&self, now: Now) -> Option<Duration> {
        self.pid.map(|_| now - self.started + self.ran)
    }

    pub(super) fn was_started(&mut self, now: Now, pid: i64) {
        let _ = self.step(now, Event::Spawned);
        self.pid = Some(pid);
        self.started = now;
        self.ran = Duration::ZERO;
        self.is_up = false;
        self.lacks = None;
    }

    /// Its turn to start has come.
    pub(super) fn start(&mut self, now: Now) -> Option<Effect> {
        self.intent = Intent::Run;
        self.holds_up_until = Some(now + self.stage_timeout);
        self.step(now, Event::Start)
    }

    /// Its turn to end has come.
    pub(super) fn stop(&mut self, now: Now) -> Option<Effect> {
        self.told_to_end = Some(now);
        self.step(now, Event::Stop(Then::Stay))
    }

    /// Until when nodes that are to start wait for its end: another one, which does not end, is no reason to go without all.
    pub(super) fn delays_starts(&self, now: Now) -> Option<Now> {
        let until = self.told_to_end? + self.stage_timeout;
        (self.is_stopping() && until > now).then_some(until)
    }

    /// It could not be started, as this is not there. Says whether that is news.
    pub(super) fn waits_for(&mut self, now: Now, what: &str) -> bool {
        let _ = self.step(now, Event::Lacks(LOOKS_AGAIN));
        self.lacks.replace(what.to_owned()).as_deref() != Some(what)
    }

    /// Its process has ended, unasked. Returns after how long it is started again.
    pub(super) fn ended(&mut self, now: Now) -> Duration {
        // One that never came up has not lived, whatever kept it.
        let came_up = self.is_up || !self.ran.is_zero();
        let lived = self.age(now).filter(|_| came_up).unwrap_or_default();
        self.pid = None;
        self.is_up = false;
        let _ = self.step(now, Event::Ended { lived });
        self.again_in(now)
    }

    pub(super) fn not_started(&mut self, now: Now) -> Duration {
        let _ = self.step(now, Event::NotSpawned);
        self.again_in(now)
    }

    fn again_in(&self, now: Now) -> Duration {
        let due = self.process.deadline().unwrap_or_default();
        due.saturating_sub(now.since_start())
    }

    /// It has no process any more, or none yet, and is to have none. The next one has nothing to make up for.
    pub(super) fn stopped(&mut self) {
        self.process.forget();
        self.pid = None;
        self.is_up = false;
        self.lacks = None;
    }

    /// Has it end, if it runs, and start in its turn.
    pub(super) fn restart(&mut self, launch: Option<Box<Launch>>) {
        if self.has_process() {
            self.intent = Intent::Restart(launch);
        } else {
            self.start_anew(launch);
        }
    }

    /// What it runs with, and what it is to be started with.
    pub(super) fn launches(&self) -> impl Iterator<Item = &Launch> {
        let next = match &self.intent {
            Intent::Restart(next) => next.as_deref(),
            _ => None,
        };
        [Some(&*self.launch), next].into_iter().flatten()
    }

    /// How it is to run, when it is started the next time.
    pub(super) fn wanted(&self) -> &NodeSpec {
        match &self.intent {
            Intent::Restart(Some(launch)) => &launch.spec,
            _ => &self.launch.spec,
        }
    }

    /// It has no process any more, or none yet, and is started in its turn, with another launch if there is one.
    pub(super) fn start_anew(&mut self, launch: Option<Box<Launch>>) {
        self.stopped();
        self.intent = Intent::Start;
        if let Some(launch) = launch {
            self.launch = launch;
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.process.has_failed()
    }

    /// Whether its process is on its way up or runs.
    pub(super) const fn has_process(&self) -> bool {
        self.pid.is_some() || self.process.is_starting()
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.process.is_stopping()
    }

    /// Whether its process is to end, and has not been told.
    pub(super) const fn is_to_stop(&self) -> bool {
        matches!(self.intent, Intent::End | Intent::Restart(_)) && self.pid.is_some() && !self.is_stopping()
    }

    /// Until when nodes of later stages wait for it.
    pub(super) fn holds_up(&self, now: Now) -> Option<Now> {
        let is_coming = self.intent == Intent::Run && !self.is_up;
        self.holds_up_until.filter(|until| is_coming && *until > now)
    }

    /// That others wait for it no longer, who start in this stage, is told once. Returns why they have waited.
    pub(super) fn take_why_awaited(&mut self, stage: u8) -> Option<&'static str> {
        if self.is_stopping() && self.told_to_end.take().is_some() {
            return Some("has not ended");
        }
        let is_coming = self.intent == Intent::Run && !self.is_up && self.start_stage() < stage;
        (is_coming && self.holds_up_until.take().is_some()).then_some("has not connected to the agent")
    }

    /// When it has something to do by itself.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.process.deadline().map(|due| Now::START + due)
    }
}

/// By which the starts of nodes are spread that end together. Those of a fan-out group of `AF_PACKET` are not: each that comes or goes moves
/// flows of all, so they come at the same time.
fn seed(spec: &NodeSpec) -> u64 {
    let group = spec
        .interface
        .as_ref()
        .filter(|interface| interface.starts_with(b"af_packet::"));
    let name = group.unwrap_or(&spec.name);
    let fold = |seed: u64, byte: &u8| seed.wrapping_mul(31).wrapping_add(u64::from(*byte));
    name.iter().fold(1, fold) | 1
}
