//! What agents may do: one that is not root by our polkit rule, and one that is.

use mgmt_agent::supervisors::own::{End, Order};

use super::{Driver, boot, hosts::Hosts, lasting, launch, start_agent, wrote};

/// A process of the user's that our agent runs as.
const AS_ZEEK: [&str; 4] = [
    "setpriv",
    "--reuid=zeek",
    "--regid=zeek",
    "--groups=zeek,systemd-journal",
];

#[test]
fn an_agent_that_is_not_root_keeps_nodes_and_may_do_nothing_to_other_units() {
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(&container, &AS_ZEEK);
    assert_eq!(driver.available, Ok(()));
    let mut worker = lasting("worker-1");
    worker.limits.memory_max = Some(64 << 20);
    let pid = driver.started(&worker);
    wrote(&container, "worker-1", "it runs");
    driver.order(&Order::Terminate {
        node: "worker-1".into(),
    });
    let (end, text) = driver.ended(pid);
    assert_eq!(
        end,
        End::Signal {
            number: 15,
            dumped_core: false
        }
    );
    assert_eq!(text, "it runs\n");
    let pid = driver.started(&worker);
    driver.order(&Order::Kill {
        node: "worker-1".into(),
    });
    assert_eq!(
        driver.ended(pid).0,
        End::Signal {
            number: 9,
            dumped_core: false
        }
    );
    driver.order(&Order::Forget {
        node: "worker-1".into(),
    });

    let unit = "/etc/systemd/system/zeek-nodes.service";
    container.sh(&format!(
        "printf '[Service]\nExecStart=/usr/bin/true\n' >{unit}; systemctl daemon-reload"
    ));
    let zeek = AS_ZEEK.join(" ");
    for denied in [
        "systemctl --no-ask-password start systemd-tmpfiles-clean.service",
        "systemctl --no-ask-password stop systemd-journald.service",
        "systemctl --no-ask-password start zeek-nodes.service",
        "systemctl --no-ask-password kill dbus.service",
        "systemctl --no-ask-password set-property --runtime zeek.slice MemoryMax=1G",
        "systemctl --no-ask-password stop zeek-node@worker-1.service",
        "systemctl --no-ask-password mask --runtime zeek-node@worker-1.service",
        "systemctl --no-ask-password daemon-reload",
        "systemctl --no-ask-password poweroff",
        "systemd-run --no-ask-password --unit=zeek-node@transient.service true",
        "systemd-run --no-ask-password --uid=root true",
    ] {
        let output = container.output(&format!("{zeek} {denied} </dev/null"));
        let said = String::from_utf8_lossy(&output.stderr);
        let is_denied = ["authentication required", "Access denied"]
            .iter()
            .any(|words| said.contains(words));
        assert!(!output.status.success() && is_denied, "{denied}: {output:?}");
    }
}

#[test]
fn without_the_rule_or_the_unit_it_is_said_what_is_missing() {
    let Some(container) = boot() else { return };
    let driver = Driver::start(
        &container,
        &["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"],
    );
    let reason = driver.available.clone().expect_err("nobody may not");
    assert!(reason.contains("polkit rule"), "{reason}");
    container.sh("umount /etc/systemd/system/zeek-node@.service; rm -r /etc/systemd/system/zeek-node@*; systemctl daemon-reload");
    let driver = Driver::start(&container, &[]);
    assert_eq!(
        driver.available.clone(),
        Err("zeek-node@.service is not installed".to_owned())
    );
}

#[test]
fn an_agent_that_may_not_read_the_journal_says_so() {
    let Some(container) = boot() else { return };
    let (mut driver, _) = Driver::looking(
        &container,
        &["setpriv", "--reuid=zeek", "--regid=zeek", "--groups=zeek"],
    );
    let pid = driver.started(&launch("silenced", "echo something; exit 1"));
    let (end, text) = driver.ended(pid);
    assert_eq!(end, End::Exit(1));
    assert!(text.contains("group systemd-journal"), "{text}");
}

#[test]
fn the_agent_as_its_unit_starts_it_has_systemd_keep_nodes() {
    let Some(container) = boot() else { return };
    start_agent(&container, "controller = \"off\"", "");
    container
        .sh("until journalctl -u mgmt-agent | grep -q 'ready .*supervise=\"systemd\"'; do sleep 0.1; done");
    let pid = container.sh("systemctl show -P MainPID mgmt-agent");
    assert_eq!(container.sh(&format!("ps -o user= -p {pid}")), "zeek");
    assert_eq!(container.sh("stat -c %U /var/lib/zeek-mgmt"), "zeek");
    let socket = "/run/zeek-mgmt/agent.sock";
    assert_eq!(container.sh(&format!("stat -c '%U %a' {socket}")), "zeek 600");
    container.sh("systemctl stop mgmt-agent");
    assert_eq!(container.sh("systemctl show -P Result mgmt-agent"), "success");
    container.sh(&format!("test ! -e {socket}"));
}

/// Settings of an agent's unit with which that is root: its files are the group's that the nodes are in.
const AS_ROOT: &str = "
systemctl stop mgmt-agent
rm -rf /var/lib/zeek-mgmt
mkdir -p /etc/systemd/system/mgmt-agent.service.d
printf '[Service]\\nUser=root\\nCapabilityBoundingSet=~\\n' >/etc/systemd/system/mgmt-agent.service.d/root.conf
systemctl daemon-reload
systemctl start mgmt-agent";

/// Settings of a node's unit with which that is another user, who is in no group of the agent's.
const AS_ANOTHER: &str = "
mkdir -p /etc/systemd/system/zeek-node@worker-sensor-1-1.service.d
printf '[Service]\\nUser=nobody\\nGroup=nogroup\\n' >/etc/systemd/system/zeek-node@worker-sensor-1-1.service.d/user.conf
systemctl daemon-reload";

#[test]
fn an_agent_that_is_root_keeps_nodes_of_the_user_of_their_unit_if_it_is_in_the_agents_group() {
    let Some(mut hosts) = Hosts::start(&["--on-agent-exit keep"]) else {
        return;
    };
    hosts.host().sh(AS_ROOT);
    let cluster = Hosts::cluster(&[2]);
    let before = hosts.deploy(&cluster);
    hosts.host().sh("systemctl restart mgmt-agent");
    assert_eq!(hosts.all_run(), before);
    hosts.deploy(&Hosts::cluster(&[1]));

    hosts.host().sh(AS_ANOTHER);
    hosts.host().sh(&format!(
        "kill -9 {}",
        before["worker-sensor-1-1"].as_raw_nonzero()
    ));
    wrote(
        hosts.host(),
        "worker-sensor-1-1",
        "cannot use .*: Permission denied",
    );
    hosts.states_until(|states| states["worker-sensor-1-1"].0 == "FAILED");
}
