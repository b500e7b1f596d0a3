//! Every recording, in every role that it has. The committed texts say what was compared, excluded and explained, and how often.

use std::{collections::BTreeSet, fs, process::Command};

use clap::Parser;
use expect_test::expect_file;
use tools::replay::{
    Capture,
    capture::Content,
    cli::{Arguments, CliError, run},
    rules,
};

use super::{folder, replay};
use crate::support::{program, workspace_root};

/// One test for each recording.
macro_rules! recordings {
    ($($name:ident: $recording:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check($recording);
            }
        )*

        pub(super) const RECORDINGS: &[&str] = &[$($recording),*];
    };
}

recordings!(
    mixed_6_9: "mixed/mixed-6-9",
    mixed_9_6: "mixed/mixed-9-6",
    absent_instance: "ours/absent-instance",
    refused_deployment: "ours/refused-deployment",
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
    crashing_nodes: "zeek-9.0.0-rc1/crashing-nodes",
    failing_node: "zeek-9.0.0-rc1/failing-node",
    lost_instances: "zeek-9.0.0-rc1/lost-instances",
    no_agents: "zeek-9.0.0-rc1/no-agents",
    old_clients: "zeek-9.0.0-rc1/old-clients",
    restart_controller: "zeek-9.0.0-rc1/restart-controller",
    seed_api: "zeek-9.0.0-rc1/seed-api",
    three_instances: "zeek-9.0.0-rc1/three-instances",
    two_instances: "zeek-9.0.0-rc1/two-instances",
    validation: "zeek-9.0.0-rc1/validation",
);

fn check(recording: &str) {
    let (passed, text) = replay(recording, "").unwrap();
    assert!(passed, "{text}");
    let name = format!("tests/golden/replay/{}.txt", recording.replace('/', "-"));
    expect_file![workspace_root().join(name)].assert_eq(&text);
}

/// A running peer deviates as often as one in this process. Its log and its store are not looked at.
pub(super) fn check_explained(recording: &str, role: &str, text: &str) {
    let name = format!("tests/golden/replay/{}.txt", recording.replace('/', "-"));
    let golden = fs::read_to_string(workspace_root().join(name)).unwrap();
    let of_role = golden
        .lines()
        .skip_while(|line| *line != format!("{recording} as {role}: PASS"));
    let of_role = of_role.skip(1).take_while(|line| line.starts_with(' '));
    let is_said = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some("explained") && !line.contains(" log ") && !line.contains(" stored ")
    };
    let expected: Vec<&str> = of_role.filter(is_said).collect();
    let explained: Vec<&str> = text.lines().filter(is_said).collect();
    assert_eq!(explained, expected, "{recording} as {role}");
}

/// What the command says.
pub(super) fn replayed(words: &[&str]) -> Result<(bool, String), CliError> {
    let arguments = Arguments::try_parse_from([&["replay"], words].concat()).unwrap();
    let mut output = Vec::new();
    let passed = run(&arguments, &mut output)?;
    Ok((passed, String::from_utf8(output).unwrap()))
}

#[test]
fn every_recording_is_replayed() {
    let captures = ["mixed", "ours", "zeek-6.0.9", "zeek-9.0.0-rc1"]
        .into_iter()
        .flat_map(|release| {
            let scenarios = fs::read_dir(folder(release)).unwrap();
            scenarios
                .map(move |scenario| format!("{release}/{}", scenario.unwrap().file_name().to_str().unwrap()))
        });
    let replayed: BTreeSet<String> = RECORDINGS
        .iter()
        .map(|recording| (*recording).to_owned())
        .collect();
    assert_eq!(replayed, captures.collect());
}

#[test]
fn every_rule_has_evidence_that_is_written_down() {
    let deviations = fs::read_to_string(workspace_root().join("docs/deviations.md")).unwrap();
    for key in rules::keys() {
        let by_key = format!("| `{key}` |");
        let cells = deviations.lines().flat_map(|line| line.split(['|', ',']));
        let known = deviations.contains(&by_key) || cells.map(str::trim).any(|cell| cell == key);
        assert!(known, "docs/deviations.md has no row for {key}");
    }
}

/// Deviations are excused by rules, orders of hash tables and of connections are none.
#[test]
fn no_deviation_is_excused_if_replay_is_strict() {
    for (recording, role, place) in [
        ("zeek-9.0.0-rc1/three-instances", "controller", "results[0].error"),
        ("zeek-6.0.9/a2c", "controller", "config.instances[0].host"),
        ("zeek-9.0.0-rc1/c2a", "agent", "::notify_change"),
    ] {
        let (passed, text) = replay(recording, &format!("--role {role} --strict")).unwrap();
        assert!(!passed && text.contains(place), "{text}");
    }
    for recording in ["zeek-9.0.0-rc1/a2c", "zeek-9.0.0-rc1/validation"] {
        let (passed, text) = replay(recording, "--role controller --strict").unwrap();
        assert!(passed, "{text}");
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

/// In the place of each kind of process, and seen as an operator sees it.
#[test]
fn a_changed_byte_in_a_capture_is_a_difference_and_its_place_is_named() {
    let program = program::build("tools", "replay");
    let place = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|bytes| bytes == part);
    for case in [
        "zeek-9.0.0-rc1/a2c controller deploy_request config.nodes[3].name",
        "zeek-9.0.0-rc1/c2a agent deploy_response results[0].node",
        // The first byte of an event that may be missing: none can be read.
        "ours/absent-instance agent notify_agent_hello",
        "ours/absent-instance agent notify_change",
    ] {
        let mut words = case.split(' ');
        let [recording, role, event] = [(); 3].map(|()| words.next().unwrap());
        let path = words.next();
        let mut bytes = fs::read(folder(recording).join("capture.pcap")).unwrap();
        let read = Capture::read(&bytes[..]).unwrap();
        let found = read.messages.iter().find_map(|message| match &message.content {
            Content::Envelope(envelope) => {
                let (payload, event) = (&envelope.payload, format!("Management::Agent::API::{event}"));
                place(payload, event.as_bytes())?;
                let changed = path.map_or(Some(0), |_| place(payload, b"worker-01"))?;
                Some((message.frame, event, place(&bytes, payload)? + changed))
            }
            _ => None,
        });
        let (frame, event, at) = found.unwrap();
        bytes[at] = b'v';
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("capture.pcap"), &bytes).unwrap();
        let words = [scratch.path().to_str().unwrap(), "--role", role];
        let outcome = program::run(&program, scratch.path(), &words);
        assert_eq!(outcome.exit, 1, "{outcome:?}");
        let told = match path {
            None => "\n    cannot be read as an event\n".to_owned(),
            Some(path) => {
                format!("\n  {event}\n  {path}\n    expected \"vorker-01\"\n    got      \"worker-01\"\n")
            }
        };
        let at = outcome.stdout.find(&format!("frame {frame} at "));
        // What follows from an event that cannot be read may differ before it.
        let is_named = at.is_some_and(|at| at == 0 || path.is_none());
        assert!(is_named && outcome.stdout.contains(&told), "{}", outcome.stdout);
    }
}

#[test]
fn the_exit_status_says_whether_it_passed_and_could_be_replayed_at_all() {
    let program = program::build("tools", "replay");
    let scratch = tempfile::tempdir().unwrap();
    let c2a = folder("zeek-9.0.0-rc1/c2a");
    let whole = fs::read(c2a.join("capture.pcap")).unwrap();
    let cut_off = scratch.path().join("capture.pcap");
    fs::write(&cut_off, &whole[..whole.len() / 2]).unwrap();
    let [c2a, cut_off] = [&c2a, &cut_off].map(|path| path.to_str().unwrap());
    for (words, status, reason) in [
        (&[c2a][..], 0, ""),
        (&[c2a, "--strict"], 1, ""),
        (&[cut_off], 2, "packet"),
        (&["/nonexistent"], 2, "cannot read /nonexistent"),
        (&[], 2, "CAPTURE"),
    ] {
        let output = Command::new(&program).args(words).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert_eq!(output.stdout.is_empty(), status == 2);
        assert_eq!(error.is_empty(), status < 2, "{error}");
        let is_told = words.is_empty() || status < 2 || error.starts_with("replay: ");
        assert!(is_told && error.contains(reason), "{error}");
    }
}
