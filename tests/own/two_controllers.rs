//! A controller's backup, and two controllers of one agent. The commands of docs/operate/backup.md are run as they stand there.

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;

use super::{Host, NAME, once_each, processes_of_nodes};
use crate::documented::blocks::{self, Block, Command};
use crate::support::{
    controller::{Controller, binary},
    home,
    limit::Limit,
    mgmtctl,
    program::{self, Outcome},
};

/// A host for a controller, which connects to the agent of a [`Host`].
pub(super) struct Hub {
    pub(super) home: Arc<TempDir>,
    controller: Option<Controller>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self {
            home: home(),
            controller: None,
        }
    }

    pub(super) fn start(&mut self) {
        let no_ports = "Management::Controller::auto_assign_metrics_ports=F";
        self.controller = Some(Controller::start_in(&self.home, &[no_ports]));
    }

    pub(super) fn stop(&mut self) -> String {
        let controller = self.controller.take().expect("it runs");
        controller.stop().stderr
    }

    /// Ends it as a crash would.
    pub(super) fn crash(&mut self) {
        self.controller.take().expect("it runs").kill();
    }

    pub(super) fn directory(&self) -> std::path::PathBuf {
        self.home.path().join("state/nodes/controller")
    }

    /// Runs `mgmt-controller store`.
    pub(super) fn store(&self, arguments: &[&str]) -> Outcome {
        let settings = [
            "--state-dir",
            "state",
            "--spool-dir",
            "spool",
            "--name",
            "controller",
        ];
        let all = [&["store"], arguments, &settings[..]].concat();
        program::run(binary(), self.home.path(), &all)
    }

    pub(super) fn mgmtctl(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.directory(), arguments)
    }

    /// Waits until it is so as these words say.
    #[track_caller]
    pub(super) fn status_until(&self, words: &str) -> Outcome {
        Limit::new(words).poll(|| {
            let status = self.mgmtctl(&["status"]);
            status.stdout.contains(words).then_some(status)
        })
    }

    /// Deploys a manager and a worker on the agent of a host.
    fn deploy(&self, host: &Host, manager: u16) {
        let text = format!(
            "[instances]\n{NAME} = 127.0.0.1:{}\n\n[manager]\ninstance = {NAME}\nrole = manager\nport = {manager}\n\n\
             [worker-1]\ninstance = {NAME}\nrole = worker\ninterface = lo\n",
            host.port.port()
        );
        fs::write(self.directory().join("cluster.ini"), text).expect("it can be written");
        self.mgmtctl(&["deploy", "--yes", "cluster.ini"]).printed();
    }
}

#[test]
fn an_old_controller_restored_from_a_backup_beside_the_new_one_is_refused_until_the_agent_adopts_it() {
    let (host, [manager, _second, _third]) = (Host::new(), testkit::ReservedPort::for_manager("127.0.0.1"));
    let agent = host.start(&[]);
    let (mut new, mut old) = (Hub::new(), Hub::new());
    new.start();
    new.deploy(&host, manager.port());
    let pids = || once_each(processes_of_nodes(host.home.path()));
    let before = pids();
    new.status_until("all as deployed");

    let backup = new.home.path().join("backup.tar");
    let backup = backup.to_str().expect("a plain path");
    new.store(&["backup", backup]).printed();
    new.store(&["restore", backup])
        .failed(1, "stop that controller first");
    let restored = old.store(&["restore", backup]);
    assert!(restored.printed().contains(", generation 1"), "{restored:?}");
    old.start();

    // All three say so, and nothing happens to nodes.
    let refused = old.status_until("refuses this controller");
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(
        refused.stdout.contains("mgmtctl adopt, at the agent"),
        "{refused:?}"
    );
    old.mgmtctl(&["instances"]).failed(1, "");
    let warned = new.status_until("this agent refuses controller");
    assert_eq!(warned.exit, 1, "{warned:?}");
    let sensor = host.directory(NAME);
    let told = mgmtctl::ask(&sensor, &["status"]);
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stdout.contains("this agent refuses controller"), "{told:?}");
    let stop = old.mgmtctl(&["stop", "worker-1"]);
    assert_eq!(stop.exit, 1, "{stop:?}");
    assert!(stop.stdout.contains("this agent refuses controller"), "{stop:?}");
    // Once the controller has given up what it does by itself at its start.
    Limit::new("a deployment that is refused").poll(|| {
        let deploy = old.mgmtctl(&["deploy", "--yes"]);
        assert_eq!(deploy.exit, 1, "{deploy:?}");
        let said = format!("{}{}", deploy.stdout, deploy.stderr);
        said.contains("refuses this controller").then_some(())
    });
    assert_eq!(pids(), before);
    new.mgmtctl(&["adopt"])
        .failed(64, "ask the agent that refuses it");

    let adopted = mgmtctl::ask(&sensor, &["adopt"]);
    assert!(
        adopted.printed().starts_with("the agent obeys controller "),
        "{adopted:?}"
    );
    new.status_until("refuses this controller");
    let of_new = new.stop();
    old.status_until("all as deployed");
    assert_eq!(pids(), before, "they are the same nodes");
    let of_old = old.stop();
    assert!(
        of_old.contains("instance sensor refuses this controller"),
        "{of_old}"
    );
    assert!(
        of_new.contains("instance sensor refuses this controller"),
        "{of_new}"
    );
    let log = agent.stop();
    assert!(log.contains("this agent obeys controller"), "{log}");

    // It remembers.
    let agent = host.start(&[]);
    new.start();
    new.status_until("refuses this controller");
    new.stop();
    agent.stop();
}

#[test]
fn the_commands_of_the_page_about_backups_do_what_it_says() {
    let (host, [manager, _second, _third]) = (Host::new(), testkit::ReservedPort::for_manager("127.0.0.1"));
    let agent = host.start(&[]);
    let (mut hub, mut new) = (Hub::new(), Hub::new());
    hub.start();
    hub.deploy(&host, manager.port());
    let before = once_each(processes_of_nodes(host.home.path()));
    let blocks = blocks::all()
        .into_iter()
        .filter(|block| block.page == "docs/operate/backup.md");
    let commands: Vec<Command> = blocks.flat_map(|block| Block::commands(&block.text)).collect();
    assert_eq!(commands.len(), 16, "{commands:?}");
    let copied = |hub: &Hub, file: &str| hub.home.path().join(Path::new(file).file_name().expect("a file"));
    for Command { host: at, line, .. } in &commands {
        let words: Vec<&str> = line.split(' ').collect();
        let on = if at == "new" { &mut new } else { &mut hub };
        match words[..] {
            ["systemctl", "stop", _] => _ = on.stop(),
            ["systemctl", "start", _] => on.start(),
            ["systemctl", "disable", _] => {}
            ["scp", file, _] => {
                fs::copy(copied(&hub, file), copied(&new, file)).expect("it can be copied");
            }
            ["mgmt-controller", "store", subcommand] => _ = on.store(&[subcommand]).printed(),
            ["mgmt-controller", "store", subcommand, file] => {
                let file = copied(on, file);
                on.store(&[subcommand, file.to_str().expect("a plain path")])
                    .printed();
            }
            // On the new host, once the old controller has been away for long enough.
            ["mgmtctl", "status"] if at == "new" => {
                on.status_until("refuses this controller");
                on.status_until("all as deployed");
            }
            ["mgmtctl", "status"] => {
                on.status_until("refuses this controller");
                mgmtctl::ask(&host.directory(NAME), &["adopt"]).printed();
                on.status_until("all as deployed");
            }
            // It obeys the right one by now.
            ["mgmtctl", "adopt"] => {
                mgmtctl::ask(&host.directory(NAME), &["adopt"])
                    .failed(1, "which is connected, and refuses no other");
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(once_each(processes_of_nodes(host.home.path())), before);
    new.stop();
    agent.stop();
}

#[test]
fn what_cannot_be_backed_up_restored_or_told_says_so_by_its_exit_code() {
    let mut hub = Hub::new();
    hub.store(&["inspect"]).failed(1, "No such file");
    hub.store(&["verify"]).failed(1, "No such file");
    hub.store(&["backup"]).failed(64, "FILE");
    hub.store(&["nonsense"]).failed(64, "nonsense");
    hub.store(&["verify", "--nonsense"]).failed(64, "nonsense");
    hub.store(&["backup", "b"]).failed(1, "cannot read the store");
    hub.start();
    let inspected = hub.store(&["inspect"]);
    assert!(inspected.printed().ends_with("it is sound\n"), "{inspected:?}");
    let json = hub.store(&["inspect", "--json"]).json(0);
    assert_eq!(json["generation"], 0, "{json}");
    assert_eq!(json["clusters"][0]["cluster"], "default", "{json}");
    hub.store(&["backup", "b"]).printed();
    hub.store(&["backup", "b"]).failed(1, "add --replace");
    hub.store(&["verify", "b"]).printed();
    hub.store(&["verify", "."]).failed(3, "it is no file");
    hub.stop();
    fs::write(hub.home.path().join("b"), "no backup").expect("it can be written");
    hub.store(&["verify", "b"])
        .failed(1, "b is no backup of a controller");
    hub.store(&["restore", "b"])
        .failed(1, "b is no backup of a controller");
    hub.store(&["restore", "."]).failed(1, "cannot read .");
}
