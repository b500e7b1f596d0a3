//! Every recording, in every role that it has. The committed texts say what was compared, excluded and waived.

use std::{collections::BTreeSet, fs};

use clap::Parser;
use tools::replay::{
    Role,
    cli::{Arguments, CliError, run},
    waivers::{self, Waiver},
};

use super::folder;
use crate::support::{frames, workspace_root};

/// One test for each recording.
macro_rules! recordings {
    ($($name:ident: $recording:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check($recording);
            }
        )*

        const RECORDINGS: &[&str] = &[$($recording),*];
    };
}

recordings!(
    mixed_6_9: "mixed/mixed-6-9",
    mixed_9_6: "mixed/mixed-9-6",
    a2c_of_zeek_6: "zeek-6.0.9/a2c",
    c2a_of_zeek_6: "zeek-6.0.9/c2a",
    failing_node_of_zeek_6: "zeek-6.0.9/failing-node",
    no_agents_of_zeek_6: "zeek-6.0.9/no-agents",
    restart_controller_of_zeek_6: "zeek-6.0.9/restart-controller",
    two_instances_of_zeek_6: "zeek-6.0.9/two-instances",
    validation_of_zeek_6: "zeek-6.0.9/validation",
    a2c: "zeek-9.0.0-rc1/a2c",
    all_in_one: "zeek-9.0.0-rc1/all-in-one",
    c2a: "zeek-9.0.0-rc1/c2a",
    cluster_controller_api: "zeek-9.0.0-rc1/cluster-controller-api",
    failing_node: "zeek-9.0.0-rc1/failing-node",
    no_agents: "zeek-9.0.0-rc1/no-agents",
    old_clients: "zeek-9.0.0-rc1/old-clients",
    restart_controller: "zeek-9.0.0-rc1/restart-controller",
    seed_api: "zeek-9.0.0-rc1/seed-api",
    two_instances: "zeek-9.0.0-rc1/two-instances",
    validation: "zeek-9.0.0-rc1/validation",
);

fn check(recording: &str) {
    let (passed, text) = replayed(&[folder(recording).to_str().unwrap()]).unwrap();
    assert!(passed, "{text}");
    let name = format!("{}.txt", recording.replace('/', "-"));
    let path = workspace_root().join("tests/golden/replay").join(&name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == committed,
        "{name}: run with UPDATE_EXPECT=1 and look at the difference; now:\n{text}"
    );
}

/// What the command says.
pub(super) fn replayed(words: &[&str]) -> Result<(bool, String), CliError> {
    let arguments = Arguments::try_parse_from([&["replay"], words].concat()).unwrap();
    let mut output = Vec::new();
    let passed = run(&arguments, &mut output)?;
    Ok((passed, String::from_utf8(output).unwrap()))
}

fn committed() -> Vec<Waiver> {
    waivers::parse(waivers::COMMITTED).unwrap()
}

#[test]
fn every_recording_is_replayed() {
    let replayed: BTreeSet<&str> = RECORDINGS.iter().copied().collect();
    assert_eq!(replayed, BTreeSet::from(frames::RECORDINGS));
}

/// What the agent of 9.0 could not do: its nodes are answered for, because none was recorded.
#[test]
fn our_agent_deploys_what_a_controller_of_zeek_6_asks_for() {
    let waived: Vec<Waiver> = committed()
        .into_iter()
        .filter(|waiver| waiver.what != "extra Management::Agent::API::deploy_response")
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    let table = scratch.path().join("waivers.txt");
    let rows = waived.iter().map(|waiver| {
        let Waiver {
            reason,
            scenario,
            role,
            what,
            count,
        } = waiver;
        format!("{reason} | {scenario} | {role} | {what} | {count}\n")
    });
    fs::write(&table, rows.collect::<String>()).unwrap();
    let folder = folder("mixed/mixed-6-9");
    let words = [
        folder.to_str().unwrap(),
        "--role",
        "agent",
        "--waivers",
        table.to_str().unwrap(),
        "--json",
    ];
    let (_, text) = replayed(&words).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let answer = &report["differences"][0];
    assert_eq!(answer["event"], "Management::Agent::API::deploy_response");
    let results = answer["got"].as_str().unwrap();
    for node in ["logger-01", "manager", "worker-01"] {
        assert!(
            results.contains(&format!("T, instance-1, nil, nil, {node})")),
            "{results}"
        );
    }
}

/// Those for recordings and roles that are replayed are used up, or the replay fails; there are no others.
#[test]
fn every_waiver_is_for_a_recording_and_a_role_that_is_replayed() {
    for waiver in committed() {
        assert!(RECORDINGS.contains(&&*waiver.scenario), "{}", waiver.scenario);
        let file = fs::File::open(folder(&waiver.scenario).join("capture.pcap")).unwrap();
        let capture = tools::replay::Capture::read(std::io::BufReader::new(file)).unwrap();
        let roles: Vec<String> = tools::replay::roles(&capture)
            .iter()
            .map(Role::to_string)
            .collect();
        assert!(roles.contains(&waiver.role), "{waiver:?}");
    }
}

#[test]
fn every_waiver_has_a_reason_that_is_written_down() {
    let deviations = fs::read_to_string(workspace_root().join("docs/deviations.md")).unwrap();
    let reasons: BTreeSet<String> = committed().into_iter().map(|waiver| waiver.reason).collect();
    for reason in reasons {
        let by_key = format!("| `{reason}` |");
        let cells = deviations.lines().flat_map(|line| line.split(['|', ',']));
        let known = deviations.contains(&by_key) || cells.map(str::trim).any(|cell| cell == reason);
        assert!(known, "docs/deviations.md has no row for {reason}");
    }
}

#[test]
fn a_capture_that_cannot_be_replayed_is_said_to_be_none() {
    let frames = folder("zeek-9.0.0-rc1/a2c").join("frames.jsonl.gz");
    let a2c = folder("zeek-9.0.0-rc1/a2c");
    let no_agents = folder("zeek-9.0.0-rc1/no-agents");
    for (words, error) in [
        (vec![frames.to_str().unwrap()], format!("{}", frames.display())),
        (vec!["/nonexistent"], "cannot read /nonexistent".into()),
        (
            vec![a2c.to_str().unwrap(), "--role", "agent", "--instance", "nobody"],
            "the capture has no agent nobody; it has: controller, agent instance-1".into(),
        ),
        (
            vec![no_agents.to_str().unwrap(), "--role", "agent"],
            "the capture has no agent; it has: controller".into(),
        ),
        (
            vec![a2c.to_str().unwrap(), "--role", "controller", "--instance", "x"],
            "--instance names an agent, so --role must be agent".into(),
        ),
    ] {
        assert_eq!(replayed(&words).unwrap_err().to_string(), error);
    }
}

#[test]
fn a_waiver_too_many_or_too_few_fails() {
    let a2c = folder("zeek-9.0.0-rc1/two-instances");
    let scratch = tempfile::tempdir().unwrap();
    let table = scratch.path().join("waivers.txt");
    let words = [
        a2c.to_str().unwrap(),
        "--role",
        "controller",
        "--waivers",
        table.to_str().unwrap(),
    ];
    let row = "Q-10 | zeek-9.0.0-rc1/two-instances | controller | missing Management::Agent::API::deploy_request | ";
    for (old, new, place) in [
        ("2", "3", "stands in the table 3 times and was found 2 times"),
        (
            "2",
            "1",
            "Management::Agent::API::deploy_request\n    was not sent",
        ),
    ] {
        let changed = waivers::COMMITTED.replace(&format!("{row}{old}"), &format!("{row}{new}"));
        assert_ne!(changed, waivers::COMMITTED);
        fs::write(&table, changed).unwrap();
        let (passed, text) = replayed(&words).unwrap();
        assert!(!passed);
        assert!(text.contains(place), "{text}");
    }
    fs::write(&table, "x").unwrap();
    let error = replayed(&words).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "line 1 of the waivers: expected `reason | scenario | role | what | count`"
    );
}

#[test]
fn the_report_is_there_for_programs_too() {
    let folder = folder("zeek-9.0.0-rc1/c2a");
    let (passed, text) = replayed(&[folder.to_str().unwrap(), "--role", "controller", "--json"]).unwrap();
    assert!(passed);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["scenario"], "zeek-9.0.0-rc1/c2a");
    assert_eq!(report["role"], "controller");
    assert_eq!(report["differences"], serde_json::json!([]));
    assert_eq!(report["compared"]["events"], 6);
}
