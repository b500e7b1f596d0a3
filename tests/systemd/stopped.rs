//! Nodes that an administrator stops stay so until they are started; all others are there again when the host is.

use super::hosts::{Hosts, Pids};

const STOPPED: &str = "worker-sensor-1-1";

/// All nodes run, as these processes, but one, which does not.
#[track_caller]
fn assert_stopped(hosts: &mut Hosts, before: &Pids) {
    let states = hosts.states_until(|states| {
        let mut others = states.iter().filter(|(name, _)| *name != STOPPED);
        !states.is_empty() && others.all(|(_, (state, _))| state == "RUNNING")
    });
    assert_eq!(states[STOPPED], ("STOPPED".to_owned(), None));
    assert_eq!(hosts.pids(), without(before));
}

fn without(pids: &Pids) -> Pids {
    let mut others = pids.clone();
    others.remove(STOPPED);
    others
}

#[test]
fn what_is_stopped_by_systemctl_stays_so_over_a_reboot_after_which_all_others_are_back_without_a_controller()
{
    let Some(mut hosts) = Hosts::start(&["--on-agent-exit keep"]) else {
        return;
    };
    let cluster = Hosts::cluster(&[3]);
    let before = hosts.deploy(&cluster);
    hosts.host().sh(&format!("systemctl stop zeek-node@{STOPPED}"));
    hosts.states_until(|states| states[STOPPED].0 == "STOPPED");
    assert_stopped(&mut hosts, &before);
    hosts
        .operated
        .succeed(&["deploy-config", "-"], Some(&cluster.text()));
    assert_stopped(&mut hosts, &before);
    hosts.host().sh("systemctl restart mgmt-agent");
    assert_stopped(&mut hosts, &before);

    let mut hosts = hosts.without_controller(|containers| {
        containers[0].reboot();
        for node in without(&before).keys() {
            let runs = format!("until systemctl is-active --quiet zeek-node@{node}; do sleep 0.1; done");
            containers[0].sh(&runs);
        }
    });
    let booted = hosts.pids();
    assert!(booted.keys().eq(without(&before).keys()), "{booted:?}");
    assert_stopped(&mut hosts, &booted);

    hosts.host().sh(&format!("systemctl start zeek-node@{STOPPED}"));
    hosts.states_until(|states| states[STOPPED].0 == "RUNNING");
    assert_eq!(without(&hosts.all_run()), booted);
}
