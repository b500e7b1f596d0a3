//! What is wrong with a cluster or a sensor, in words for people.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    agent::{AgentStatus, NodeReport},
    cluster::{ClusterStatus, InstanceReport},
};
use crate::enums::State;

/// How many nodes and instances [`first_of`] names.
const NAMED_MAX: usize = 4;

/// What a status says, counted, and what is wrong in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    is_deployed: bool,
    instances: usize,
    connected: usize,
    /// How many nodes are in each state.
    states: BTreeMap<String, usize>,
    /// The nodes that an operator has stopped.
    pub stopped: Vec<String>,
    /// What an operator should mend.
    pub problems: Vec<String>,
    /// The nodes and instances that these are about.
    wrong: Vec<String>,
    /// What is to be mended although all is as deployed,
    pub warnings: Vec<String>,
    /// and of what.
    warned: Vec<String>,
}

impl Verdict {
    /// On a cluster.
    pub fn of_cluster(status: &ClusterStatus) -> Self {
        let mut verdict = Self {
            is_deployed: status.deployed.is_some(),
            ..Self::default()
        };
        for report in &status.instances {
            verdict.instance(report);
        }
        verdict.warn("controller", warnings_of_controller(status));
        verdict
    }

    /// On a sensor, by what its agent says.
    pub fn of_agent(status: &AgentStatus) -> Self {
        let of_instance = |text: &String| format!("instance {}: {text}", status.instance);
        let name = format!("instance {}", status.instance);
        let mut verdict = Self {
            is_deployed: status.configuration.is_some(),
            ..Self::default()
        };
        if let Some(trouble) = &status.trouble {
            verdict.problems.push(of_instance(trouble));
            verdict.wrong.push(name.clone());
        }
        verdict.warn(&name, status.warnings.iter().map(of_instance));
        for node in &status.nodes {
            verdict.node(&status.instance, node);
        }
        verdict
    }

    /// Whether nothing is to be mended.
    pub const fn is_well(&self) -> bool {
        self.problems.is_empty() && self.warned.is_empty()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.states.values().sum()
    }

    /// All of it in one line: `NOT as deployed (worker-1): 1 of 1 instance connected, 2 nodes (1 CRASHED, 1 RUNNING)`.
    pub fn line(&self) -> String {
        let mut line = match (self.problems.is_empty(), self.is_deployed) {
            (true, true) if self.stopped.is_empty() && self.warned.is_empty() => "all as deployed".to_owned(),
            (true, true) if self.stopped.is_empty() => "as deployed".to_owned(),
            (true, true) => format!(
                "as deployed but for {} that an operator has stopped",
                counted(self.stopped.len(), "node")
            ),
            (true, false) => "nothing is deployed".to_owned(),
            (false, _) => format!("NOT as deployed ({})", first_of(&self.wrong)),
        };
        if !self.warned.is_empty() {
            let _ = write!(line, ", with WARNINGS ({})", first_of(&self.warned));
        }
        line += ": ";
        if self.instances > 0 {
            let instances = counted(self.instances, "instance");
            let _ = write!(line, "{} of {instances} connected, ", self.connected);
        }
        line += &counted(self.nodes(), "node");
        let states = self.states.iter();
        let states: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
        if !states.is_empty() {
            let _ = write!(line, " ({})", states.join(", "));
        }
        line
    }

    fn instance(&mut self, report: &InstanceReport) {
        let InstanceReport { instance, .. } = report;
        let name = format!("instance {instance}");
        if !report.is_deployed {
            self.warn(&name, report.refusal.clone());
            return;
        }
        self.instances += 1;
        self.connected += usize::from(report.is_connected);
        self.problems.extend(report.trouble.clone());
        if report.trouble.is_some() {
            self.wrong.push(name.clone());
        }
        self.warn(&name, report.warnings.iter().cloned());
        for node in &report.nodes {
            // That of its instance stands for its own.
            if report.trouble.is_some() && node.state == State::Unknown {
                self.count(node);
            } else {
                self.node(instance, node);
            }
        }
    }

    /// Something is to be mended of this.
    fn warn(&mut self, name: &str, warnings: impl IntoIterator<Item = String>) {
        let before = self.warnings.len();
        self.warnings.extend(warnings);
        if self.warnings.len() > before {
            self.warned.push(name.to_owned());
        }
    }

    fn node(&mut self, instance: &str, node: &NodeReport) {
        self.count(node);
        let NodeReport {
            node: name, state, ..
        } = node;
        let reason = node
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        match state {
            State::Stopped if node.stopped_by_operator => self.stopped.push(name.clone()),
            State::Stopped if node.reason.is_none() => {}
            _ if node.stopped_by_operator => {
                self.wrong.push(name.clone());
                self.problems
                    .push(format!("{name} on {instance} is to stop and has not ended yet"));
            }
            State::Running => {}
            _ => {
                self.wrong.push(name.clone());
                self.problems
                    .push(format!("{name} on {instance} is {state}{reason}"));
            }
        }
    }

    fn count(&mut self, node: &NodeReport) {
        *self.states.entry(node.state.to_string()).or_default() += 1;
    }
}

/// What an operator should mend of the controller itself.
pub fn warnings_of_controller(status: &ClusterStatus) -> Vec<String> {
    let warnings = status.warnings.iter();
    warnings.map(|warning| format!("controller: {warning}")).collect()
}

/// The first names, and how many more there are: for a line that is read alone.
pub fn first_of(names: &[String]) -> String {
    match names.split_at_checked(NAMED_MAX) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// `1 node`, `2 nodes`.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
