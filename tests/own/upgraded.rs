//! A Zeek that is replaced on disk while nodes run.

use std::fs;

use rustix::process::{Pid, Signal};
use testkit::write_executable;

use super::{Host, assert_all_run, assert_deployed, configuration, nodes};
use crate::support::{cluster::zeek_binary, limit::Limit, signal};

/// The script that a Zeek of 8.1 needs to talk by Broker, and one of 8.0 does not have.
const SCRIPT: &[u8] = b"policy/frameworks/cluster/backend/broker\0";

/// Installs a stand-in for Zeek that says to be of this release, in place of the one before.
fn install(host: &Host, version: &str) {
    let bin = host.home.path().join("zeek/bin");
    let stand_in = zeek_binary().display();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec echo zeek version {version}\nexec {stand_in} \"$@\"\n"
    );
    let new = bin.join("new");
    write_executable(&new, &script);
    fs::rename(new, bin.join("zeek")).expect("it is replaced");
}

fn loads_script(pid: Pid) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    line.windows(SCRIPT.len()).any(|words| words == SCRIPT)
}

#[test]
fn nodes_are_started_as_the_zeek_takes_it_that_is_on_disk_then() {
    let mut host = Host::new();
    host.zeek = Some(host.home.path().join("zeek"));
    install(&host, "8.0.0");
    let (agent, mut controlling) = host.start_connected(&[]);
    let wanted = nodes(&["manager", "worker-1"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);
    assert!(!before.values().any(|pid| loads_script(*pid)));

    install(&host, "8.1.0");
    // The agent looks at the program when it starts a node.
    signal(before["worker-1"], Signal::KILL);
    controlling.hear_said(&[
        "zeek has changed, it is zeek version 8.1.0 now: nodes that run go on with the program before",
    ]);
    let limit = Limit::new("worker-1 to be another process");
    let running = limit.poll(|| {
        host.processes()
            .get("worker-1")?
            .first()
            .copied()
            .filter(|pid| *pid != before["worker-1"])
    });
    signal(running, Signal::KILL);
    let limit = Limit::new("worker-1 to be started as the new Zeek takes it");
    limit.poll(|| loads_script(*host.processes().get("worker-1")?.first()?).then_some(()));
    let after = assert_all_run(&host, &mut controlling, &wanted);
    assert_eq!(after["manager"], before["manager"]);
    agent.stop();
}
