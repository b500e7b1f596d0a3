//! The page as HTML. What comes from outside is [plain](plain) text.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker_codec::{Elapsed, data::excerpt_of};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use mgmt_api::{
    MESSAGE_BYTES_MAX, State,
    log::Level,
    operator::{
        Deployment, DeploymentSummary, Event, InstanceReport, NodeEntry, NodeReport, Outputs, Progress,
        Verdict, counted,
    },
};

use super::{Cluster, Shown, Written};

/// How many things that are wrong are told of a cluster at the top of the page.
const PROBLEMS_MAX: usize = 10;

/// How many deployments are shown of a cluster.
const DEPLOYMENTS_MAX: usize = 5;

/// How many lines are shown of what a node wrote, the last ones.
const LINES_MAX: usize = 20;

pub(super) fn document(shown: &Shown, nonce: &str) -> Markup {
    let title = if shown.clusters.iter().all(Cluster::is_well) {
        "all well"
    } else {
        "NOT well"
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) ": Zeek clusters of " (plain(&shown.controller)) }
                style nonce=(nonce) { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    h1 { "Zeek clusters of " (plain(&shown.controller)) }
                    p { "shown to " (plain(&shown.reader)) }
                    p #live role="status" { "as of " (shown.time) "; without JavaScript the page does not refresh itself" }
                }
                main data-running[shown.clusters.iter().any(|cluster| cluster.running.is_some())] { (content(shown)) }
                script nonce=(nonce) { (PreEscaped(include_str!("page.js"))) }
            }
        }
    }
}

fn content(shown: &Shown) -> Markup {
    html! {
        section #section-summary aria-labelledby="summary" {
            h2 #summary { "Summary" }
            div aria-live="polite" { (summary(shown)) }
        }
        @if !shown.open_ports.is_empty() {
            section #section-open aria-labelledby="open" {
                h2 #open { "Open ports" }
                ul { @for port in &*shown.open_ports { li { (state("WARNING")) " " (plain(port)) } } }
            }
        }
        @if shown.is_one { p { a href="/" { "all clusters" } } }
        @else if shown.clusters.len() > 1 { (overview(&shown.clusters)) }
        @for cluster in &shown.clusters { (self::cluster(cluster)) }
        (events(&shown.events))
    }
}

/// What is wrong. Nothing in it changes while that does not.
fn summary(shown: &Shown) -> Markup {
    html! {
        @if shown.clusters.is_empty() { p { "there is no cluster that you may read" } }
        @for cluster in &shown.clusters {
            @let name = plain(&cluster.summary.cluster);
            @match &cluster.status {
                Ok((_, verdict)) => {
                    p { (state(judgement(verdict))) " cluster " (name) ": " (plain(&verdict.line())) }
                    @if !verdict.is_well() { (problems(verdict)) }
                }
                Err(reason) => p { (state("UNKNOWN")) " cluster " (name) ": " (plain(reason)) }
            }
        }
    }
}

const fn judgement(verdict: &Verdict) -> &'static str {
    match (verdict.is_well(), verdict.problems.is_empty()) {
        (true, _) => "WELL",
        (false, true) => "WARNING",
        (false, false) => "TROUBLE",
    }
}

fn problems(verdict: &Verdict) -> Markup {
    html! {
        ul {
            @for warning in &verdict.warnings { li { (state("WARNING")) " " (plain(warning)) } }
            @for problem in verdict.problems.iter().take(PROBLEMS_MAX) { li { (plain(problem)) } }
            @if let Some(more @ 1..) = verdict.problems.len().checked_sub(PROBLEMS_MAX) { li { "and " (more) " more" } }
        }
    }
}

fn overview(clusters: &[Cluster]) -> Markup {
    let rows = html! {
        @for Cluster { summary, .. } in clusters {
            tr {
                th scope="row" { a href={ "#cluster/" (summary.cluster) } { (plain(&summary.cluster)) } }
                td { (summary.connected) " of " (summary.instances) }
                td { (summary.running) " of " (summary.nodes) @if summary.unknown > 0 { " (" (summary.unknown) " not known)" } }
                td { (plain_or_none(summary.deployed.as_deref())) }
            }
        }
    };
    html! {
        section #section-clusters aria-labelledby="clusters" {
            h2 #clusters { "Clusters" }
            (table("clusters", &["Cluster", "Instances connected", "Nodes running", "Configuration"], &rows))
        }
    }
}

fn cluster(cluster: &Cluster) -> Markup {
    let name = &cluster.summary.cluster;
    let id = |what: &str| format!("{what}/{name}");
    html! {
        section id=(id("section")) aria-labelledby=(id("cluster")) {
            h2 id=(id("cluster")) { "Cluster " (plain(name)) }
            p {
                @match &cluster.summary.deployed {
                    Some(id) => { "configuration " (plain(id)) " is deployed" }
                    None => "nothing is deployed",
                }
            }
            @match &cluster.status {
                Ok((status, verdict)) => {
                    p { (state(judgement(verdict))) " " (plain(&verdict.line())) }
                    @if !verdict.stopped.is_empty() { p { "stopped by an operator: " (plain(&verdict.stopped.join(", "))) } }
                    @if !status.instances.is_empty() {
                        h3 id=(id("instances")) { "Instances" }
                        (table(&id("instances"), INSTANCE, &instances(&status.instances)))
                    }
                    @if verdict.nodes() > 0 {
                        h3 id=(id("nodes")) { "Nodes" }
                        (table(&id("nodes"), NODE, &nodes(cluster, &status.instances)))
                    }
                }
                Err(reason) => {
                    p { (state("UNKNOWN")) " " (plain(reason)) }
                    p { a href={ "/?cluster=" (name) } { "cluster " (plain(name)) " alone" } }
                }
            }
            @if !cluster.outputs.is_empty() {
                h3 { "Last output of nodes that do not run" }
                @for written in &cluster.outputs { (output(name, written)) }
            }
            @if let Some(differences) = cluster.differences() { (staged(&differences)) }
            @if !cluster.deployments.deployments.is_empty() {
                h3 id=(id("deployments")) { "Deployments" }
                @if let Some(running) = &cluster.running { (progress(running)) }
                (table(&id("deployments"), DEPLOYMENT, &deployments(&cluster.deployments.deployments)))
            }
        }
    }
}

const INSTANCE: &[&str] = &[
    "Instance",
    "Agent",
    "For",
    "Address",
    "Release",
    "Supervision",
    "Configuration",
];

fn instances(reports: &[InstanceReport]) -> Markup {
    html! {
        @for report in reports {
            tr {
                th scope="row" { (plain(&report.instance)) @if !report.is_deployed { " (not deployed)" } }
                td { (state(if report.is_connected { "connected" } else { "AWAY" })) }
                td { (report.seconds.map_or_else(|| "-".to_owned(), elapsed)) }
                td { (plain_or_none(report.address.as_deref())) }
                td { (plain_or_none(report.agent.as_deref())) }
                td { (plain_or_none(report.supervise.as_deref())) }
                td { (plain_or_none(report.configuration.as_deref())) }
            }
        }
    }
}

const NODE: &[&str] = &[
    "Node",
    "State",
    "Instance",
    "Role",
    "PID",
    "Up",
    "Restarts",
    "Port",
    "Metrics port",
    "Zeek",
];

fn nodes(cluster: &Cluster, reports: &[InstanceReport]) -> Markup {
    let entries = cluster.deployed.nodes.iter();
    let entries: BTreeMap<(&[u8], &[u8]), &NodeEntry> = entries
        .map(|entry| ((entry.instance.as_bytes(), entry.name.as_bytes()), entry))
        .collect();
    html! {
        @for report in reports {
            @for node in &report.nodes {
                @let entry = entries.get(&(report.instance.as_bytes(), node.node.as_bytes()));
                tr id={ "node/" (cluster.summary.cluster) "/" (plain(&report.instance)) "/" (plain(&node.node)) } {
                    th scope="row" { (plain(&node.node)) }
                    td { (node_state(node)) }
                    td { (plain(&report.instance)) }
                    td { (node.role) }
                    td { (or_none(node.pid)) }
                    td { (node.uptime.map_or_else(|| "-".to_owned(), elapsed)) }
                    td { (node.restarts) }
                    td { (or_none(entry.and_then(|entry| entry.port))) }
                    td { (or_none(entry.and_then(|entry| entry.metrics_port))) }
                    td { (plain_or_none(node.zeek.as_deref())) }
                }
            }
        }
    }
}

fn node_state(node: &NodeReport) -> Markup {
    html! {
        (state(&node.state.to_string()))
        @if node.stopped_by_operator { " by an operator" }
    }
}

fn output(
    cluster: &str,
    Written {
        node,
        instance,
        state: is,
        outputs,
    }: &Written,
) -> Markup {
    let Outputs { stdout, stderr } = outputs;
    html! {
        details open id={ "output/" (cluster) "/" (plain(instance)) "/" (plain(node)) } {
            summary { (plain(node)) " on " (plain(instance)) ": " (state(&is.to_string())) }
            @if stdout.is_empty() && stderr.is_empty() { p { "it has written nothing" } }
            @for (what, text) in [("standard error", stderr), ("standard output", stdout)] {
                @if !text.is_empty() {
                    p { (what) }
                    pre tabindex="0" role="region" aria-label={ (what) " of " (plain(node)) } { (last_lines(text)) }
                }
            }
        }
    }
}

/// In what a staged configuration differs.
fn staged(differences: &str) -> Markup {
    html! {
        h3 { "Staged, against what is deployed" }
        ul { @for line in differences.lines() { li { (plain(line)) } } }
    }
}

/// How far a deployment is.
fn progress(deployment: &Deployment) -> Markup {
    let nodes = || deployment.instances.iter().flat_map(|instance| &instance.nodes);
    let (all, up) = (
        nodes().count(),
        nodes().filter(|node| node.state == Progress::Up).count(),
    );
    html! {
        p {
            "configuration " (plain(&deployment.summary.configuration)) " is being deployed: " (up) " of " (counted(all, "node")) " up "
            progress aria-label="nodes that are up" max=(all.max(1)) value=(up) {}
        }
        ul {
            @for instance in &deployment.instances {
                li {
                    "instance " (plain(&instance.instance)) ": " (instance.state)
                    @if let Some(reason) = &instance.reason { ": " (plain(reason)) }
                }
            }
        }
    }
}

const DEPLOYMENT: &[&str] = &["Begun", "State", "Ended", "Configuration", "Asked by", "Errors"];

fn deployments(all: &[DeploymentSummary]) -> Markup {
    html! {
        @for summary in all.iter().take(DEPLOYMENTS_MAX) {
            tr {
                th scope="row" { (plain(&summary.begun)) }
                td { (state(&summary.state.to_string())) }
                td { (plain_or_none(summary.ended.as_deref())) }
                td { (plain(&summary.configuration)) }
                td .words { (plain(&summary.asked_by)) }
                td .words { (plain_or_none(summary.errors.first().map(String::as_str))) }
            }
        }
    }
}

fn events(events: &[Arc<Event>]) -> Markup {
    let rows = html! {
        @for event in events {
            tr {
                th scope="row" { (plain(&event.time)) }
                td { (level(event.level)) }
                td { (plain(&event.cluster)) }
                td .words { (plain(&event.message)) }
            }
        }
    };
    html! {
        section #section-events aria-labelledby="events" {
            h2 #events { "Lately" }
            @if events.is_empty() { p { "nothing has happened since the controller was started" } }
            @else { (table("events", &["Time", "Level", "Cluster", "What"], &rows)) }
        }
    }
}

/// A table that is as wide as it has to be, in a place that can be scrolled by keyboard. The heading of this id is its name.
fn table(heading: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div .table tabindex="0" role="region" aria-labelledby=(heading) id={ "table/" (heading) } {
            table aria-labelledby=(heading) {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A state, which a colour repeats.
fn state(word: &str) -> Markup {
    let is = |state: State| word == state.to_string();
    let class = match word {
        "WELL" | "connected" | "done" => "good",
        "TROUBLE" | "AWAY" | "failed" => "bad",
        _ if is(State::Running) => "good",
        _ if is(State::Crashed) || is(State::Failed) => "bad",
        "WARNING" | "UNKNOWN" => "doubt",
        _ => "plain",
    };
    html! { strong .state .(class) { (word) } }
}

fn level(level: Level) -> Markup {
    match level {
        Level::Warning => state("WARNING"),
        Level::Error => html! { strong .state .bad { (level) } },
        _ => html! { (level) },
    }
}

fn elapsed(seconds: u64) -> String {
    Elapsed(Duration::from_secs(seconds)).to_string()
}

/// Text from outside, in one line and of bounded length, without characters that cannot be seen or reorder others.
fn plain(text: &str) -> String {
    excerpt_of(&text, MESSAGE_BYTES_MAX)
}

fn plain_or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), plain)
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LINES_MAX);
    let mut shown = String::new();
    for line in lines.iter().skip(first) {
        shown += &plain(line);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests;
