//! How `status` is shown, and what it means. What is wrong comes last: the last lines are the ones that are read.

use std::{fmt::Write, time::Duration};

use broker_codec::Elapsed;
use comfy_table::{Table, presets::NOTHING};
use mgmt_api::operator::{AgentStatus, ClusterStatus, NodeReport, Verdict, counted};

use crate::Exit;

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
    let mut table = table(is_wide);
    for report in &status.instances {
        for node in &report.nodes {
            let address = report.address.as_deref();
            table.add_row(row(&report.instance, address, node, is_wide));
        }
    }
    judged(text, &table, &Verdict::of_cluster(status))
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
    let is = |is: bool| if is { "yes" } else { "no" }.to_owned();
    for report in &status.instances {
        let mut row = vec![
            report.instance.clone(),
            is(report.is_deployed),
            is(report.is_connected),
            or_dash(report.seconds.map(elapsed)),
            or_dash(report.address.clone()),
            or_dash(report.agent.clone()),
            or_dash(report.supervise.clone()),
            or_dash(report.configuration.clone()),
            report.nodes.len().to_string(),
        ];
        row.extend(is_wide.then(|| or_dash(report.clock_ahead.map(clock))));
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
    let refusals: Vec<&String> = status
        .instances
        .iter()
        .filter_map(|report| report.refusal.as_ref())
        .collect();
    for refusal in &refusals {
        let _ = writeln!(text, "{refusal}");
    }
    let _ = if all == 0 && !status.instances.is_empty() {
        let connected = status.instances.iter().filter(|report| report.is_connected);
        let connected = counted(connected.count(), "instance");
        writeln!(
            text,
            "nothing is deployed, {connected} connected: deploy a configuration that lists them"
        )
    } else {
        writeln!(
            text,
            "{connected} of {} connected",
            counted(all, "deployed instance")
        )
    };
    (text, Exit::of(connected == all && refusals.is_empty()))
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
    judged(text, &table, &Verdict::of_agent(status))
}

/// Nodes, and below them what is wrong.
fn judged(mut text: String, table: &Table, verdict: &Verdict) -> (String, Exit) {
    if verdict.nodes() > 0 {
        text += &lines(table);
    }
    if !verdict.stopped.is_empty() {
        let _ = writeln!(text, "stopped by an operator: {}", verdict.stopped.join(", "));
    }
    for line in &verdict.warnings {
        let _ = writeln!(text, "WARNING: {line}");
    }
    for line in &verdict.problems {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{}", verdict.line());
    (text, Exit::of(verdict.is_well()))
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

/// What stands in a table, also where there is nothing.
pub(crate) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// A table as it is printed.
pub(crate) fn lines(table: &Table) -> String {
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn row(instance: &str, address: Option<&str>, node: &NodeReport, is_wide: bool) -> Vec<String> {
    let mut row = vec![
        instance.to_owned(),
        node.node.clone(),
        node.role.to_string(),
        node.state.to_string(),
        or_dash(node.pid.map(|pid| pid.to_string())),
        or_dash(node.uptime.map(elapsed)),
        node.restarts.to_string(),
    ];
    if is_wide {
        let beat = node.heartbeat.as_ref();
        let port = |port: Option<u16>| or_dash(port.map(|port| port.to_string()));
        let installed = node.zeek_installed.as_ref();
        let installed = installed.map(|version| format!(" ({version} is installed)"));
        row.extend([
            or_dash(node.zeek.clone()) + &installed.unwrap_or_default(),
            port(node.port),
            port(node.metrics_port),
            or_dash(beat.map(|beat| format!("{} ago", elapsed(beat.age)))),
            or_dash(beat.map(|beat| beat.dropped.to_string())),
            or_dash(address.map(str::to_owned)),
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
