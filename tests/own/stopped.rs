//! Nodes that an operator stops stay so until they are started.

use mgmt_api::{State, operator};

use super::{Host, assert_all_run, assert_deployed, configuration, nodes, told_until};
use crate::support::{
    controlling::{Controlling, Operator},
    limit::Limit,
};

const STOPPED: &str = "worker-1";

/// All nodes run as before but one, which does not.
fn assert_stopped(host: &Host, controlling: &mut Controlling, before: &super::Pids) {
    let limit = Limit::new("the node to end");
    limit.poll(|| (!host.processes().contains_key(STOPPED)).then_some(()));
    let mut others = before.clone();
    others.remove(STOPPED);
    assert_eq!(host.pids(), others);
    // Those that an agent finds running are up when it has found them, and of one that has just
    // ended it hears a moment later than a look into /proc shows.
    told_until(controlling, |said| {
        let due = |name: &str| match name {
            STOPPED => State::Stopped,
            _ => State::Running,
        };
        let mut said = said.iter();
        said.all(|(name, (state, pid))| *state == due(name) && pid.is_some() != (name == STOPPED))
    });
}

#[test]
fn an_operators_stop_survives_the_agent_and_the_same_deployment_until_a_start() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let wanted = nodes(&["manager", STOPPED, "worker-2"]);
    let config = configuration("c1", &wanted);
    assert_deployed(&controlling.deploy_configuration(&config));
    let before = assert_all_run(&host, &mut controlling, &wanted);

    let mut operator = Operator::connect(agent.broker());
    let unknown = Err("this agent has no node worker-3".to_owned());
    assert_eq!(operator.ask(operator::STOP, &["worker-3"]), unknown);
    assert_eq!(
        operator.ask(operator::STOP, &[STOPPED]),
        Ok(vec![STOPPED.to_owned()])
    );
    assert_eq!(
        operator.ask(operator::STOP, &[STOPPED]),
        Ok(Vec::new()),
        "it is stopped"
    );
    assert_stopped(&host, &mut controlling, &before);
    assert_deployed(&controlling.deploy_configuration(&config));
    assert_stopped(&host, &mut controlling, &before);

    agent.kill();
    let (agent, mut controlling) = host.start_connected(&[]);
    assert_stopped(&host, &mut controlling, &before);
    // A controller that stages it again gives it another id.
    assert_deployed(&controlling.deploy_configuration(&configuration("c2", &wanted)));
    assert_stopped(&host, &mut controlling, &before);

    let mut operator = Operator::connect(agent.broker());
    assert_eq!(operator.ask(operator::START, &[]), Ok(vec![STOPPED.to_owned()]));
    controlling.hear_states(&[STOPPED], State::Running);
    let after = assert_all_run(&host, &mut controlling, &wanted);
    assert_eq!(after["worker-2"], before["worker-2"]);
    agent.stop();
}
