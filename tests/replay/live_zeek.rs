//! Zeek's own controller and agent, of the Zeek that is installed, in the place of the recorded ones. Where there is none it cannot
//! run, and says so.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
};

use tempfile::TempDir;
use testkit::ReservedPort;

use super::replay;
use crate::{
    live::installed_zeek,
    live_controller::Zeek,
    support::{cluster::Protection, limit::Limit},
};

/// Starts a `zeek -j` with the controller or the agent, and waits until that listens: on the last port that it opens.
fn start(
    prefix: &Path,
    home: &TempDir,
    which: &str,
    protection: &Protection,
    script: &str,
    last: SocketAddr,
) -> Zeek {
    let quoted = |setting: String| match setting.split_once('=') {
        Some((name, "T")) => format!("redef {name} = T;\n"),
        Some((name, path)) => format!("redef {name} = \"{path}\";\n"),
        None => panic!("{setting} is no setting"),
    };
    let settings: String = protection.settings("zeek").into_iter().map(quoted).collect();
    let script = format!("@load policy/frameworks/management/{which}\n{settings}{script}");
    let zeek = Zeek::start(prefix, home, &script);
    Limit::new(format_args!("a process that listens at {last}")).poll(|| TcpStream::connect(last).ok());
    zeek
}

/// Replays a recording of Zeek 9.0 with the controller of this Zeek: strictly, for deviations are ours.
fn controller(prefix: &Path, recording: &str, protection: &Protection) -> (bool, String) {
    let home = TempDir::new().unwrap();
    let [broker, websocket] = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
    let script = format!(
        "redef Management::Controller::name = \"controller\";
redef Management::Controller::listen_port = \"{}/tcp\";
redef Management::Controller::listen_port_websocket = \"{}/tcp\";",
        broker.port(),
        websocket.port()
    );
    let (broker, websocket) = (broker.address(), websocket.address());
    let _zeek = start(prefix, &home, "controller", protection, &script, websocket);
    let tls = protection.settings("replay").join(" ");
    let options = format!("--role controller --strict --peer {broker} --websocket {websocket} {tls}");
    replay(recording, &options).unwrap()
}

/// The same with its agent. The Zeek that starts it must not listen, for its Supervisor is played.
fn agent(prefix: &Path, recording: &str, protection: &Protection) -> (bool, String) {
    let home = TempDir::new().unwrap();
    let [own, at_controller, at_supervisor] = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
    let controller = if recording.ends_with("c2a") {
        "$address=\"0.0.0.0\", $bound_port=0/unknown".to_owned()
    } else {
        format!("$address=\"127.0.0.1\", $bound_port={}/tcp", at_controller.port())
    };
    let script = format!(
        "redef Management::Agent::name = \"instance-1\";
redef Management::Agent::archive_logs = F;
redef Management::Agent::controller = Broker::NetworkInfo({controller});
redef Management::Agent::listen_port = \"{}/tcp\";
redef SupervisorControl::enable_listen = F;
redef Broker::default_port = {}/tcp;",
        own.port(),
        at_supervisor.port()
    );
    let (own, controller, supervisor) = (own.address(), at_controller.address(), at_supervisor.address());
    let _zeek = start(prefix, &home, "agent", protection, &script, own);
    let (tls, state_dir) = (protection.settings("replay").join(" "), home.path().join("state"));
    let options = format!(
        "--role agent --strict --peer {own} --controller {controller} --supervisor {supervisor} --state-dir {} {tls}",
        state_dir.display()
    );
    replay(recording, &options).unwrap()
}

#[test]
fn zeeks_own_controller_and_agent_replay_what_they_said_in_each_tls_mode() {
    let Some(prefix) = installed_zeek() else { return };
    for (recordings, protection) in [
        (["a2c", "failing-node"], Protection::Anonymous),
        (["two-instances", "restart-controller"], Protection::Off),
        (["c2a", "c2a"], Protection::mutual()),
    ] {
        let [of_controller, of_agent] = recordings.map(|name| format!("zeek-9.0.0-rc1/{name}"));
        let (passed, text) = controller(&prefix, &of_controller, &protection);
        assert!(passed, "{text}");
        let (passed, text) = agent(&prefix, &of_agent, &protection);
        assert!(passed, "{text}");
    }
}

/// A 9.0 fills in hosts when a configuration is staged, which 6.0 does not.
#[test]
fn zeeks_own_controller_is_told_from_one_of_another_release() {
    let Some(prefix) = installed_zeek() else { return };
    let (passed, text) = controller(&prefix, "zeek-6.0.9/failing-node", &Protection::Anonymous);
    assert!(!passed, "{text}");
    assert!(
        text.contains(
            "Management::Agent::API::deploy_request\n  config.instances[0].host\n    expected 0.0.0.0"
        ),
        "{text}"
    );
}
