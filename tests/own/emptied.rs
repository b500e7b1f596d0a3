//! What is to have no nodes has no process.

use std::{collections::BTreeMap, fs};

use mgmt_api::AgentRequest;
use rustix::process::Signal;

use super::{
    Host, NAME, assert_all_run, assert_deployed, configuration, node, nodes, remove_directory, told,
    told_until,
};
use crate::support::{cluster::agent_command, limit::Limit, program::run_command, signal};

fn no_process_is_left(host: &Host) {
    let limit = Limit::new("no node to run");
    limit.poll(|| host.processes().is_empty().then_some(()));
}

#[test]
fn a_host_without_nodes_or_out_of_the_cluster_has_no_process_and_its_next_agent_starts_none() {
    let host = Host::new();
    let archives = ["archive_cmd=true", "archive_dir=logs"].map(|set| format!("Management::Agent::{set}"));
    let (agent, mut controlling) = host.start_connected(&archives.each_ref().map(String::as_str));
    let wanted = nodes(&["manager", "logger", "worker-1"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    assert_all_run(&host, &mut controlling, &wanted);
    let live_logs = host.home.path().join("logs/current");
    let limit = Limit::new("the link to live logs to be made, and removed");
    let shown = limit.poll(|| live_logs.canonicalize().ok());
    assert_eq!(
        shown,
        host.directory("logger").canonicalize().expect("it is there")
    );
    assert_deployed(&controlling.deploy_configuration(&configuration("c2", &[])));
    no_process_is_left(&host);
    limit.poll(|| live_logs.symlink_metadata().is_err().then_some(()));
    told_until(&mut controlling, BTreeMap::is_empty);

    assert_deployed(&controlling.deploy_configuration(&configuration("c3", &wanted)));
    assert_all_run(&host, &mut controlling, &wanted);
    controlling.ask(|reqid| AgentRequest::AgentStandby { reqid });
    no_process_is_left(&host);
    agent.kill();

    let (agent, mut controlling) = host.start_connected(&[]);
    assert!(told(&mut controlling).is_empty());
    // What it is told next is the first that it does.
    let other = [node("worker-2")];
    assert_deployed(&controlling.deploy_configuration(&configuration("c4", &other)));
    assert_all_run(&host, &mut controlling, &other);
    agent.stop();
    assert!(host.processes().is_empty());
}

#[test]
fn a_host_whose_state_directory_is_removed_has_its_nodes_again() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "stop"]);
    let wanted = nodes(&["manager", "worker-1"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    remove_directory(&host.home.path().join("state/nodes"));
    signal(before["worker-1"], Signal::KILL);
    let limit = Limit::new("another process of the node");
    limit.poll(|| {
        host.processes()
            .get("worker-1")
            .filter(|pids| pids[..] != [before["worker-1"]])
            .map(drop)
    });
    let after = assert_all_run(&host, &mut controlling, &wanted);
    assert_eq!(after["manager"], before["manager"]);
    agent.stop();
    assert!(host.processes().is_empty());
}

#[test]
fn nodes_of_a_supervisor_of_zeeks_are_not_started_once_more() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&["--supervise", "zeek"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &nodes(&["manager"]))));
    agent.kill();
    let mut next = agent_command(&host.home, NAME, "127.0.0.1:0");
    next.args(["--simulate", "--supervise", "native", "--controller", "off"])
        .current_dir(host.home.path());
    run_command(&mut next).failed(
        1,
        "a Supervisor of Zeek's that an earlier agent has started runs with its nodes",
    );
}

#[test]
fn a_second_agent_of_the_name_is_refused_whatever_its_directory_is_called() {
    let host = Host::new();
    let first = host.start(&[]);
    let mut next = agent_command(&host.home, NAME, "127.0.0.1:0");
    next.args([
        "--simulate",
        "--controller",
        "off",
        "Management::Agent::directory=other",
    ])
    .current_dir(host.home.path());
    let holder = format!("in use by process {} (mgmt-agent)", first.pid());
    run_command(&mut next).failed(1, &holder);
    first.stop();
}

#[test]
fn nodes_are_kept_where_scripts_cannot_be_written_and_these_are_written_when_they_can_be() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let wanted = nodes(&["manager", "worker-1"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    agent.kill();
    let script = host.directory(NAME).join("scripts/node-link.zeek");
    fs::remove_file(&script).expect("it is there");
    fs::create_dir_all(script.join("in the way")).expect("a directory can be made");

    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "stop"]);
    assert_eq!(assert_all_run(&host, &mut controlling, &wanted), before);
    fs::remove_dir_all(&script).expect("it is there");
    signal(before["worker-1"], Signal::KILL);
    Limit::new("the script to be written").poll(|| script.is_file().then_some(()));
    let log = agent.stop();
    let warned = log
        .lines()
        .filter(|line| line.contains("cannot write the script"));
    assert_eq!(warned.count(), 1, "{log}");
    assert!(log.contains("they are written again"), "{log}");
}

#[test]
fn nodes_end_with_their_agent_or_outlive_it_as_the_operator_wants() {
    let host = Host::new();
    let wanted = nodes(&["manager", "worker-1"]);
    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "keep"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    agent.stop();
    assert_eq!(host.pids(), before);

    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "stop"]);
    assert_eq!(assert_all_run(&host, &mut controlling, &wanted), before);
    agent.stop();
    assert!(host.processes().is_empty());

    // They are to run all the same.
    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "stop"]);
    assert_all_run(&host, &mut controlling, &wanted);
    agent.stop();
}
