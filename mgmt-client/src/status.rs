//! How `status` is shown, and what it means. What is wrong comes last: the last lines are the ones that are read.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use broker_codec::Elapsed;
use comfy_table::{Table, presets::NOTHING};
use mgmt_api::{
    State,
    operator::{AgentStatus, ClusterStatus, InstanceReport, NodeReport},
};

use crate::Exit;

/// How many nodes and instances the last line names.
const NAMED_MAX: usize = 4;

/// The status of a cluster, in words.
pub(crate) fn of_cluster(status: &ClusterStatus, is_wide: bool) -> (String, Exit) {
    let since = status.deployed_at.as_ref().map(|at| format!(" since {at}"));
    let mut text = match &status.deployed {
        Some(id) => format!(
            "cluster {}: configuration {id} is deployed{}",
            status.cluster,
            since.unwrap_or_default()
        ),
        None => format!("cluster {}: nothing is deployed", status.cluster),
    };
    if status.is_another_staged {
        text += ", another one is staged";
    }
    text += "\n";
    let mut all = Summary::default();
    let mut table = table(is_wide);
    for report in &status.instances {
        for node in &report.nodes {
            let address = report.address.as_deref();
            table.add_row(row(&report.instance, address, node, is_wide));
        }
        all.instance(report);
    }
    all.warn("controller", of_controller(status));
    all.finish(text, &table, status.deployed.is_some())
}

/// What an operator should mend of the controller itself.
pub(crate) fn of_controller(status: &ClusterStatus) -> Vec<String> {
    let warnings = status.warnings.iter();
    warnings.map(|warning| format!("controller: {warning}")).collect()
}

/// The instances of a cluster and their agents, in words.
pub(crate) fn of_instances(status: &ClusterStatus, is_wide: bool) -> (String, Exit) {
    let mut header = vec![
        "INSTANCE",
        "DEPLOYED",
        "CONNECTED",
        "FOR",
        "ADDRESS",
        "AGENT",
        "SUPERVISION",
        "CONFIGURATION",
        "NODES",
    ];
    header.extend(is_wide.then_some("CLOCK"));
    let mut table = table_of(header);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let is = |is: bool| if is { "yes" } else { "no" }.to_owned();
    for report in &status.instances {
        let mut row = vec![
            report.instance.clone(),
            is(report.is_deployed),
            is(report.is_connected),
            shown(&report.seconds.map(elapsed)),
            shown(&report.address),
            shown(&report.agent),
            shown(&report.supervise),
            shown(&report.configuration),
            report.nodes.len().to_string(),
        ];
        row.extend(is_wide.then(|| shown(&report.clock_ahead.map(clock))));
        table.add_row(row);
    }
    let deployed = || status.instances.iter().filter(|report| report.is_deployed);
    let connected = deployed().filter(|report| report.is_connected).count();
    let all = deployed().count();
    let mut text = if status.instances.is_empty() {
        String::new()
    } else {
        lines(&table)
    };
    let _ = writeln!(
        text,
        "{connected} of {} connected",
        counted(all, "deployed instance")
    );
    (
        text,
        if connected == all {
            Exit::Done
        } else {
            Exit::Failed
        },
    )
}

/// The status of one sensor, by its agent.
pub(crate) fn of_agent(status: &AgentStatus, is_wide: bool) -> (String, Exit) {
    let what = match &status.configuration {
        Some(id) => format!("configuration {id}"),
        None => "no configuration".to_owned(),
    };
    let text = format!(
        "instance {}: agent {}, up {}, supervision {}, {what}\n",
        status.instance,
        status.version,
        elapsed(status.uptime),
        status.supervise,
    );
    let mut table = table(is_wide);
    for node in &status.nodes {
        table.add_row(row(&status.instance, None, node, is_wide));
    }
    let mut all = Summary::default();
    let of_instance = |text: &String| format!("instance {}: {text}", status.instance);
    let name = format!("instance {}", status.instance);
    all.notes = status.notes.iter().map(of_instance).collect();
    if let Some(trouble) = &status.trouble {
        all.problems.push(of_instance(trouble));
        all.wrong.push(name.clone());
    }
    all.warn(&name, status.warnings.iter().map(of_instance));
    for node in &status.nodes {
        all.node(&status.instance, node);
    }
    all.finish(text, &table, status.configuration.is_some())
}

/// What is counted, and what is wrong.
#[derive(Default)]
struct Summary {
    instances: usize,
    connected: usize,
    /// How many nodes are in each state.
    states: BTreeMap<String, usize>,
    /// By an operator.
    stopped: Vec<String>,
    notes: Vec<String>,
    problems: Vec<String>,
    /// The nodes and instances that these are about.
    wrong: Vec<String>,
    /// What is to be mended although all is as deployed,
    warnings: Vec<String>,
    /// and of what.
    warned: Vec<String>,
}

impl Summary {
    fn instance(&mut self, report: &InstanceReport) {
        let InstanceReport { instance, .. } = report;
        if !report.is_deployed {
            return;
        }
        self.instances += 1;
        self.connected += usize::from(report.is_connected);
        self.problems.extend(report.trouble.clone());
        self.notes.extend_from_slice(&report.notes);
        let name = format!("instance {instance}");
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

    fn finish(self, mut text: String, table: &Table, is_deployed: bool) -> (String, Exit) {
        let nodes: usize = self.states.values().sum();
        if nodes > 0 {
            text += &lines(table);
        }
        if !self.stopped.is_empty() {
            let _ = writeln!(text, "stopped by an operator: {}", self.stopped.join(", "));
        }
        for line in &self.notes {
            let _ = writeln!(text, "{line}");
        }
        for line in &self.warnings {
            let _ = writeln!(text, "WARNING: {line}");
        }
        for line in &self.problems {
            let _ = writeln!(text, "{line}");
        }
        let states = self
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        let states: Vec<String> = states.collect();
        let is_well = self.problems.is_empty();
        let verdict = match (is_well, is_deployed) {
            (true, true) if self.stopped.is_empty() && self.warned.is_empty() => "all as deployed".to_owned(),
            (true, true) if self.stopped.is_empty() => "as deployed".to_owned(),
            (true, true) => format!(
                "as deployed but for {} that an operator has stopped",
                counted(self.stopped.len(), "node")
            ),
            (true, false) => "nothing is deployed".to_owned(),
            (false, _) => format!("NOT as deployed ({})", first_of(&self.wrong)),
        };
        text += &verdict;
        if !self.warned.is_empty() {
            let _ = write!(text, ", with WARNINGS ({})", first_of(&self.warned));
        }
        text += ": ";
        if self.instances > 0 {
            let instances = counted(self.instances, "instance");
            let _ = write!(text, "{} of {instances} connected, ", self.connected);
        }
        text += &counted(nodes, "node");
        if !states.is_empty() {
            let _ = write!(text, " ({})", states.join(", "));
        }
        text += "\n";
        let is_well = is_well && self.warned.is_empty();
        (text, if is_well { Exit::Done } else { Exit::Failed })
    }
}

fn table(is_wide: bool) -> Table {
    let mut header = vec!["INSTANCE", "NODE", "ROLE", "STATE", "PID", "UP", "RESTARTS"];
    if is_wide {
        header.extend(["ZEEK", "PORT", "METRICS", "HEARTBEAT", "DROPPED", "ADDRESS"]);
    }
    table_of(header)
}

/// A table without lines around its cells.
pub(crate) fn table_of<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header.into_iter().collect::<Vec<_>>());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table as it is printed.
pub(crate) fn lines(table: &Table) -> String {
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn row(instance: &str, address: Option<&str>, node: &NodeReport, is_wide: bool) -> Vec<String> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut row = vec![
        instance.to_owned(),
        node.node.clone(),
        node.role.to_string(),
        node.state.to_string(),
        shown(node.pid.map(|pid| pid.to_string())),
        shown(node.uptime.map(elapsed)),
        node.restarts.to_string(),
    ];
    if is_wide {
        let beat = node.heartbeat.as_ref();
        let port = |port: Option<u16>| shown(port.map(|port| port.to_string()));
        let installed = node.zeek_installed.as_ref();
        let installed = installed.map(|version| format!(" ({version} is installed)"));
        row.extend([
            shown(node.zeek.clone()) + &installed.unwrap_or_default(),
            port(node.port),
            port(node.metrics_port),
            shown(beat.map(|beat| format!("{} ago", elapsed(beat.age)))),
            shown(beat.map(|beat| beat.dropped.to_string())),
            shown(address.map(str::to_owned)),
        ]);
    }
    row
}

/// By how much a clock is ahead, from milliseconds, to a tenth of a second.
fn clock(ahead: i64) -> String {
    let tenths = (ahead.unsigned_abs() + 50) / 100;
    let sign = if ahead < 0 && tenths > 0 { "-" } else { "+" };
    format!("{sign}{}.{} s", tenths / 10, tenths % 10)
}

pub(crate) fn elapsed(seconds: u64) -> String {
    Elapsed(Duration::from_secs(seconds)).to_string()
}

/// The first names, and how many more there are: for a line that is read alone.
pub(crate) fn first_of(names: &[String]) -> String {
    match names.split_at_checked(NAMED_MAX) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
