//! Each rule is one that a recording needs, or has a case here that it excuses, and one that it does not.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use broker_codec::{Data, Topic, zeek::Event};
use mgmt_api::topics;

use super::{Case, Kind, RULES, Rule, explanation};
use crate::{
    replay::{
        history::{History, Incident, TIMED_OUT},
        recording::{Link, Process, Role},
    },
    tcp::{Addresses, Speaker},
};

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn answer(error: &str) -> Event {
    Event {
        name: "x_response".into(),
        args: vec![text("r"), text(error)],
        metadata: None,
    }
}

/// The rule that explains a case; all that can happen has happened to the process, or nothing.
fn key_of(role: &str, incidents: &[Incident], case: &Case<'_>) -> Option<&'static str> {
    let role = match role {
        "agent" => Role::Agent("a".into()),
        _ => Role::Controller,
    };
    let mut process = Process::without_connections(role);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let controller = Link {
        own: Speaker::Client,
        addresses: Addresses {
            client: address,
            server: address,
        },
        peer: None,
        filter: Vec::new(),
        peer_filter: vec![Topic::from_static(topics::LINK)],
        ack: None,
        with: "controller".into(),
        is_supervisor: false,
        plays_extension: false,
        crosses_7_0: false,
    };
    // Only at link 1 is a controller of ours.
    if case.link == 1 {
        process.links.insert(1, controller);
    }
    let mut history = History::new(process.into());
    for incident in incidents {
        history.note(*incident);
    }
    explanation(case, &history)
}

const INCIDENTS: [Incident; 4] = [
    Incident::DeploymentTimedOut,
    Incident::NothingDeployed,
    Incident::LostSupervisor,
    Incident::LostPeer,
];

/// What it excuses after all that can happen, and what it does not excuse after nothing.
type Row<'a> = (&'static str, Case<'a>, Case<'a>);

#[test]
fn every_rule_is_needed_by_a_recording_or_has_a_case() {
    use Kind::{Differs, Early, Extra, LogExtra, LogMissing};
    let [ten, eleven, other, late] =
        ["since 10:00:00", "since 11:00:00", "until 11:00:00", TIMED_OUT].map(text);
    let [superseded, lost, agent_lost, timed_out] = [
        "superseded by deployment r2",
        "lost the Supervisor: closed",
        "instance a: connection to the agent lost: closed",
        TIMED_OUT,
    ]
    .map(answer);
    let answer = |kind, path, sent| Case {
        path,
        sent: Some(sent),
        recorded: Some(&timed_out),
        expected: Some(&late),
        ..Case::new(kind, "::deploy_response", 0)
    };
    let early = |sent| answer(Early, "", sent);
    let results = |sent| answer(Differs, "results[]", sent);
    let time_of_day = |name, path, got| Case {
        path,
        expected: Some(&ten),
        got: Some(got),
        ..Case::new(Differs, name, 0)
    };
    let message = |got| time_of_day("::notify_error", "msg", got);
    let error = |got| time_of_day("_response", "results[].error", got);
    let status = |link| Case::new(Extra, "SupervisorControl::status_request", link);
    let hello = |link| Case::new(Extra, "ClusterAgent::API::notify_agent_hello", link);
    let welcome = |repeats| Case {
        repeats,
        ..Case::new(Extra, "::agent_welcome_request", 0)
    };
    let written = |line| Case::new(LogExtra, line, 0);
    let dropped = written("dropped state for instance a");
    let request = Case::new(LogMissing, "request timed out", 0);
    let answered = written("rx Management::Agent::API::deploy_response");
    let of_agents: [Row<'_>; _] = [
        ("node-states", message(&eleven), message(&other)),
        ("superseded-deployment", early(&superseded), early(&timed_out)),
        ("superseded-deployment", results(&superseded), results(&timed_out)),
        ("silent-supervisor", results(&lost), results(&lost)),
        ("running-configuration", status(1), status(0)),
        ("older-releases", hello(1), hello(0)),
    ];
    let news = ["change", "error", "log"].map(|what| format!("rx Management::Agent::API::notify_{what} a"));
    let [changes, errors, logs] = news.each_ref().map(|line| ("news", written(line), answered));
    let [lost, other_lost] =
        ["results[].error", "results[].data"].map(|path| answer(Differs, path, &agent_lost));
    let of_controllers: [Row<'_>; _] = [
        ("repeated-welcome", welcome(true), welcome(false)),
        ("lost-connections", dropped, dropped),
        changes,
        errors,
        logs,
        ("lost-agents", lost, other_lost),
        ("absent-instances", error(&eleven), error(&other)),
        ("deployed-anyway", request, request),
    ];
    let texts = what_recordings_need();
    let mut shown: BTreeSet<String> = RULES
        .iter()
        .filter(|rule| is_needed(rule, &texts))
        .map(name_of)
        .collect();
    shown.extend(of_agents.iter().flat_map(|row| shown_by("agent", row)));
    shown.extend(of_controllers.iter().flat_map(|row| shown_by("controller", row)));
    let missing = RULES.iter().map(name_of).filter(|rule| !shown.contains(rule));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}

/// The rules that a row shows.
fn shown_by(role: &str, (key, excused, other): &Row<'_>) -> Vec<String> {
    assert_eq!(key_of(role, &INCIDENTS, excused), Some(*key));
    assert_ne!(key_of(role, &[], other), Some(*key), "{key}");
    let rules = RULES.iter();
    let shown = rules.filter(|rule| rule.key == *key && rule.is_for(role, excused));
    shown.map(name_of).collect()
}

fn name_of(rule: &Rule) -> String {
    let (kind, when) = (rule.kind.into(), rule.when.into());
    [rule.key, rule.role, kind, rule.name, rule.path, when].join(" | ")
}

/// The roles of the committed texts, and what these say is explained.
fn what_recordings_need() -> Vec<(&'static str, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/replay");
    let mut role = "";
    let mut needed = Vec::new();
    for text in fs::read_dir(folder).unwrap() {
        for line in fs::read_to_string(text.unwrap().path()).unwrap().lines() {
            match line
                .trim()
                .strip_prefix("explained ")
                .and_then(|rest| rest.split_once(' '))
            {
                Some((_, explained)) => needed.push((role, explained.to_owned())),
                None if line.contains(" as controller") => role = "controller",
                None if line.contains(" as agent") => role = "agent",
                None => {}
            }
        }
    }
    needed
}

fn is_needed(rule: &Rule, texts: &[(&str, String)]) -> bool {
    let kind: &str = rule.kind.into();
    let place = match rule.kind {
        Kind::LogMissing | Kind::LogExtra => format!("{kind} {}", rule.name),
        Kind::Differs => format!("{} {}", rule.name, rule.path),
        _ => format!("{} (", rule.name),
    };
    let key = format!("({})", rule.key);
    texts.iter().any(|(role, text)| {
        *role == rule.role && text.starts_with(kind) && text.contains(&place) && text.ends_with(&key)
    })
}
