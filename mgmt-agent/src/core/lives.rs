//! What was last heard of nodes under our own supervision, and what is overdue.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_api::{
    Now,
    node_link::{Beat, HEARTBEAT},
};
use serde::{Deserialize, Serialize};

/// A node that has not been heard for that many of its intervals is wedged.
const MISSED_MAX: u32 = 3;

/// How long a node waits for its cluster before it reads its trace without.
const HELD_MAX: Duration = Duration::from_secs(60);

/// How long a node that was started may take to say hello: the command before its start, and Zeek with many scripts on a busy host.
const HELLO_MAX: Duration = Duration::from_secs(60);

/// If we look that much later than was due, it is us who stood still, and nothing can be said of nodes.
const LATE_MAX: Duration = Duration::from_secs(5);

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifeSign {
    /// Its process has connected.
    Hello {
        pid: i64,
        /// The Zeek that it is, as `9.0.0`.
        version: ZeekString,
    },
    Beat(Box<Beat>),
    /// It has read its trace to the end. No beats follow.
    TraceDone,
    /// It does not write a log any more, for this reason, and runs on.
    CannotWrite(ZeekString),
    /// It ends in good order. How its process ended, the Supervisor tells.
    Bye,
}

/// What was last heard of a node.
#[derive(Clone, Debug)]
pub struct Life {
    /// When.
    pub at: Now,
    /// Its process, by its latest hello ...
    pub pid: Option<i64>,
    /// ... and the Zeek that it is.
    pub version: Option<ZeekString>,
    pub beat: Option<Box<Beat>>,
    pub is_wedged: bool,
    /// Whether it was started, and has not said hello.
    pub owes_hello: bool,
    /// Whether something has to come next, and from when on that is waited for.
    awaited_since: Option<Now>,
}

/// What was last heard of nodes that have shown that they are, by name.
#[derive(Debug, Default)]
pub(super) struct Lives {
    of: BTreeMap<ZeekString, Life>,
    /// When to look for what is overdue. Beats only put that off, so it is not later than need be, and a beat costs no search.
    due: Option<Now>,
}

impl Life {
    const fn new(at: Now) -> Self {
        Self {
            at,
            pid: None,
            version: None,
            beat: None,
            is_wedged: false,
            owes_hello: false,
            awaited_since: None,
        }
    }

    /// Whether it waits for its cluster, with a trace to read.
    pub fn is_held(&self) -> bool {
        self.beat.as_ref().is_some_and(|beat| beat.is_held())
    }

    /// How long what comes next may take.
    pub(super) fn limit(&self) -> Duration {
        match &self.beat {
            None if self.owes_hello => HELLO_MAX,
            Some(beat) if beat.is_held() => HELD_MAX,
            Some(beat) => beat.interval() * MISSED_MAX,
            None => HEARTBEAT * MISSED_MAX,
        }
    }

    fn due(&self) -> Option<Now> {
        Some(self.awaited_since? + self.limit())
    }
}

impl Lives {
    /// What was last heard of a node.
    pub(super) fn of(&self, node: &ZeekString) -> Option<&Life> {
        self.of.get(node)
    }

    /// Takes in what a node tells. Returns how long it had been silent, if it was told to be wedged.
    pub(super) fn hear(&mut self, now: Now, node: &ZeekString, sign: LifeSign) -> Option<Duration> {
        let life = self.of.entry(node.clone()).or_insert_with(|| Life::new(now));
        let silence = now - life.at;
        life.at = now;
        life.owes_hello = false;
        match sign {
            LifeSign::Hello { pid, version } => {
                life.pid = Some(pid);
                life.version = Some(version);
                // That it is up again, its hello has told.
                life.is_wedged = false;
                life.awaited_since = None;
            }
            LifeSign::Beat(beat) => {
                life.awaited_since = Some(now);
                life.beat = Some(beat);
            }
            LifeSign::TraceDone => life.awaited_since = None,
            LifeSign::CannotWrite(_) => {}
            LifeSign::Bye => {
                self.of.remove(node);
                return None;
            }
        }
        let due = life.due();
        let was_wedged = std::mem::take(&mut life.is_wedged);
        self.due = self.due.into_iter().chain(due).min();
        was_wedged.then_some(silence)
    }

    /// A node was started, and has to say hello, unless it has.
    pub(super) fn expect_hello(&mut self, now: Now, node: &ZeekString, pid: i64) {
        if !self.of.contains_key(node) {
            let life = Life {
                owes_hello: true,
                ..Life::new(now)
            };
            self.await_sign(now, node, life, Some(pid));
        }
    }

    /// A node runs already, and has to say so.
    pub(super) fn expect(&mut self, now: Now, node: &ZeekString, pid: Option<i64>) {
        self.await_sign(now, node, Life::new(now), pid);
    }

    fn await_sign(&mut self, now: Now, node: &ZeekString, mut life: Life, pid: Option<i64>) {
        life.pid = pid;
        life.awaited_since = Some(now);
        self.due = self.due.into_iter().chain(life.due()).min();
        self.of.insert(node.clone(), life);
    }

    /// The Zeeks that nodes are, and which are which.
    pub(super) fn versions(&self) -> BTreeMap<&ZeekString, Vec<&ZeekString>> {
        let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (node, life) in &self.of {
            if let Some(version) = &life.version {
                versions.entry(version).or_default().push(node);
            }
        }
        versions
    }

    /// What was heard of a node's process counts no more, unless it is one that still runs.
    pub(super) fn retain(&mut self, node: &ZeekString, runs: impl FnOnce(Option<i64>) -> bool) {
        if self.of.get(node).is_some_and(|life| !runs(life.pid)) {
            self.of.remove(node);
        }
    }

    /// The nodes for which something is overdue. Each once, until it is heard again.
    pub(super) fn overdue(&mut self, now: Now) -> Vec<(ZeekString, Life)> {
        let Some(due) = self.due.filter(|due| *due <= now) else {
            return Vec::new();
        };
        let stood_still = now - due > LATE_MAX;
        let mut overdue = Vec::new();
        for (node, life) in &mut self.of {
            if stood_still {
                life.awaited_since = life.awaited_since.map(|_| now);
            } else if life.due().is_some_and(|due| due <= now) {
                overdue.push((node.clone(), life.clone()));
                life.awaited_since = None;
            }
        }
        self.due = self.of.values().filter_map(Life::due).min();
        overdue
    }

    /// It has been told that this node is wedged.
    pub(super) fn told_wedged(&mut self, node: &ZeekString) {
        if let Some(life) = self.of.get_mut(node) {
            life.is_wedged = true;
        }
    }

    pub(super) const fn deadline(&self) -> Option<Now> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use broker_codec::data::{Timespan, Timestamp};

    use super::*;

    fn beat(source: &str) -> LifeSign {
        LifeSign::Beat(Box::new(Beat {
            number: 1,
            every: Timespan(5_000_000_000),
            source: source.into(),
            network_time: Timestamp(0),
            received: 0,
            dropped: 0,
            link: 0,
            bytes: 0,
            connections: 0,
            events: 0,
            peers: Vec::new(),
        }))
    }

    /// What happens at these seconds to one node, and when it is overdue.
    pub(super) fn overdue(signs: &[(u64, &str)], until: u64) -> Vec<u64> {
        let mut lives = Lives::default();
        let mut signs = signs.iter().peekable();
        let mut found = Vec::new();
        for second in 0..=until {
            let now = Now::START + Duration::from_secs(second);
            if lives.deadline().is_some_and(|due| due <= now) {
                found.extend(lives.overdue(now).iter().map(|_| second));
            }
            while let Some((_, sign)) = signs.next_if(|(at, _)| *at == second) {
                let sign = match *sign {
                    "hello" => LifeSign::Hello {
                        pid: 1,
                        version: "9.0.0".into(),
                    },
                    "done" => LifeSign::TraceDone,
                    "bye" => LifeSign::Bye,
                    source => beat(source),
                };
                lives.hear(now, &"n".into(), sign);
            }
        }
        found
    }

    #[test]
    fn a_node_is_overdue_three_intervals_after_its_last_heartbeat_and_once() {
        let all = 100;
        let never: [u64; 0] = [];
        assert_eq!(
            overdue(&[(0, "hello")], all),
            never,
            "it may be of a later version"
        );
        assert_eq!(overdue(&[(0, "hello"), (0, "live")], all), [15]);
        assert_eq!(overdue(&[(0, "live"), (5, "live"), (10, "none")], all), [25]);
        assert_eq!(overdue(&[(0, "live"), (20, "live")], all), [15, 35]);
        assert_eq!(overdue(&[(0, "live"), (14, "bye")], all), never);
        assert_eq!(overdue(&[(0, "trace")], all), [15]);
        assert_eq!(overdue(&[(0, "trace"), (3, "done")], all), never);
        assert_eq!(overdue(&[(0, "held")], all), [60]);
        assert_eq!(overdue(&[(0, "held"), (30, "trace"), (31, "done")], all), never);
    }

    #[test]
    fn nothing_is_said_of_nodes_when_it_was_us_who_stood_still() {
        let mut lives = Lives::default();
        let at = |seconds| Now::START + Duration::from_secs(seconds);
        lives.hear(at(0), &"n".into(), beat("live"));
        assert_eq!(lives.deadline(), Some(at(15)));
        assert_eq!(lives.overdue(at(21)).len(), 0);
        assert_eq!(lives.deadline(), Some(at(36)));
        assert_eq!(lives.overdue(at(36)).len(), 1);
        assert_eq!(lives.deadline(), None);
    }

    #[test]
    fn a_heartbeat_looks_at_no_other_node() {
        let mut lives = Lives::default();
        let at = |seconds| Now::START + Duration::from_secs(seconds);
        for node in 0..128 {
            lives.hear(at(0), &format!("n-{node}").into(), beat("live"));
        }
        // All but one are heard again; when the first deadline comes, that one alone is overdue.
        for node in 1..128 {
            lives.hear(at(10), &format!("n-{node}").into(), beat("live"));
        }
        assert_eq!(lives.deadline(), Some(at(15)));
        let overdue: Vec<_> = lives.overdue(at(15)).into_iter().map(|(node, _)| node).collect();
        assert_eq!(overdue, ["n-0"]);
        assert_eq!(lives.deadline(), Some(at(25)));
    }
}
