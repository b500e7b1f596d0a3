//! This instance's nodes and their states.

use std::time::Duration;

use broker_codec::data::ZeekString;
use mgmt_api::{Node, NodeOutputs, Now, State};

/// The shortest time that Zeek's Supervisor lets pass between two starts of a node by itself is a second (`Supervisor.cc`, `Stem::Revive`).
/// Of two that are reported within
/// this time, the first was of a process that was about to be replaced.
const REVIVAL_MIN: Duration = Duration::from_millis(500);

/// How long the message about an end waits for what the node wrote. The Supervisor passes that on with the report of the next start, or
/// there was nothing.
const OUTPUT_WAIT: Duration = Duration::from_millis(250);

/// An end that has not been told yet.
#[derive(Clone, Debug)]
pub(super) struct Crash {
    pub(super) how: Option<String>,
    pub(super) due: Now,
}

impl Crash {
    /// One that is noticed now. How it came about, the Supervisor may not tell.
    pub(super) fn new(now: Now, how: Option<String>) -> Self {
        Self {
            how,
            due: now + OUTPUT_WAIT,
        }
    }
}

/// A node of the running configuration.
///
/// ```text
///   (created), restarted   --> PENDING --hello--> RUNNING
///   ended, and started again, unasked --> CRASHED --hello--> RUNNING
///   refused, or ended early five times, unless told otherwise --> FAILED --hello--> RUNNING
///   stopped by an operator, or has done its work --> STOPPED until it is started
///   the Supervisor cannot be reached, or the node is silent --> UNKNOWN
/// ```
///
/// DIFFERENCE(node-states): Zeek's agent knows PENDING and RUNNING only; a node that crashes stays RUNNING. It declares
/// `notify_change` and `notify_log` and never sends them (Q-29).
#[derive(Clone, Debug)]
pub(super) struct OwnNode {
    /// As configured; its state is the real one.
    pub(super) node: Node,
    /// Whether there was a process of that name before, which may have been started once more before its end.
    pub(super) replaces: bool,
    /// The process id, as last heard.
    pub(super) pid: Option<i64>,
    /// When the Supervisor was told to start it.
    pub(super) since: Now,
    /// When it was last started, if this agent was told.
    pub(super) started: Option<Now>,
    /// When its process was found, and for how long that had run.
    pub(super) found: Option<(Now, Duration)>,
    /// How often it has ended by itself since the Supervisor was told to start it.
    pub(super) restarts: u64,
    /// How a process of it has ended, and which.
    pub(super) ended: Option<(i64, String)>,
    /// An end that has not been told yet.
    pub(super) crash: Option<Crash>,
    /// What it wrote before its latest crash.
    pub(super) outputs: Option<NodeOutputs>,
    /// What was last told of that. It is not told again while it is the same.
    pub(super) told_output: Option<ZeekString>,
    /// How it has ended, as was last told.
    pub(super) told_end: Option<String>,
    /// Why it does not run, if that is known.
    pub(super) trouble: Option<String>,
    /// Whether a deployment was answered before it came up.
    pub(super) is_slow: bool,
    /// Whether there was a warning about it, and it has not come up since.
    pub(super) is_missed: bool,
    /// When it came up last.
    pub(super) last_up: Option<Now>,
    /// How long its process took until then at its last start, if this agent has seen that.
    pub(super) took: Option<Duration>,
    /// Its state when the Supervisor was lost.
    pub(super) before_loss: Option<State>,
}

/// What is counted of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Starts of a process of it.
    pub(super) starts: u64,
    /// Times that it ended by itself, or could not be started.
    pub(super) crashes: u64,
}

impl OwnNode {
    /// A node that the Supervisor has not been told to start.
    pub(super) const fn new(node: Node, replaces: bool) -> Self {
        Self {
            node,
            replaces,
            pid: None,
            since: Now::START,
            started: None,
            found: None,
            restarts: 0,
            ended: None,
            crash: None,
            outputs: None,
            told_output: None,
            told_end: None,
            trouble: None,
            is_slow: false,
            is_missed: false,
            last_up: None,
            took: None,
            before_loss: None,
        }
    }

    /// Why it does not run, if it does not: for an answer that does not wait for it.
    pub(super) fn why_not_running(&self) -> Option<String> {
        let Node { name, state, .. } = &self.node;
        match state {
            State::Running => None,
            _ => Some(match &self.trouble {
                Some(trouble) => trouble.clone(),
                None => format!("node {name} is {state}"),
            }),
        }
    }

    /// For how long its process has run, if that is known.
    pub(super) fn uptime(&self, now: Now) -> Option<Duration> {
        self.pid?;
        let of_found = |(at, age): (Now, Duration)| now - at + age;
        let of_started = |started: Now| now - started;
        self.started.map(of_started).or_else(|| self.found.map(of_found))
    }

    /// What is known of why it does not run, or did not.
    pub(super) fn why_down(&self) -> Option<&String> {
        self.trouble.as_ref().or(self.told_end.as_ref())
    }

    /// Whether an earlier agent has started it, and it has not said hello yet.
    pub(super) fn is_taken_over(&self) -> bool {
        self.node.state == State::Pending && self.pid.is_some() && self.started.is_none()
    }

    /// The Supervisor is being told to start it.
    ///
    /// DIFFERENCE(node-outputs): what it wrote before counts no more. Zeek's agent keeps it, and may report it for a
    /// later failure (Q-28).
    pub(super) fn start_due(&mut self, now: Now) {
        *self = Self {
            since: now,
            pid: self.pid,
            is_missed: self.is_missed,
            last_up: self.last_up,
            took: self.took,
            ..Self::new(self.node.clone(), self.replaces || self.pid.is_some())
        };
    }

    /// Whether a start is too close to the one before for the process to have ended by itself meanwhile.
    pub(super) fn is_replaced(&self, now: Now) -> bool {
        self.replaces
            && self.node.state == State::Pending
            && self.restarts == 0
            && self.started.is_some_and(|started| now - started < REVIVAL_MIN)
    }
}
