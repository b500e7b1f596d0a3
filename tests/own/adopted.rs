//! Agents that are killed at any time, or replaced by others: their nodes run on, and the next agent has them.

use std::{collections::BTreeMap, fs, thread};

use mgmt_api::{AgentRequest, Configuration, Node, operator};
use rustix::process::Signal;
use testkit::Dice;

use super::{Host, Pids, assert_all_run, assert_deployed, configuration, connect, nodes, once_each};
use crate::support::{
    controlling::{Controlling, Operator},
    daemon::Daemon,
    signal, soak,
};

/// The cluster, and the same with another environment of one worker, which is restarted when they take turns.
const NODES: [&str; 5] = ["manager", "proxy-1", "worker-1", "worker-2", "worker-3"];
const CHANGING: &str = "worker-3";

fn cluster(turn: u64) -> Vec<Node> {
    let mut nodes = nodes(&NODES);
    if turn % 2 == 1 {
        let changing = nodes.last_mut().expect("it has nodes");
        changing.env.insert("TURN".into(), "odd".into());
    }
    nodes
}

/// Has the agent begin with something. Returns the nodes that it concerns: all others run on, whatever becomes of it.
fn begin(
    round: u64,
    dice: &mut Dice,
    agent: &Daemon,
    controlling: &mut Controlling,
    before: &Pids,
) -> Vec<&'static str> {
    let node = NODES[usize::try_from(dice.below(NODES.len() as u64)).expect("small")];
    let mut deploy = |config: Configuration| {
        controlling.send(|reqid| AgentRequest::Deploy {
            reqid,
            config: config.into(),
            force: false,
        });
    };
    match round % 5 {
        0 => Vec::new(),
        1 => {
            deploy(configuration(&format!("other-{round}"), &cluster(round)));
            Vec::new()
        }
        2 => {
            deploy(configuration("empty", &[]));
            NODES.to_vec()
        }
        3 => {
            signal(before[node], Signal::KILL);
            vec![node]
        }
        _ => {
            let mut operator = Operator::connect(agent.broker());
            assert_eq!(operator.ask(operator::STOP, &[node]), Ok(vec![node.to_owned()]));
            operator.send(operator::START, &[node]);
            vec![node]
        }
    }
}

#[test]
fn an_agent_that_is_killed_at_any_time_leaves_its_nodes_to_the_next() {
    let host = Host::new();
    let mut dice = soak::dice();
    let (mut agent, mut controlling) = host.start_connected(&[]);
    let wanted = cluster(0);
    assert_deployed(&controlling.deploy_configuration(&configuration("round-0", &wanted)));
    let mut before = assert_all_run(&host, &mut controlling, &wanted);
    for round in 0..soak::kills() {
        let concerned = begin(round, &mut dice, &agent, &mut controlling, &before);
        let after = dice.millis(0, 120);
        let what = format!("round {round}, killed after {after:?}");
        // Not to wait for something: to kill at any time.
        thread::sleep(after);
        agent.kill();
        once_each(host.processes());

        (agent, controlling) = host.start_connected(&[]);
        if dice.percent(30) {
            // The next one as well, while it looks around.
            thread::sleep(dice.micros(16));
            agent.kill();
            (agent, controlling) = host.start_connected(&[]);
        }
        // What the round began with may have been done or not.
        let _ = Operator::connect(agent.broker()).ask(operator::START, &[]);
        let wanted = cluster(round);
        let config = configuration(&format!("round-{round}"), &wanted);
        assert_deployed(&controlling.deploy_configuration(&config));
        let now = assert_all_run(&host, &mut controlling, &wanted);
        for name in NODES
            .iter()
            .filter(|name| **name != CHANGING && !concerned.contains(name))
        {
            assert_eq!(now[*name], before[*name], "{what}: another process of {name}");
        }
        before = now;
    }
    agent.stop();
    assert_eq!(host.processes(), BTreeMap::new());
}

#[test]
fn an_agent_that_is_replaced_by_another_program_keeps_all_nodes() {
    let mut host = Host::new();
    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "keep"]);
    let wanted = cluster(0);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);

    let upgraded = host.home.path().join("mgmt-agent-2");
    fs::copy(&host.agent, &upgraded).expect("a program can be copied");
    host.agent = upgraded;
    agent.stop();
    let (agent, mut controlling) = host.start_connected(&["--on-agent-exit", "keep"]);
    assert_eq!(assert_all_run(&host, &mut controlling, &wanted), before);
    // Also for the controller, which deploys what it knows.
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    assert_eq!(assert_all_run(&host, &mut controlling, &wanted), before);
    let log = agent.stop();
    assert!(log.contains("5 of its nodes have run on"), "{log}");

    let agent = host.start(&["--on-agent-exit", "stop"]);
    connect(&agent);
    agent.stop();
    assert_eq!(host.processes(), BTreeMap::new());
}
