//! Nodes kept by a real systemd, in a container ([`container`]). Where it is about what starts and ends them, that gets its orders and tells its news in
//! lines of JSON ([`driver`]); where it is about what operators see, there are agents as services, with a real controller and zeek-client ([`hosts`]).
//!
//! [`container`]: crate::support::container

mod adopted;
mod cluster;
mod controller;
mod driver;
mod ends;
mod hosts;
mod lacking;
mod rights;
mod silent;
mod stopped;

use std::collections::BTreeMap;

use mgmt_agent::{core::NodeSpec, supervisors::own::Launch};

use self::driver::Driver;
use crate::support::{
    cluster::agent_binary,
    container::{self, Container},
    network::Network,
};

/// Where nodes are, as our template unit says.
const NODES: &str = "/var/lib/zeek-mgmt/nodes";

/// A secret of each node.
const TOKEN: &str = "token-of-this-node";

/// A container in which nodes can be kept, or nothing where there can be none.
fn boot() -> Option<Container> {
    container::is_possible().then(|| boot_in(None))
}

/// Likewise, in this network.
fn boot_in(network: Option<&Network>) -> Container {
    let tests = std::env::current_exe().expect("this program has a path");
    let container = Container::boot(&[&tests, agent_binary()], network);
    container.sh(LAUNCHER);
    container.sh(
        "install -d -o zeek -g zeek /var/lib/zeek-mgmt /var/lib/zeek-mgmt/nodes && systemctl daemon-reload",
    );
    container
}

/// Has the agent run as its unit says, with the program where it is here, these settings, and these further arguments.
fn start_agent(container: &Container, settings: &str, arguments: &str) {
    container.sh(&format!(
        "
sed 's#/usr/bin/mgmt-agent#/opt/mgmt/mgmt-agent#; s#^ExecStart=.*#& {arguments}#' /opt/mgmt/mgmt-agent.service >/etc/systemd/system/mgmt-agent.service
mkdir -p /etc/zeek-mgmt
cat /opt/mgmt/agent.toml - >/etc/zeek-mgmt/agent.toml <<'END'
{settings}
END
systemctl daemon-reload
systemctl enable --now mgmt-agent
"
    ));
}

/// How the template unit gets to the launcher: as an administrator would change it.
const LAUNCHER: &str = "
mkdir -p /etc/systemd/system/zeek-node@.service.d
cat >/etc/systemd/system/zeek-node@.service.d/launcher.conf <<END
[Service]
ExecStart=
ExecStart=/opt/mgmt/mgmt-agent launch /var/lib/zeek-mgmt/nodes/%i
END
";

/// A node that does this, in the language of the shell.
fn launch(name: &str, script: &str) -> Launch {
    let spec = NodeSpec {
        name: name.into(),
        directory: format!("{NODES}/{name}").into(),
        ..NodeSpec::default()
    };
    Launch {
        spec,
        agent: "sensor1".into(),
        token: TOKEN.into(),
        program: "/usr/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([
            ("PATH".into(), "/usr/bin".into()),
            ("SECRET".into(), TOKEN.into()),
        ]),
        ..Launch::default()
    }
}

/// A node that runs until it is ended.
fn lasting(name: &str) -> Launch {
    launch(name, "echo it runs; exec sleep infinity")
}

/// Waits until a node has written this.
fn wrote(container: &Container, node: &str, words: &str) {
    container.sh(&format!(
        "until journalctl -u zeek-node@{node} | grep -q '{words}'; do sleep 0.1; done"
    ));
}
