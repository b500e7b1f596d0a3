//! A controller and two sensors, as the pages have them: `hub`, `sensor1`, `sensor2`. The nodes are stand-ins.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use testkit::ReservedPort;

use crate::support::{
    certificates::{Authority, Validity},
    cluster::{Instance, Plan, Protection, Zeek, agent_binary, zeek_binary},
    controller::Controller,
    home,
    limit::Limit,
    mgmtctl,
    program::Outcome,
};

pub(super) const SENSORS: [&str; 2] = ["sensor1", "sensor2"];

pub(super) struct Site {
    home: Arc<TempDir>,
    authority: Authority,
    pub(super) controller: Option<Controller>,
    pub(super) sensors: [Instance<'static>; 2],
    /// A new host for the second one.
    spare: Option<Instance<'static>>,
    /// What the controller is told besides.
    further: Vec<String>,
    /// Where the manager listens, and two more.
    manager: [ReservedPort; 3],
}

/// Nodes outlive their agent, as Zeek's do.
fn start_sensor(name: &'static str) -> Instance<'static> {
    let mut plan = Plan::new(name, None, &Protection::Anonymous);
    plan.zeek = Zeek::Kept;
    plan.further = vec!["--on-agent-exit=keep".to_owned()];
    Instance::start(plan)
}

/// Makes an installation of Zeek, as far as an agent looks.
fn install_zeek(prefix: &Path) {
    for directory in ["bin", "share/zeek/site"] {
        fs::create_dir_all(prefix.join(directory)).expect("it can be made");
    }
    for program in ["zeek", "zeek-archiver"] {
        symlink(zeek_binary(), prefix.join("bin").join(program)).expect("a link can be made");
    }
    fs::write(prefix.join("share/zeek/site/local.zeek"), "").expect("it can be written");
}

impl Site {
    pub(super) fn start() -> Self {
        // A controller that waits for what is built is said to be idle.
        let _built = (agent_binary(), mgmtctl::binary());
        let mut site = Self {
            home: home(),
            authority: Authority::new("Cluster CA"),
            controller: None,
            sensors: SENSORS.map(start_sensor),
            spare: None,
            further: Vec::new(),
            manager: ReservedPort::for_manager("127.0.0.1"),
        };
        site.certify(&Validity::Now);
        site.start_controller();
        site
    }

    pub(super) fn start_controller(&mut self) {
        let file = |ending: &str| {
            self.authority
                .path(&format!("hub.{ending}"))
                .display()
                .to_string()
        };
        let mut settings = vec![
            "Management::connect_retry=50msec".to_owned(),
            "Management::Controller::auto_assign_metrics_ports=F".to_owned(),
            "--http-listen=127.0.0.1:0".to_owned(),
            format!("--http-certificate={}", file("crt")),
            format!("--http-key={}", file("key")),
        ];
        settings.extend_from_slice(&self.further);
        self.controller = Some(Controller::start_in(&self.home, &settings));
    }

    /// Starts the controller again with further settings.
    pub(super) fn with_settings(&mut self, further: &[String]) {
        self.further = further.to_vec();
        self.controller.take().expect("it runs").stop();
        self.start_controller();
    }

    /// Writes a certificate of this common name, its key and its CA's certificate beside each other: `NAME.pem`, `NAME.key`, `ca.pem`.
    pub(super) fn give_certificate(&self, name: &str, directory: &Path) {
        let identity = self.authority.sign(name, &[], &Validity::Now);
        let copy = |from: &Path, to: &str| fs::copy(from, directory.join(to)).expect("it can be copied");
        copy(&identity.certificate, &format!("{name}.pem"));
        copy(&identity.key, &format!("{name}.key"));
        copy(&self.authority.path("ca.pem"), "ca.pem");
    }

    /// Does what systemd would be asked for at a host.
    pub(super) fn systemctl(&mut self, host: &str, verb: &str, further: &[&str]) {
        let (now, unit) = match further {
            [unit] => (false, *unit),
            ["--now", unit] => (true, *unit),
            _ => panic!("systemctl {verb} {further:?}"),
        };
        let (stops, starts) = match verb {
            "stop" => (true, false),
            "start" => (false, true),
            "restart" => (true, true),
            "enable" => (false, now),
            "disable" => (now, false),
            _ => panic!("systemctl {verb}"),
        };
        match unit {
            "mgmt-controller" => {
                if let (true, Some(controller)) = (stops, self.controller.take()) {
                    controller.stop();
                }
                if starts {
                    self.start_controller();
                }
            }
            "mgmt-agent" => {
                let sensor = self.sensor(host);
                if let (true, Some(agent)) = (stops, sensor.agent.take()) {
                    agent.stop();
                }
                if starts && sensor.agent.is_none() {
                    sensor.start_agent();
                }
            }
            // A host that has no Zeek has none of its services.
            "zeek-controller" | "zeek-agent" => {}
            _ => panic!("{host} has no {unit}"),
        }
    }

    pub(super) fn sensor(&mut self, host: &str) -> &mut Instance<'static> {
        match host {
            "sensor" | "sensor1" => &mut self.sensors[0],
            "sensor2" => &mut self.sensors[1],
            "new" => self.spare.get_or_insert_with(|| start_sensor(SENSORS[1])),
            _ => panic!("there is no host {host}"),
        }
    }

    /// Where commands of a host are run, and the directory of its daemon.
    pub(super) fn place(&mut self, host: &str) -> (PathBuf, PathBuf) {
        if host == "hub" {
            return (self.home.path().to_owned(), self.hub());
        }
        let sensor = self.sensor(host);
        (
            sensor.home().to_owned(),
            sensor.home().join("state/nodes").join(sensor.name()),
        )
    }

    /// The settings of a host's daemons, as files of an administrator have them, but for ports.
    pub(super) fn settings(&mut self, host: &str) -> String {
        let (home, directory) = self.place(host);
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        let prefix = home.join("zeek");
        if !prefix.exists() {
            install_zeek(&prefix);
        }
        let home = home.display();
        format!(
            "name = \"{name}\"\nstate_dir = \"{home}/state\"\nspool_dir = \"{home}/spool\"\nlisten = \"127.0.0.1:0\"\n\
             zeek_prefix = \"zeek\"\n"
        )
    }

    /// A directory of a host, by its name on the pages, made if it is not there.
    pub(super) fn directory(&mut self, host: &str, path: &str) -> PathBuf {
        let directory = self.place(host).0.join(path.trim_start_matches('/'));
        fs::create_dir_all(&directory).expect("it can be made");
        directory
    }

    /// A text of a page with the addresses and the directories that are here.
    pub(super) fn translated(&mut self, host: &str, text: &str) -> String {
        let root = self.place(host).0.display().to_string();
        let hub = self
            .controller
            .as_ref()
            .map(|controller| controller.daemon.listens("http").to_string());
        let mut replaced = vec![
            ("eth1", "lo".to_owned()),
            ("10.0.0.11:2151", self.sensors[0].listens_at().to_string()),
            ("10.0.0.12:2151", self.sensors[1].listens_at().to_string()),
            ("hub.example.org:2148", hub.unwrap_or_default()),
            ("/opt/zeek", format!("{root}/opt/zeek")),
            ("/var/backups", format!("{root}/var/backups")),
            ("/etc/prometheus", format!("{root}/etc/prometheus")),
        ];
        if let Some(spare) = &self.spare {
            replaced.push(("10.0.0.22:2151", spare.listens_at().to_string()));
        }
        let replace = |text: String, (there, here): &(&str, String)| text.replace(there, here);
        replaced.iter().fold(text.to_owned(), replace)
    }

    /// Gives the controller another certificate, which it has to read.
    pub(super) fn certify(&self, validity: &Validity) {
        self.authority.sign("hub", &["127.0.0.1"], validity);
    }

    /// Where the controller works, and its `mgmtctl` is run.
    pub(super) fn hub(&self) -> PathBuf {
        self.home.path().join("state/nodes/controller")
    }

    pub(super) fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.hub(), arguments)
    }

    /// A cluster file: a manager and a worker on the first sensor, of which the worker has this line more, and a worker on the second.
    pub(super) fn cluster(&self, further: &str) -> String {
        let [first, second] = SENSORS;
        let [at_first, at_second] = [0, 1].map(|at| self.sensors[at].listens_at());
        let manager = self.manager[0].port();
        format!(
            "[instances]\n{first} = {at_first}\n{second} = {at_second}\n\n\
             [manager]\ninstance = {first}\nrole = manager\nport = {manager}\n\n\
             [worker-1]\ninstance = {first}\nrole = worker\ninterface = lo\n{further}\n\
             [worker-2]\ninstance = {second}\nrole = worker\ninterface = lo\n"
        )
    }

    /// Writes a file where commands of the controller's host are run, and says where.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }

    pub(super) fn deploy(&self, further: &str) -> Outcome {
        let file = self.write("cluster.ini", &self.cluster(further));
        self.mgmtctl(&["deploy", "--yes", &file])
    }

    /// What `mgmtctl status` shows, once it ends like this and says this.
    pub(super) fn status_when(&self, exit: i32, words: &str) -> Outcome {
        Limit::new(words).poll(|| {
            let status = self.mgmtctl(&["status"]);
            (status.exit == exit && status.stdout.contains(words)).then_some(status)
        })
    }

    pub(super) fn all_well(&self) -> Outcome {
        self.status_when(
            0,
            "\nall as deployed: 2 of 2 instances connected, 3 nodes (3 RUNNING)\n",
        )
    }
}
