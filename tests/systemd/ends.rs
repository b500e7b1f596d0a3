//! How nodes start and end, and what is told of that.

use std::collections::BTreeMap;

use mgmt_agent::supervisors::own::{End, News, Order};

use super::{Driver, NODES, TOKEN, boot, lasting, launch, wrote};
use crate::support::container::Container;

const fn signal(number: i32) -> End {
    End::Signal {
        number,
        dumped_core: false,
    }
}

fn administered(node: &str, runs: bool) -> News {
    News::Administered {
        node: node.into(),
        runs,
    }
}

#[test]
fn nodes_are_started_and_ended_and_what_they_wrote_is_told() {
    let Some(container) = boot() else { return };
    let (mut driver, found) = Driver::looking(&container, &[]);
    assert_eq!(driver.available, Ok(()));
    assert_eq!(found, []);

    // Started, as it should be.
    let worker = lasting("worker-1");
    let pid = driver.started(&worker);
    assert_eq!(
        container.sh("systemctl show -P MainPID zeek-node@worker-1"),
        pid.to_string()
    );
    assert_eq!(container.sh(&format!("ps -o user= -p {pid}")), "zeek");
    let status = container.sh(&format!("cat /proc/{pid}/status"));
    // CAP_NET_RAW and nothing else.
    assert!(status.contains("CapEff:\t0000000000002000\n"), "{status}");
    let slice = container.sh("systemctl status zeek.slice");
    assert!(slice.contains("zeek-node@worker-1.service"), "{slice}");
    let file = container.sh(&format!("stat -c '%U %a' {NODES}/worker-1/node.json"));
    assert_eq!(file, "zeek 600");
    let shown = container.sh("systemctl show zeek-node@worker-1; systemctl cat zeek-node@worker-1");
    assert!(!shown.contains(TOKEN), "{shown}");

    // Killed, and started again.
    wrote(&container, "worker-1", "it runs");
    container.sh(&format!("kill -9 {pid}"));
    assert_eq!(driver.ended(pid), (signal(9), "it runs\n".to_owned()));
    let pid = driver.started(&worker);
    container.sh(&format!(
        "until grep -q sleep /proc/{pid}/comm; do sleep 0.1; done"
    ));
    driver.order(&Order::Terminate {
        node: "worker-1".into(),
    });
    assert_eq!(driver.ended(pid), (signal(15), "it runs\n".to_owned()));

    // Its last hundred lines.
    let talkative = launch("talkative", "seq 150; echo the end >&2; exit 3");
    let pid = driver.started(&talkative);
    let (end, text) = driver.ended(pid);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        (end, lines.len(), lines[0], lines[99]),
        (End::Exit(3), 100, "52", "the end")
    );
    let silent = launch("silent", "true");
    let pid = driver.started(&silent);
    assert_eq!(driver.ended(pid), (End::Exit(0), String::new()));

    // One that does not want to, with a child of its own.
    let stubborn = launch(
        "stubborn",
        "trap '' TERM; sleep infinity & echo ready; while :; do wait; done",
    );
    let pid = driver.started(&stubborn);
    wrote(&container, "stubborn", "ready");
    driver.order(&Order::Terminate {
        node: "stubborn".into(),
    });
    driver.order(&Order::Kill {
        node: "stubborn".into(),
    });
    assert_eq!(driver.ended(pid), (signal(9), "ready\n".to_owned()));
    assert_eq!(container.sh("pgrep -u zeek sleep || true"), "");

    // Nothing is left of one that is forgotten.
    driver.order(&Order::Forget {
        node: "stubborn".into(),
    });
    let gone = format!(
        "while systemctl is-failed -q zeek-node@stubborn || test -e {NODES}/stubborn/node.json; do sleep 0.1; done"
    );
    container.sh(&gone);
}

#[test]
fn what_an_administrator_does_by_systemctl_is_told_as_that() {
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(&container, &[]);
    let worker = lasting("worker-1");
    let pid = driver.started(&worker);

    container.sh("systemctl stop zeek-node@worker-1");
    assert_eq!(driver.next(), administered("worker-1", false));
    assert_eq!(driver.ended(pid).0, signal(15));

    container.sh("systemctl start zeek-node@worker-1");
    let pid = found(&driver.next(), &worker);
    assert_eq!(driver.next(), administered("worker-1", true));

    container.sh("systemctl restart zeek-node@worker-1");
    assert_eq!(driver.next(), administered("worker-1", false));
    assert_eq!(driver.ended(pid).0, signal(15));
    let pid = found(&driver.next(), &worker);
    assert_eq!(driver.next(), administered("worker-1", true));

    // One that this agent was not told of.
    driver.kill();
    container.sh("systemctl stop zeek-node@worker-1");
    let (mut driver, none) = Driver::looking(&container, &[]);
    assert_eq!(none, []);
    container.sh("systemctl start zeek-node@worker-1");
    let pid = {
        let _ = pid;
        found(&driver.next(), &worker)
    };
    assert_eq!(driver.next(), administered("worker-1", true));

    // All at once.
    container.sh("systemctl stop zeek.slice");
    assert_eq!(driver.next(), administered("worker-1", false));
    assert_eq!(driver.ended(pid).0, signal(15));

    // A signal is no order of an administrator's.
    let pid = driver.started(&worker);
    container.sh("systemctl kill zeek-node@worker-1");
    assert_eq!(driver.ended(pid).0, signal(15));
}

#[track_caller]
fn found(news: &News, expected: &mgmt_agent::supervisors::own::Launch) -> i64 {
    match news {
        News::Found { launch, pid, age } => {
            assert_eq!(**launch, *expected);
            assert!(age.as_secs() < 600, "{age:?}");
            *pid
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_outlive_what_has_started_them_and_are_found_by_what_comes_after() {
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(&container, &[]);
    let worker = lasting("worker-1");
    let pid = driver.started(&worker);
    driver.kill();
    let (mut driver, all) = Driver::looking(&container, &[]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(found(&all[0], &worker), pid);

    // A systemd that executes itself anew.
    container.sh("systemctl daemon-reexec");
    container.sh(&format!("kill -9 {pid}"));
    assert_eq!(driver.ended(pid).0, signal(9));
    let pid = driver.started(&worker);
    container.sh("systemctl daemon-reload");

    // A bus that ends. The socket starts the next one.
    container.sh("systemctl kill --signal=KILL dbus.service");
    let News::Unavailable { reason } = driver.next() else {
        panic!("it is gone")
    };
    assert!(reason.contains("D-Bus"), "{reason}");
    assert_eq!(driver.next(), News::Available);
    let all = driver.look();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(found(&all[0], &worker), pid);
    container.sh(&format!("kill -9 {pid}"));
    assert_eq!(driver.ended(pid).0, signal(9));
}

/// Lines of a drop-in of one node's unit, or of its file.
fn change(container: &Container, file: &str, lines: &str) {
    let file = format!("/etc/systemd/system/{file}");
    container.sh(&format!(
        "mkdir -p $(dirname '{file}'); printf '{lines}' >'{file}'; systemctl daemon-reload"
    ));
}

#[test]
fn what_cannot_be_started_is_refused_with_the_reason() {
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(&container, &[]);
    for name in ["worker 1", "..", "a/b", "w\u{f6}rker"] {
        let reason = driver.refused(&lasting(name));
        assert!(reason.contains("can only have letters"), "{reason}");
    }
    // A unit of that name that is another one.
    change(
        &container,
        "zeek-node@foreign.service",
        "[Service]\\nExecStart=/usr/bin/sleep infinity\\n",
    );
    let reason = driver.refused(&lasting("foreign"));
    assert!(
        reason.contains("/etc/systemd/system/zeek-node@foreign.service"),
        "{reason}"
    );
    assert_eq!(
        container
            .output("systemctl is-active zeek-node@foreign")
            .status
            .code(),
        Some(3)
    );
    // One that starts something else.
    change(
        &container,
        "zeek-node@other.service.d/x.conf",
        "[Service]\\nExecStart=\\nExecStart=/usr/bin/sleep infinity\\n",
    );
    let reason = driver.refused(&lasting("other"));
    assert!(reason.contains("`/usr/bin/sleep infinity`"), "{reason}");
    // One whose program is not there.
    let lines = format!("[Service]\\nExecStart=\\nExecStart=/opt/nothing launch {NODES}/noexec\\n");
    change(&container, "zeek-node@noexec.service.d/x.conf", &lines);
    let reason = driver.refused(&lasting("noexec"));
    assert!(reason.contains("203"), "{reason}");
    // One that an administrator has masked.
    container.sh("systemctl mask zeek-node@masked.service");
    let reason = driver.refused(&lasting("masked"));
    assert!(reason.contains("masked"), "{reason}");

    // How much memory it may have, and may no more.
    let mut limited = lasting("limited");
    limited.limits.memory_max = Some(64 << 20);
    let pid = driver.started(&limited);
    assert_eq!(
        container.sh("systemctl show -P MemoryMax zeek-node@limited"),
        "67108864"
    );
    driver.order(&Order::Terminate {
        node: "limited".into(),
    });
    assert_eq!(driver.ended(pid).0, signal(15));
    driver.started(&lasting("limited"));
    assert_eq!(
        container.sh("systemctl show -P MemoryMax zeek-node@limited"),
        "infinity"
    );
    // It runs already, otherwise than it should.
    let mut another = lasting("limited");
    another.spec.interface = Some("eth0".into());
    let reason = driver.refused(&another);
    assert!(reason.contains("runs already"), "{reason}");
}

/// As many as a large host has, at once.
#[test]
fn two_hundred_nodes_start_and_end_at_once() {
    const NODES: usize = 200;
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(&container, &[]);
    let names: Vec<String> = (0..NODES).map(|number| format!("node-{number:03}")).collect();
    for name in &names {
        driver.order(&Order::Start {
            launch: Box::new(launch(name, "echo this is $0; exec sleep infinity")),
        });
    }
    let mut running = BTreeMap::new();
    while running.len() < NODES {
        match driver.next() {
            News::Started { node, pid } => assert_eq!(running.insert(node, pid), None),
            other => panic!("{other:?}"),
        }
    }
    container.sh(&format!(
        "until [ $(pgrep -c -u zeek sleep) = {NODES} ]; do sleep 0.1; done"
    ));
    container.sh("systemctl stop zeek.slice");
    let mut administered = 0;
    while !running.is_empty() {
        match driver.next() {
            News::Administered { runs: false, .. } => administered += 1,
            News::Ended {
                node,
                pid,
                end,
                outputs,
            } => {
                assert_eq!((running.remove(&node), end), (Some(pid), signal(15)));
                assert_eq!(outputs.stderr.to_string(), "this is /usr/bin/sh\\n", "{node}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(administered, NODES);
    assert_eq!(container.sh("systemctl list-units --no-legend 'zeek-node@*'"), "");
}
