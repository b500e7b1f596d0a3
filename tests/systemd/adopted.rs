//! Agents that are killed at any time, or replaced by others: their nodes run on, and the next agent has them.

use std::{process::Child, thread};

use super::hosts::Hosts;
use crate::support::{cluster_file::ClusterFile, limit::Limit, soak};

/// The node whose environment changes, and which is restarted for that, when another configuration has its turn.
const CHANGING: &str = "worker-sensor-1-3";

fn cluster(turn: u64) -> ClusterFile {
    let mut cluster = Hosts::cluster(&[3]);
    if turn % 2 == 1 {
        cluster.set(CHANGING, "env = TURN=odd");
    }
    cluster
}

/// The controller may be about to bring an agent that is back to what was deployed before.
fn deployed_at_last(hosts: &mut Hosts, wanted: &ClusterFile) {
    let text = wanted.text();
    let limit = Limit::new("a deployment");
    limit.poll(|| {
        let outcome = hosts.operated.run(&["deploy-config", "-"], Some(&text));
        (outcome.exit == 0).then_some(())
    });
}

/// Systemd starts it again, and may not have done so since the last time.
const KILL: &str = "systemctl kill --kill-whom=main --signal=KILL mgmt-agent || true";

/// Without it, systemd would wait for a second.
const AT_ONCE: &str = "
mkdir -p /etc/systemd/system/mgmt-agent.service.d
printf '[Service]\\nRestartSec=50ms\\n' >/etc/systemd/system/mgmt-agent.service.d/at-once.conf
systemctl daemon-reload";

#[test]
fn an_agent_that_is_killed_at_any_time_or_replaced_leaves_its_nodes_to_the_next() {
    let Some(mut hosts) = Hosts::start(&["--on-agent-exit keep"]) else {
        return;
    };
    hosts.host().sh(AT_ONCE);
    let mut dice = soak::dice();
    let first = cluster(0);
    let mut before = hosts.deploy(&first);
    let names: Vec<String> = before.keys().cloned().collect();
    let kills = soak::kills();
    for round in 1..=kills {
        let wanted = cluster(round);
        let mut deployment = None;
        let mut killed = None;
        match round % 3 {
            0 => {}
            1 => deployment = Some(hosts.operated.begin(&["deploy-config", "-"], &wanted.text())),
            _ => {
                let name = &names[usize::try_from(dice.below(names.len() as u64)).expect("small")];
                hosts
                    .host()
                    .sh(&format!("kill -9 {}", before[name].as_raw_nonzero()));
                killed = Some(name);
            }
        }
        // Not to wait for something: to kill at any time.
        let after = dice.millis(0, 1200);
        thread::sleep(after);
        hosts.host().sh(KILL);
        if dice.percent(30) {
            // The next one as well, while it looks around.
            thread::sleep(dice.millis(0, 300));
            hosts.host().sh(KILL);
        }
        // It may have been done or not.
        drop(deployment.map(Child::wait_with_output));
        deployed_at_last(&mut hosts, &wanted);
        let now = hosts.deploy(&wanted);
        for name in &names {
            if name != CHANGING && Some(name) != killed {
                assert_eq!(
                    now[name], before[name],
                    "round {round}, killed after {after:?}: {name}"
                );
            }
        }
        before = now;
    }

    hosts
        .host()
        .sh("mkdir /opt/other && cp /opt/mgmt/mgmt-agent /opt/other/
         sed -i 's#^ExecStart=/opt/mgmt/#ExecStart=/opt/other/#' /etc/systemd/system/mgmt-agent.service
         systemctl daemon-reload && systemctl restart mgmt-agent");
    assert_eq!(hosts.all_run(), before);
    let same = cluster(kills);
    assert_eq!(hosts.deploy(&same), before);
}
