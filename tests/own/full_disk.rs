//! A disk that is filled, and freed.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mgmt_api::{State, operator};
use rustix::process::Signal;

use super::{Host, assert_all_run, assert_deployed, configuration, nodes};
use crate::support::{controlling::Operator, daemon::Daemon, not_tested, signal, works};

/// The agent has its state on a small disk of its own.
const DISK: [&str; 6] = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=40m none state && exec \"$0\" \"$@\"",
];

/// A file on the agent's disk.
fn on_disk(host: &Host, agent: &Daemon, file: &str) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()));
    let state = host.home.path().join("state").join(file);
    root.join(state.strip_prefix("/").expect("a full path"))
}

/// Fills the agent's disk, and keeps it full: what others remove there, or make shorter, is filled as well.
struct Filled {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Filled {
    fn new(host: &Host, agent: &Daemon) -> Self {
        let path = on_disk(host, agent, "fill");
        let mut file = File::create(&path).expect("a file can be made");
        let mut to_the_end = move || while file.write_all(&[0; 1 << 12]).is_ok() {};
        to_the_end();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                to_the_end();
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        Self {
            path,
            is_over,
            thread,
        }
    }

    fn free(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it has ended");
        fs::remove_file(self.path).expect("it is ours");
    }
}

fn desired(host: &Host, agent: &Daemon) -> String {
    let path = on_disk(host, agent, "nodes/sensor/desired.json");
    fs::read_to_string(path).expect("it is written down")
}

#[test]
fn nodes_outlive_a_full_disk_and_what_should_run_is_done_when_there_is_space() {
    let host = Host::new();
    fs::create_dir(host.home.path().join("state")).expect("a directory can be made");
    let mut try_out = Command::new(DISK[0]);
    try_out.args(&DISK[1..]).arg("true");
    if !works(try_out.current_dir(host.home.path())) {
        not_tested("a full disk, where no file system of one's own is allowed");
        return;
    }
    let mut agent = host.start_by(&DISK, &[]);
    let mut controlling = super::connect(&agent);
    let wanted = nodes(&["manager", "worker-1", "worker-2", "worker-3"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    let before = assert_all_run(&host, &mut controlling, &wanted);

    let filled = Filled::new(&host, &agent);
    let mut operator = Operator::connect(agent.broker());
    let mut stop = |node: &str| {
        let told = operator
            .ask(operator::STOP, &[node])
            .expect_err("it is not on disk");
        let reason = "it is done, but cannot be written down, so that a restart of the agent undoes it: ";
        assert!(told.starts_with(reason), "{told}");
    };
    stop("worker-3");
    controlling.hear_said(&["cannot write down what should run on this host: "]);
    stop("worker-2");
    signal(before["worker-1"], Signal::KILL);
    controlling.hear_said(&["node worker-1 waits: space in ", " is short: 0 MiB are free"]);
    assert_eq!(host.pids()["manager"], before["manager"]);

    filled.free();
    controlling.hear_states(&["worker-1"], State::Running);
    assert_eq!(
        operator.ask(operator::START, &["worker-2"]),
        Ok(vec!["worker-2".to_owned()])
    );
    agent
        .stderr
        .until_all(&["what should run on this host is written down again"]);
    controlling.hear_states(&["worker-2"], State::Running);
    let running = host.pids();
    assert!(
        running.keys().eq(["manager", "worker-1", "worker-2"]),
        "{running:?}"
    );
    assert_eq!(running["manager"], before["manager"]);
    let desired = desired(&host, &agent);
    assert!(desired.contains("\"stopped\":[\"worker-3\"]"), "{desired}");
    let log = agent.stop();
    let told = log.matches("cannot write down what should run").count();
    assert_eq!(told, 1, "{log}");
    assert!(host.processes().is_empty());
}
