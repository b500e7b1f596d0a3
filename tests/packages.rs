//! The Debian packages, as an administrator has them: in a Debian of their own that systemd has started.
//!
//! `scripts/check.sh` makes both, the packages by `scripts/packages.sh --dev`, and has no test without them. So do the commands of [docs/packages.md](../docs/packages.md).

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    container::{self, Container},
    pending, workspace_root,
};

/// Where what is installed is, in the container.
const DEBS: &str = "/root/packages";

const CONFIGURE: &str = "
cat >/etc/zeek-mgmt/agent.toml <<'END'
name = \"sensor1\"
simulate = true
supervise = \"systemd\"
on_agent_exit = \"keep\"
END
cat >/root/cluster.ini <<'END'
[instances]
sensor1

[manager]
instance = sensor1
role = manager
port = 2200

[worker-1]
instance = sensor1
role = worker
interface = lo
END
systemctl enable --now mgmt-controller mgmt-agent
until mgmtctl instances | grep -q sensor1; do sleep 0.1; done
mgmtctl deploy --yes /root/cluster.ini";

/// The packages, and a Debian to install them in.
fn made() -> Option<(PathBuf, PathBuf)> {
    let packages = workspace_root().join("target/debian");
    let debian = workspace_root().join(".local/debian-12");
    for (made, what) in [(&packages, "packages"), (&debian, "Debian to install them in")] {
        if !made.is_dir() {
            let why = format!("there are no {what}: scripts/check.sh makes them");
            pending("packages", "packages", &why);
            return None;
        }
    }
    container::is_possible().then_some((packages, debian))
}

/// A Debian that has these packages in [`DEBS`].
fn boot() -> Option<Container> {
    let (packages, debian) = made()?;
    let directory = TempDir::with_prefix("debian-").expect("a directory can be made");
    let root = directory.path().join("root");
    let copied = Command::new("cp").arg("-a").args([&debian, &root]).status();
    assert!(copied.expect("cp is there").success());
    let place = root.join(DEBS.trim_start_matches('/'));
    fs::create_dir_all(&place).expect("a directory can be made");
    for package in fs::read_dir(packages).expect("they can be listed") {
        let package = package.expect("it can be read");
        fs::copy(package.path(), place.join(package.file_name())).expect("it can be copied");
    }
    Some(Container::boot_root(directory))
}

/// The process of each node, once all run.
fn nodes(container: &Container) -> BTreeMap<String, u64> {
    container.sh("until mgmtctl status; do sleep 0.1; done");
    let status: Value = serde_json::from_str(&container.sh("mgmtctl status --json")).expect("it is JSON");
    let instances = status["instances"].as_array().expect("they are listed").iter();
    let nodes = instances.flat_map(|instance| instance["nodes"].as_array().expect("they are listed"));
    let running = nodes.map(|node| {
        let name = node["node"].as_str().expect("it has a name");
        (name.to_owned(), node["pid"].as_u64().expect("it runs"))
    });
    running.collect()
}

#[test]
fn packages_are_installed_upgraded_with_nodes_running_rebooted_and_removed() {
    let Some(mut container) = boot() else { return };
    container.sh(&format!("dpkg --install {DEBS}/*_0.*.deb"));
    for unit in ["mgmt-controller", "mgmt-agent"] {
        // Its ports ask for nothing until an administrator has decided that.
        assert_eq!(
            container
                .output(&format!("systemctl is-active {unit}"))
                .status
                .code(),
            Some(3)
        );
        container.sh(&format!(
            "test -s /usr/share/man/man1/{unit}.1.gz -a -s /usr/share/man/man1/{unit}-check-config.1.gz"
        ));
        container.sh(&format!(
            "setpriv --reuid=zeek --regid=zeek --clear-groups {unit} dump-config"
        ));
    }
    container.sh("test -s /usr/share/man/man1/mgmtctl-config-diff.1.gz");
    assert_eq!(
        container.sh("stat -c '%U %G %a' /etc/zeek-mgmt/agent.toml"),
        "root zeek 640"
    );

    container.sh(CONFIGURE);
    let before = nodes(&container);
    assert!(before.keys().eq(["manager", "worker-1"]), "{before:?}");

    let agent = container.sh("systemctl show -P MainPID mgmt-agent");
    container.sh(&format!("dpkg --install {DEBS}/*_999_*.deb"));
    assert_ne!(container.sh("systemctl show -P MainPID mgmt-agent"), agent);
    assert_eq!(nodes(&container), before, "they outlive an upgrade");
    container.sh("grep -q simulate /etc/zeek-mgmt/agent.toml");

    container.reboot();
    let after = nodes(&container);
    assert!(after.keys().eq(before.keys()), "{after:?}");

    container.sh("dpkg --remove zeek-mgmt-agent zeek-mgmt-controller zeek-mgmt-client");
    assert_eq!(
        container.sh("ps -u zeek -o comm= || true"),
        "",
        "nothing of ours is left"
    );
    assert_eq!(
        container.sh("systemctl list-units --plain --no-legend 'zeek*' 'mgmt-*'"),
        ""
    );
    container.sh("test -e /etc/zeek-mgmt/agent.toml -a -e /var/lib/zeek-mgmt");
    container.sh("dpkg --purge zeek-mgmt-agent zeek-mgmt-controller");
    container.sh("test ! -e /etc/zeek-mgmt -a -e /var/lib/zeek-mgmt");
}
