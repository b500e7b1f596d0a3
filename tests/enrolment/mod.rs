//! A controller with a CA of its own, and agents that enrol there: real programs. What depends on time has certificates that last for seconds.

mod owner;
mod page;
mod refused;
mod renewed;

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::ReservedPort;

use crate::support::{
    DIRECTORIES,
    cluster::{agent_binary, kill_processes_in, start_agent},
    controller::{Controller, binary},
    daemon::Daemon,
    home, http,
    limit::Limit,
    mgmtctl,
    program::{self, Outcome},
};

/// A controller, where it was before if it is started again.
struct Hub {
    home: Arc<TempDir>,
    http: ReservedPort,
    broker: ReservedPort,
    controller: Option<Controller>,
}

impl Hub {
    fn new() -> Self {
        let [http, broker] = [(); 2].map(|()| ReservedPort::new("127.0.0.1"));
        Self {
            home: home(),
            http,
            broker,
            controller: None,
        }
    }

    /// Starts it, with certificates that are valid so long.
    fn start(&mut self, lifetime: &str) {
        let mut command = Command::new(binary());
        command
            .args(SETTINGS)
            .args(DIRECTORIES)
            .args(["--certificate-lifetime", lifetime])
            .args(["--http-listen", &self.http.address().to_string()])
            .args(["--listen", &self.broker.address().to_string()]);
        self.controller = Some(Controller::launch(&self.home, command));
    }

    fn started(lifetime: &str) -> Self {
        let mut hub = Self::new();
        hub.start(lifetime);
        hub
    }

    fn controller(&mut self) -> &mut Controller {
        self.controller.as_mut().expect("it runs")
    }

    fn stop(&mut self) -> String {
        let controller = self.controller.take().expect("it runs");
        controller.stop().stderr
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("state/nodes/hub")
    }

    fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.directory(), arguments)
    }

    /// mgmtctl, as from elsewhere.
    fn remote(&self, arguments: &[&str]) -> Outcome {
        let server = format!("https://{}", self.http.address());
        let ca = self.directory().join("ca/ca.pem");
        let ca = ca.to_str().expect("a plain path");
        let all = [&["--server", &server, "--ca", ca], arguments].concat();
        program::run(mgmtctl::binary(), self.home.path(), &all)
    }

    /// Runs `mgmt-controller store`.
    fn store(&self, arguments: &[&str]) -> Outcome {
        let http = self.http.address().to_string();
        let all = [
            &["store"],
            arguments,
            &SETTINGS,
            &DIRECTORIES,
            &["--http-listen", &http],
        ]
        .concat();
        program::run(binary(), self.home.path(), &all)
    }

    /// What `check-config` finds.
    #[track_caller]
    fn check_config(&self, exit: i32, words: &str) {
        let http = self.http.address().to_string();
        let all = [
            &["check-config"],
            &SETTINGS[..],
            &DIRECTORIES,
            &["--http-listen", &http],
        ]
        .concat();
        program::run(binary(), self.home.path(), &all).failed(exit, words);
    }

    /// A token for an instance.
    #[track_caller]
    fn token(&self, instance: &str) -> String {
        self.mgmtctl(&["enroll", instance])
            .printed()
            .trim_end()
            .to_owned()
    }

    /// Enrols a host as this instance.
    #[track_caller]
    fn enrolled(&self, instance: &str) -> Sensor {
        let sensor = Sensor::new();
        sensor.enrol(&self.token(instance), &[]).printed();
        sensor
    }

    /// Waits until the status says these words.
    #[track_caller]
    fn status_until(&self, words: &str) {
        let mut limit = Limit::new("");
        loop {
            let status = self.mgmtctl(&["status"]);
            if status.stdout.contains(words) {
                return;
            }
            limit.say(format_args!("{words} in {status:?}"));
            limit.left();
        }
    }

    /// Deploys a manager and a worker there.
    #[track_caller]
    fn deploy(&self, instance: &str) {
        let text = format!(
            "[instances]\n{instance}\n\n[manager]\ninstance = {instance}\nrole = manager\n\n[worker-1]\ninstance = {instance}\nrole = worker\n\
             interface = lo\n"
        );
        fs::write(self.directory().join("cluster.ini"), text).expect("it can be written");
        self.mgmtctl(&["deploy", "--yes", "cluster.ini"]).printed();
    }

    /// The process of each node.
    fn pids(&self) -> BTreeMap<String, i64> {
        let status = self
            .mgmtctl(&["status", "--cluster", "default", "--json"])
            .json(0);
        let instances = status["instances"].as_array().expect("instances").iter();
        let nodes = instances.flat_map(|instance| instance["nodes"].as_array().expect("nodes"));
        let pid = |node: &Value| Some((node["node"].as_str()?.to_owned(), node["pid"].as_i64()?));
        nodes.map(|node| pid(node).expect("a node that runs")).collect()
    }

    /// How much of something it has counted.
    fn counted(&self, counter: &str) -> u64 {
        let (head, metrics) = http::get(&self.directory(), "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let name = format!("zeek_mgmt_controller_{counter}_total ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().expect("a number"))
    }
}

/// What each start, and the subcommands, are given.
const SETTINGS: [&str; 6] = ["--name", "hub", "--own-ca", "T", "--websocket-listen", "off"];

/// A host with an agent.
struct Sensor {
    home: TempDir,
    port: ReservedPort,
}

impl Drop for Sensor {
    /// Ends what outlives its agent.
    fn drop(&mut self) {
        kill_processes_in(self.home.path());
    }
}

impl Sensor {
    fn new() -> Self {
        Self {
            home: TempDir::with_prefix("sensor-").expect("a directory can be made"),
            port: ReservedPort::new("127.0.0.1"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(agent_binary());
        command.current_dir(self.home.path()).env_clear();
        command
    }

    /// Runs `mgmt-agent enroll`, with the token on standard input.
    fn enrol(&self, token: &str, further: &[&str]) -> Outcome {
        let (started, path) = (Instant::now(), self.home.path().join("token"));
        fs::write(&path, format!("{token}\n")).expect("it can be written");
        let child = self
            .command()
            .args(["enroll", "-", "--state-dir", "state", "--spool-dir", "spool"])
            .args(further)
            .stdin(File::open(&path).expect("it can be read"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Outcome::of(child.expect("it can be started"), "mgmt-agent enroll", started)
    }

    /// Starts the agent, without a name and without a controller: it knows both.
    fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    fn start_with(&self, further: &[&str]) -> Daemon {
        let mut command = self.command();
        command
            .args(further)
            .args([
                "--simulate",
                "--on-agent-exit",
                "keep",
                "--listen",
                &self.port.address().to_string(),
            ])
            .args(DIRECTORIES)
            .arg("Management::connect_retry=50msec");
        start_agent(&self.home, &mut command)
    }

    /// A file of its enrolment.
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("state/enrolment").join(name)
    }
}

#[test]
fn a_cluster_is_deployed_on_an_agent_that_was_enrolled() {
    let mut hub = Hub::new();
    hub.check_config(0, "");
    hub.start("30days");
    let token = hub.token("sensor1");
    hub.mgmtctl(&["enroll", "sensor1"])
        .failed(1, "an enrolment of sensor1 is pending already");
    hub.check_config(0, "");
    let pending = hub.mgmtctl(&["enroll", "--list"]);
    assert!(pending.printed().contains("\nsensor1   20"), "{pending:?}");
    let sensor = Sensor::new();
    let enrolled = sensor.enrol(&token, &[]);
    assert!(
        enrolled.printed().starts_with("this host is instance sensor1"),
        "{enrolled:?}"
    );
    assert_eq!(
        hub.mgmtctl(&["enroll", "--list"]).printed(),
        "no enrolment is pending\n"
    );
    let mut dump = sensor.command();
    dump.args(["dump-config", "--state-dir", "state", "--spool-dir", "spool"]);
    let dump = program::run_command(&mut dump);
    let lines = dump.printed().lines();
    let from_enrolment = lines.filter(|line| line.contains("# enrolment, ")).count();
    assert_eq!(from_enrolment, 6, "{dump:?}");

    let agent = sensor.start();
    hub.status_until("nothing is deployed");
    hub.deploy("sensor1");
    hub.status_until("all as deployed");
    assert_eq!(agent.ready["name"], "sensor1");
    assert_eq!(hub.counted("certificates_issued"), 1);
    agent.stop();
    let audit = hub.directory().join("audit.log");
    let log = hub.stop();
    let key = hub.directory().join("ca/ca.key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).expect("it is there");
    hub.check_config(0, "others than its owner can use it. To mend it: chmod 600 ");
    fs::remove_file(key).expect("it is there");
    hub.check_config(1, "ca.key is missing");
    assert!(log.contains("an agent is enrolled"), "{log}");
    let audit = fs::read_to_string(audit).expect("it is there");
    let words = r#""request":"POST /v1/certificates","targets":["sensor1",""#;
    assert!(audit.contains(words) && !audit.contains(&token), "{audit}");
}

#[test]
fn a_restored_controller_is_known_to_agents_by_its_ca() {
    let mut old = Hub::started("30days");
    let sensor = old.enrolled("sensor1");
    let agent = sensor.start();
    old.deploy("sensor1");
    let backup = old.home.path().join("backup.tar");
    let backup = backup.to_str().expect("a plain path");
    old.store(&["backup", backup]).printed();
    assert_eq!(old.store(&["verify", backup]).exit, 0);
    old.stop();

    // On another host, at the same addresses.
    let mut new = Hub { home: home(), ..old };
    new.store(&["restore", backup]).printed();
    new.start("30days");
    new.status_until("all as deployed");
    let other = new.enrolled("sensor2");
    assert_eq!(
        fs::read(other.path("ca.pem")).expect("it is there"),
        fs::read(sensor.path("ca.pem")).expect("it is there")
    );
    agent.stop();
    new.stop();
}
