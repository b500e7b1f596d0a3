//! The Debian packages, as an administrator has them: in a Debian of their own that systemd has started.
//!
//! `scripts/check.sh` makes both, the packages by `scripts/packages.sh --dev`, and requires the test. What it does first are the commands of docs/operate/install.md.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    container::{self, Container},
    pending, workspace_root,
};

/// Where an administrator has the packages, in the container, and those to upgrade to.
const DEBS: [&str; 2] = ["/srv/packages", "/srv/next"];

/// What is otherwise than on the page, in the one container that has both daemons and no Zeek, and where no administrator answers.
const HERE: [(&str, &str); 3] = [
    ("apt install", "apt install --yes"),
    ("10.0.0.1:2150", "127.0.0.1:2150"),
    (
        "zeek_prefix = \"/opt/zeek\"",
        "simulate = true\nsupervise = \"systemd\"\non_agent_exit = \"keep\"",
    ),
];

const DEPLOY: &str = "
cat >/srv/cluster.ini <<'END'
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
until mgmtctl instances | grep -q sensor1; do sleep 0.1; done
mgmtctl deploy --yes /srv/cluster.ini";

const ENROL: &str = "
set -e
cat >>/etc/zeek-mgmt/controller.toml <<'END'
own_ca = true
http_listen = \"127.0.0.1:2148\"
END
systemctl restart mgmt-controller
mgmtctl enroll sensor1 | mgmt-agent enroll -
systemctl restart mgmt-agent
until mgmtctl restart --all; do sleep 0.1; done
until mgmtctl status; do sleep 0.1; done
journalctl -u mgmt-agent | grep -q 'broker_tls=.*mutual'
";

/// The commands of the page that says how to install.
fn documented() -> Vec<String> {
    let page = workspace_root().join("docs/operate/install.md");
    let page = fs::read_to_string(page).expect("it can be read");
    let fences = page.split("```sh\n").skip(1).map(|rest| {
        let (commands, _) = rest.split_once("```").expect("it ends");
        HERE.iter().fold(commands.to_owned(), |text, (there, here)| {
            text.replace(there, here)
        })
    });
    fences.collect()
}

/// The packages, and a Debian to install them in.
fn made() -> Option<(PathBuf, PathBuf)> {
    let packages = workspace_root().join("target/packages");
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
    for (from, to) in [packages.clone(), packages.join("next")].iter().zip(DEBS) {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(&to).expect("a directory can be made");
        for package in fs::read_dir(from).expect("they can be listed") {
            let package = package.expect("it can be read");
            if package.file_name().as_encoded_bytes().ends_with(b".deb") {
                fs::copy(package.path(), to.join(package.file_name())).expect("it can be copied");
            }
        }
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
    let [on_controller, on_sensor] = <[String; 2]>::try_from(documented()).expect("of two machines");
    let [packages, next] = DEBS;
    let as_documented = |commands: &str| container.sh(&format!("set -ex; cd {packages}; {commands}"));
    let (install, start) = on_controller.split_once('\n').expect("first they are installed");
    as_documented(install);
    // Its ports ask for nothing until an administrator has decided that.
    container.sh("! systemctl is-active mgmt-controller && ! systemctl is-enabled mgmt-controller");
    as_documented(start);
    as_documented(&on_sensor);
    for page in [
        "mgmt-controller-check-config",
        "mgmt-agent",
        "mgmtctl-config-diff",
    ] {
        container.sh(&format!("test -s /usr/share/man/man1/{page}.1.gz"));
    }
    let settings = "/etc/zeek-mgmt/agent.toml";
    assert_eq!(
        container.sh(&format!("stat -c '%U %G %a' {settings}")),
        "root zeek 640"
    );

    container.sh(DEPLOY);
    let before = nodes(&container);
    assert!(before.keys().eq(["manager", "worker-1"]), "{before:?}");

    // It finds what the unit's controller has.
    let stored = container.sh(
        "cd / && mgmt-controller store backup /srv/backup.tar && mgmt-controller store verify && mgmt-controller store inspect",
    );
    assert!(
        stored.contains("deployed: ") && stored.contains("instances: 1, nodes: 2"),
        "{stored}"
    );

    let agent = container.sh("systemctl show -P MainPID mgmt-agent");
    container.sh(&format!("dpkg --install {next}/*.deb"));
    assert_ne!(container.sh("systemctl show -P MainPID mgmt-agent"), agent);
    assert_eq!(nodes(&container), before, "they outlive an upgrade");
    container.sh(&format!("grep -q '^simulate' {settings}"));

    container.reboot();
    let after = nodes(&container);
    assert!(after.keys().eq(before.keys()), "{after:?}");

    // As docs/secure.md has it, with the packages' settings.
    container.sh(ENROL);
    assert!(nodes(&container).keys().eq(before.keys()));

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
    container.sh(&format!("test -e {settings} -a -e /var/lib/zeek-mgmt"));
    container.sh("dpkg --purge zeek-mgmt-agent zeek-mgmt-controller");
    container.sh("test ! -e /etc/zeek-mgmt -a -e /var/lib/zeek-mgmt");
}
