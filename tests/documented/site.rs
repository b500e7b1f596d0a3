//! A controller and two sensors, as the pages have them: `hub`, `sensor1`, `sensor2`. The nodes are stand-ins.

use std::{fs, path::PathBuf, sync::Arc};

use tempfile::TempDir;
use testkit::ReservedPort;

use crate::support::{
    certificates::{Authority, Validity},
    cluster::{Instance, Plan, Protection, Zeek, agent_binary},
    controller::Controller,
    home,
    limit::Limit,
    mgmtctl,
    program::Outcome,
};

pub(super) const SENSORS: [&str; 2] = ["sensor1", "sensor2"];

pub(super) struct Site {
    pub(super) home: Arc<TempDir>,
    authority: Authority,
    pub(super) controller: Option<Controller>,
    pub(super) sensors: [Instance<'static>; 2],
    /// Where the manager listens, and one more.
    manager: [ReservedPort; 2],
}

impl Site {
    pub(super) fn start() -> Self {
        // A controller that waits for what is built is said to be idle.
        let _built = (agent_binary(), mgmtctl::binary());
        let start = |name| {
            let mut plan = Plan::new(name, None, &Protection::Anonymous);
            plan.zeek = Zeek::Kept;
            Instance::start(plan)
        };
        let mut site = Self {
            home: home(),
            authority: Authority::new("Cluster CA"),
            controller: None,
            sensors: SENSORS.map(start),
            manager: ReservedPort::pair("127.0.0.1"),
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
        let settings = [
            "Management::connect_retry=50msec".to_owned(),
            "Management::Controller::auto_assign_metrics_ports=F".to_owned(),
            "--http-listen=127.0.0.1:0".to_owned(),
            format!("--http-certificate={}", file("crt")),
            format!("--http-key={}", file("key")),
        ];
        self.controller = Some(Controller::start_in(&self.home, &settings));
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

    /// Writes a file where `mgmtctl` is run.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.hub().join(name), text).expect("it can be written");
    }

    pub(super) fn deploy(&self, further: &str) -> Outcome {
        self.write("cluster.ini", &self.cluster(further));
        self.mgmtctl(&["deploy", "--yes", "cluster.ini"])
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

    /// Ends everything: no process is left.
    pub(super) fn stop(mut self) {
        for sensor in &mut self.sensors {
            sensor.stop();
        }
        if let Some(controller) = self.controller.take() {
            controller.stop();
        }
    }
}
