//! Zeek's own controller and agent, of the Zeek that is installed, in the place of the recorded ones. Where there is none it cannot
//! run, and says so.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Reserved, replay};
use crate::{
    live::{installed_zeek, pending},
    support::{cluster::Protection, daemon::Watch},
};

/// Where the node says that everything listens: what it prints, the Supervisor keeps to itself.
const READY: &str = r#"
event zeek_init() &priority=-1000
	{
	if ( Supervisor::is_supervised() )
		{
		close(open(getenv("READY_FILE") + ".new"));
		rename(getenv("READY_FILE") + ".new", getenv("READY_FILE"));
		}
	}
"#;

/// A `zeek -j` with the controller or the agent.
struct Zeek {
    home: TempDir,
    child: Child,
}

impl Zeek {
    /// Starts it with a script of settings, and waits until its node is there.
    fn start(prefix: &Path, which: &str, script: &str, settings: &[String]) -> Self {
        let home = TempDir::with_prefix("replayed-zeek-").expect("a directory can be made");
        for directory in ["state", "spool"] {
            fs::create_dir(home.path().join(directory)).expect("a directory can be made");
        }
        let file = home.path().join("settings.zeek");
        fs::write(&file, [script, READY].concat()).expect("a file can be written");
        let ready = home.path().join("ready");
        let watch = Watch::new(home.path());
        let child = Command::new(prefix.join("bin/zeek"))
            .args(["-j", &format!("policy/frameworks/management/{which}")])
            .arg(&file)
            .args(settings)
            .env("ZEEK_MANAGEMENT_STATE_DIR", home.path().join("state"))
            .env("ZEEK_MANAGEMENT_SPOOL_DIR", home.path().join("spool"))
            .env("READY_FILE", &ready)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("zeek can be started");
        let zeek = Self { home, child };
        if let Err(problem) = watch.wait_for(&ready, &zeek.child) {
            panic!("zeek {problem}");
        }
        zeek
    }
}

impl Drop for Zeek {
    fn drop(&mut self) {
        // It ends its nodes first, unlike one that is killed.
        let process = Pid::from_child(&self.child);
        let _ = kill_process(process, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Replays a recording of Zeek 9.0 with the controller of this Zeek: strictly, for deviations are ours.
fn controller(prefix: &Path, recording: &str, protection: &Protection) -> (bool, String) {
    let (broker, websocket) = (Reserved::new(), Reserved::new());
    let mut settings = protection.settings("zeek");
    settings.extend([
        "Management::Controller::name=controller".to_owned(),
        format!("Management::Controller::listen_port={}/tcp", broker.port()),
        format!(
            "Management::Controller::listen_port_websocket={}/tcp",
            websocket.port()
        ),
    ]);
    let _zeek = Zeek::start(prefix, "controller", "", &settings);
    let tls = protection.settings("replay").join(" ");
    let (broker, websocket) = (broker.address(), websocket.address());
    await_listener(&websocket);
    let options = format!("--role controller --strict --peer {broker} --websocket {websocket} {tls}");
    replay(recording, &options).unwrap()
}

/// Zeek's WebSocket server has a thread of its own, and nothing that says when that listens.
fn await_listener(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "no process listens at {address}");
        thread::yield_now();
    }
}

/// The same with its agent. The Zeek that starts it must not listen, for its Supervisor is played.
fn agent(prefix: &Path, recording: &str, protection: &Protection) -> (bool, String) {
    let (own, at_controller, at_supervisor) = (Reserved::new(), Reserved::new(), Reserved::new());
    let connects = !recording.ends_with("c2a");
    let script = if connects {
        format!(
            "redef Management::Agent::controller = Broker::NetworkInfo($address=\"127.0.0.1\", $bound_port={}/tcp);\n",
            at_controller.port()
        )
    } else {
        "redef Management::Agent::controller = Broker::NetworkInfo($address=\"0.0.0.0\", $bound_port=0/unknown);\n"
            .to_owned()
    };
    let mut settings = protection.settings("zeek");
    settings.extend([
        "Management::Agent::name=instance-1".to_owned(),
        "Management::Agent::archive_logs=F".to_owned(),
        "SupervisorControl::enable_listen=F".to_owned(),
        format!("Management::Agent::listen_port={}/tcp", own.port()),
        format!("Broker::default_port={}/tcp", at_supervisor.port()),
    ]);
    let zeek = Zeek::start(prefix, "agent", &script, &settings);
    let (own, controller, supervisor) = (own.address(), at_controller.address(), at_supervisor.address());
    let (tls, state_dir) = (
        protection.settings("replay").join(" "),
        zeek.home.path().join("state"),
    );
    let options = format!(
        "--role agent --strict --peer {own} --controller {controller} --supervisor {supervisor} --state-dir {} {tls}",
        state_dir.display()
    );
    replay(recording, &options).unwrap()
}

#[test]
fn zeeks_own_controller_replays_what_it_said_in_each_tls_mode() {
    let prefix = match installed_zeek() {
        Ok(prefix) => prefix,
        Err(why) => return pending(&why),
    };
    for (recording, protection) in [
        ("zeek-9.0.0-rc1/a2c", Protection::Anonymous),
        ("zeek-9.0.0-rc1/two-instances", Protection::Off),
        ("zeek-9.0.0-rc1/c2a", Protection::mutual()),
    ] {
        let (passed, text) = controller(&prefix, recording, &protection);
        assert!(passed, "{text}");
    }
}

#[test]
fn zeeks_own_agent_replays_what_it_said_in_each_tls_mode() {
    let prefix = match installed_zeek() {
        Ok(prefix) => prefix,
        Err(why) => return pending(&why),
    };
    for (recording, protection) in [
        ("zeek-9.0.0-rc1/failing-node", Protection::Anonymous),
        ("zeek-9.0.0-rc1/restart-controller", Protection::Off),
        ("zeek-9.0.0-rc1/c2a", Protection::mutual()),
    ] {
        let (passed, text) = agent(&prefix, recording, &protection);
        assert!(passed, "{text}");
    }
}

/// A 9.0 fills in hosts when a configuration is staged, which 6.0 does not.
#[test]
fn zeeks_own_controller_is_told_from_one_of_another_release() {
    let prefix = match installed_zeek() {
        Ok(prefix) => prefix,
        Err(why) => return pending(&why),
    };
    let (passed, text) = controller(&prefix, "zeek-6.0.9/failing-node", &Protection::Anonymous);
    assert!(!passed, "{text}");
    assert!(
        text.contains(
            "Management::Agent::API::deploy_request\n  config.instances[0].host\n    expected 0.0.0.0"
        ),
        "{text}"
    );
}
