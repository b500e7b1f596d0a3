//! What becomes of a Supervisor that the agent has started and that does not answer, and of the nodes of one that is killed: it is
//! ended by all means, nothing of it is left beside its successor, and clients hear of it. Real processes.

use std::{fs, time::Duration};

use mgmt_api::{AgentMessage, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use zeek_simulator::{NODE_VARIABLE, NodeBehaviour, SUPERVISOR_VARIABLE, SupervisorBehaviour};

use crate::{
    supervised::{Host, assert_all_succeed, lives, pids},
    support::{cluster::zeek_binary, controlling::Controlling},
};

/// How long the Supervisor may be silent: much longer than a busy machine takes to start one.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A `zeek` that behaves in this way as its first Supervisor, and its nodes in that; the second is well.
fn first_time(supervisor: &SupervisorBehaviour, nodes: &NodeBehaviour) -> Host {
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = -j ] && mkdir first 2>/dev/null; then\nexport {SUPERVISOR_VARIABLE}='{}' {NODE_VARIABLE}='{}'\nfi\n\
         exec '{}' \"$@\"\n",
        json!(supervisor),
        json!(nodes),
        zeek_binary().display()
    );
    Host::with_zeek(&script)
}

fn outliving() -> NodeBehaviour {
    NodeBehaviour {
        outlives_supervisor: true,
        ..NodeBehaviour::default()
    }
}

/// Waits for the agent to tell of an error in these words.
fn hear_error(controlling: &mut Controlling, text: &str) -> String {
    controlling.hear(|message| match message {
        AgentMessage::Error { msg, .. } if msg.to_string().contains(text) => Some(msg.to_string()),
        _ => None,
    })
}

/// Two nodes run; returns the Supervisor's and their processes.
fn deploy(host: &Host, controlling: &mut Controlling) -> (Pid, Vec<Pid>) {
    assert_all_succeed(&controlling.deploy("c1", &["one", "two"]), 2);
    (host.supervisor(), pids(&controlling.nodes().expect("nodes")))
}

/// The cluster is as before, by other processes; of the earlier ones none was left when the Supervisor was started.
fn assert_succeeded(host: &Host, controlling: &mut Controlling, (supervisor, nodes): &(Pid, Vec<Pid>)) {
    controlling.hear_hello();
    let left: Vec<_> = nodes.iter().filter(|node| lives(**node)).collect();
    assert!(left.is_empty(), "{left:?} live on beside the new ones");
    assert!(!lives(*supervisor));
    assert_ne!(host.supervisor(), *supervisor);
    controlling.hear_states(&["one", "two"], State::Running);
    let now = pids(&controlling.nodes().expect("nodes"));
    assert_eq!(now.len(), 2);
    assert!(now.iter().all(|node| !nodes.contains(node) && lives(*node)));
}

const SHORT_TIMEOUT: [&str; 2] = ["--supervisor-timeout", "8sec"];

#[test]
fn one_that_was_stopped_is_ended_and_its_successor_gets_the_nodes() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&SHORT_TIMEOUT);
    let before = deploy(&host, &mut controlling);
    kill_process(before.0, Signal::STOP).expect("it runs");
    let told = hear_error(&mut controlling, "lost the Supervisor");
    assert_eq!(
        told,
        "lost the Supervisor: it has not answered for 8 s; it is ended and started again"
    );
    controlling.hear_states(&["one", "two"], State::Unknown);
    // The client does not wait for something that cannot come.
    let refused = controlling.nodes().expect_err("it is being ended");
    assert!(refused.starts_with("lost the Supervisor: it"), "{refused}");
    assert_succeeded(&host, &mut controlling, &before);
    let log = agent.stop();
    assert!(
        log.contains(
            "the Supervisor has not answered for 8 s: it is ended with its nodes, and started again"
        ),
        "{log}"
    );
}

#[test]
fn one_that_hangs_and_does_not_end_is_killed_with_nodes_that_would_outlive_it() {
    let supervisor = SupervisorBehaviour {
        ignores_sigterm: true,
        ..SupervisorBehaviour::default()
    };
    let host = first_time(&supervisor, &outliving());
    let (agent, mut controlling) = host.start_connected(&SHORT_TIMEOUT);
    let before = deploy(&host, &mut controlling);
    kill_process(before.0, Signal::STOP).expect("it runs");
    hear_error(&mut controlling, "it has not answered for 8 s");
    assert_succeeded(&host, &mut controlling, &before);
    let log = agent.stop();
    assert!(log.contains("the Supervisor does not end, it is killed"), "{log}");
    assert!(
        log.contains("its process did not answer and was ended (signal: 9 (SIGKILL))"),
        "{log}"
    );
}

#[test]
fn one_that_is_silent_but_answers_when_asked_is_left_alone() {
    let host = Host::new();
    let [option, value] = SHORT_TIMEOUT;
    let (agent, mut controlling) = host.start_connected(&[option, value, "--journal", "journal"]);
    let (supervisor, nodes) = deploy(&host, &mut controlling);
    // Only the agent asks it anything.
    controlling.hear_nothing_for(TIMEOUT + TIMEOUT / 4);
    assert_eq!(host.supervisor(), supervisor);
    assert!(nodes.into_iter().all(lives));
    let journal = host.dir().join("../../../journal");
    agent.stop();
    let journal = fs::read_to_string(journal).expect("it was written");
    let answers = journal.matches("mgmt-agent-probe").count();
    assert!(answers >= 4, "{answers} answers");
}

#[test]
fn nodes_that_outlive_a_killed_supervisor_are_ended_before_the_next_is_started() {
    let host = first_time(&SupervisorBehaviour::default(), &outliving());
    let (agent, mut controlling) = host.start_connected(&[]);
    let before = deploy(&host, &mut controlling);
    kill_process(before.0, Signal::KILL).expect("it runs");
    hear_error(&mut controlling, "lost the Supervisor");
    assert_succeeded(&host, &mut controlling, &before);
    let log = agent.stop();
    assert!(
        log.contains("ending processes that an earlier Supervisor has left"),
        "{log}"
    );
}

#[test]
fn nodes_that_outlive_agent_and_supervisor_are_ended_by_the_next_agent() {
    let host = first_time(&SupervisorBehaviour::default(), &outliving());
    let (agent, mut controlling) = host.start_connected(&[]);
    let (supervisor, nodes) = deploy(&host, &mut controlling);
    agent.kill();
    kill_process(supervisor, Signal::KILL).expect("it outlives its agent");
    assert!(nodes.iter().copied().all(lives), "they outlive both");
    let (agent, _controlling) = host.start_connected(&[]);
    assert!(
        !nodes.into_iter().any(lives),
        "nodes of an earlier Supervisor live on"
    );
    agent.stop();
}
