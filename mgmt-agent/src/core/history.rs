//! What has become of nodes: their latest states, why they ended, and what they wrote then. Kept in memory, while the agent runs.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{
    NodeOutputs, Now, State, WallClock,
    operator::{Moment, NodeHistory, NodeReport, Outputs},
};

/// How many changes are remembered of a node: those of its latest 16 runs, if it comes up and ends again and again.
const MOMENTS_MAX: usize = 32;

/// How much is remembered of why a node changed, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// How much is remembered of each output that a node wrote, in bytes: the end.
const OUTPUT_BYTES_MAX: usize = 2048;

/// Of how many runs of a node is remembered what they wrote.
const OUTPUTS_MAX: usize = 4;

/// How much is remembered of what all nodes wrote, in bytes. What is older goes.
const BYTES_MAX: usize = 256 * 1024;

/// The histories of nodes.
#[derive(Debug, Default)]
pub(super) struct Histories {
    of: BTreeMap<ZeekString, History>,
    /// What nodes wrote before they ended, the oldest first.
    written: VecDeque<Written>,
    /// How many bytes that is.
    bytes: usize,
}

/// The history of a node, the oldest first.
#[derive(Debug, Default)]
struct History {
    moments: VecDeque<Change>,
    /// How many have gone.
    forgotten: u64,
}

/// A node has another state, or its process has ended.
#[derive(Debug)]
struct Change {
    at: Now,
    state: State,
    pid: Option<i64>,
    /// Shared with the one before, if that is the same: a node often ends in the same way.
    reason: Option<Arc<str>>,
}

/// What a node wrote before it ended.
#[derive(Debug)]
struct Written {
    node: ZeekString,
    /// By which of the node's changes, counted from the first.
    number: u64,
    outputs: NodeOutputs,
}

impl History {
    /// How many changes there were.
    fn count(&self) -> u64 {
        self.forgotten + self.moments.len() as u64
    }
}

impl Histories {
    /// A node has this state now. What was just told of it, with its reason, is not told twice.
    pub(super) fn changed(&mut self, now: Now, node: &ZeekString, state: State, pid: Option<i64>) {
        let last = self.of.get(node).and_then(|history| history.moments.back());
        if last.is_none_or(|last| last.at != now || last.state != state) {
            self.add(now, node, state, pid);
        }
    }

    /// A process of a node has ended by itself, or something else is to be remembered of it.
    pub(super) fn add(&mut self, now: Now, node: &ZeekString, state: State, pid: Option<i64>) {
        let history = self.of.entry(node.clone()).or_default();
        if history.moments.len() == MOMENTS_MAX {
            history.moments.pop_front();
            history.forgotten += 1;
        }
        history.moments.push_back(Change {
            at: now,
            state,
            pid,
            reason: None,
        });
    }

    /// Why the latest change came about.
    pub(super) fn explain(&mut self, node: &ZeekString, reason: &str) {
        let Some(history) = self.of.get_mut(node) else {
            return;
        };
        let reason = Excerpt::new(reason.as_bytes())
            .at_most(REASON_BYTES_MAX)
            .to_string();
        let mut latest = history.moments.iter_mut().rev();
        if let Some(change) = latest.next() {
            let known = latest.filter_map(|earlier| earlier.reason.as_ref());
            let known = known.take(1).find(|known| ***known == *reason);
            change.reason = Some(known.map_or_else(|| reason.into(), Arc::clone));
        }
    }

    /// What a node wrote before its latest change, which was its end.
    pub(super) fn wrote(&mut self, node: &ZeekString, outputs: &NodeOutputs) {
        let tail = |output: &ZeekString| {
            let begin = output.len().saturating_sub(OUTPUT_BYTES_MAX);
            ZeekString::from(&output[begin..])
        };
        let outputs = NodeOutputs {
            stdout: tail(&outputs.stdout),
            stderr: tail(&outputs.stderr),
        };
        let changes = self.of.get(node).map_or(0, History::count);
        let Some(number) = changes.checked_sub(1).filter(|_| size(&outputs) > 0) else {
            return;
        };
        let of_node = || self.written.iter().filter(|written| written.node == *node);
        if of_node().count() == OUTPUTS_MAX
            && let Some(oldest) = self.written.iter().position(|written| written.node == *node)
        {
            self.forget(oldest);
        }
        self.bytes += size(&outputs);
        self.written.push_back(Written {
            node: node.clone(),
            number,
            outputs,
        });
        while self.bytes > BYTES_MAX {
            self.forget(0);
        }
    }

    fn forget(&mut self, place: usize) {
        if let Some(written) = self.written.remove(place) {
            self.bytes -= size(&written.outputs);
        }
    }

    /// Only these nodes are there from now on.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ZeekString) -> bool) {
        self.of.retain(|node, _| is_there(node));
        self.written.retain(|written| is_there(&written.node));
        self.bytes = self.written.iter().map(|written| size(&written.outputs)).sum();
    }

    /// What has become of a node, for an operator, who is told times by this clock.
    pub(super) fn told(&self, node: &ZeekString, born: WallClock, now: NodeReport) -> NodeHistory {
        let history = self.of.get(node);
        let moments = history.into_iter().flat_map(|history| &history.moments);
        let of_node = || self.written.iter().filter(|written| written.node == *node);
        let outputs = |number: u64| {
            let mut outputs = of_node().filter(|written| written.number == number);
            outputs.next_back().map(|written| Outputs::from(&written.outputs))
        };
        let forgotten = history.map_or(0, |history| history.forgotten);
        NodeHistory {
            now,
            forgotten,
            moments: (forgotten..)
                .zip(moments)
                .map(|(number, change)| Moment {
                    time: (born + change.at.since_start()).to_rfc3339(),
                    state: change.state,
                    pid: change.pid,
                    reason: change.reason.as_deref().map(str::to_owned),
                    outputs: outputs(number),
                })
                .collect(),
            ..NodeHistory::default()
        }
    }
}

fn size(outputs: &NodeOutputs) -> usize {
    outputs.stdout.len() + outputs.stderr.len()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now::from_start(Duration::from_secs(seconds))
    }

    fn outputs(stderr: &str) -> NodeOutputs {
        NodeOutputs {
            stdout: ZeekString::default(),
            stderr: stderr.into(),
        }
    }

    fn told(histories: &Histories, node: &str) -> NodeHistory {
        histories.told(&node.into(), WallClock::default(), NodeReport::default())
    }

    #[test]
    fn the_latest_changes_are_remembered_with_reasons_and_the_latest_outputs() {
        let (mut histories, node) = (Histories::default(), "w".into());
        let runs = 20;
        for run in 0..runs {
            histories.changed(at(2 * run), &node, State::Running, Some(1));
            histories.add(at(2 * run + 1), &node, State::Crashed, Some(1));
            histories.explain(&node, "exit status 1");
            histories.wrote(&node, &outputs(&format!("line {run}")));
            histories.changed(at(2 * run + 1), &node, State::Crashed, None);
        }
        let told = told(&histories, "w");
        assert_eq!((told.moments.len(), told.forgotten), (MOMENTS_MAX, 8));
        assert_eq!(told.moments[0].time, "1970-01-01T00:00:08Z");
        let ends: Vec<&Moment> = told
            .moments
            .iter()
            .filter(|moment| moment.state == State::Crashed)
            .collect();
        assert!(
            ends.iter()
                .all(|end| end.reason.as_deref() == Some("exit status 1"))
        );
        let written: Vec<&str> = ends
            .iter()
            .filter_map(|end| Some(&*end.outputs.as_ref()?.stderr))
            .collect();
        assert_eq!(written, ["line 16", "line 17", "line 18", "line 19"]);
    }

    #[test]
    fn what_all_nodes_wrote_is_bounded_and_the_oldest_goes() {
        let mut histories = Histories::default();
        let long = outputs(&"x".repeat(2 * OUTPUT_BYTES_MAX));
        let nodes = 2 * BYTES_MAX / OUTPUT_BYTES_MAX;
        for number in 0..nodes {
            let node = format!("n{number}").as_str().into();
            histories.add(at(0), &node, State::Failed, None);
            histories.wrote(&node, &long);
            assert!(histories.bytes <= BYTES_MAX);
        }
        assert_eq!(told(&histories, "n0").moments[0].outputs, None);
        let last = told(&histories, &format!("n{}", nodes - 1));
        let kept = last.moments[0]
            .outputs
            .as_ref()
            .map(|outputs| outputs.stderr.len());
        assert_eq!(kept, Some(OUTPUT_BYTES_MAX));
        histories.retain(|node| *node == "n0");
        assert_eq!((histories.bytes, histories.of.len()), (0, 1));
    }
}
