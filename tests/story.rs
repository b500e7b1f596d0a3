//! One day of a cluster, as those who were there tell it: standard error of the controller and of two agents, with what differs from day
//! to day left out. Read it as an operator who is called at night: what happened to which instance or node, why, and what follows.
//! `UPDATE_EXPECT=1` rewrites it.

use std::{
    fmt::Write as _,
    fs,
    fs::File,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use expect_test::expect_file;
use regex_lite::Regex;
use rustix::{
    fs::{FallocateFlags, fallocate},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    certificates::Authority,
    cluster::{Instance, Plan, Protection, Zeek, agent_binary},
    controller::{Controller, binary},
    home, not_tested,
    peer::Peer,
    told::Told,
    works, workspace_root,
};

const CLUSTER: &str = "
[instances]
sensor1
sensor2

[worker-1]
instance = sensor1
role = worker
interface = lo

[worker-2]
instance = sensor2
role = worker
interface = lo
";

const NO_ROOM: [&str; 2] = [
    "Management::Agent::archive_cmd=sh -c 'echo no room left in /logs; exit 1'",
    "Management::Agent::archive_dir=/logs",
];

/// What an agent says at its start, which finds its Supervisor and its controller at the same time.
const AT_START: [&str; 3] = [
    "connecting to the Supervisor",
    "Supervisor connected",
    "controller connected",
];

/// Runs a program with a small disk for its state.
fn on_small_disk() -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=1m none state && exec \"$0\" \"$@\"";
    command.args(["--map-root-user", "--mount", "sh", "-c", script]);
    command
}

#[test]
fn a_day_can_be_read_as_a_story() {
    let home = home();
    fs::create_dir(home.path().join("state")).expect("a directory can be made");
    if !works(on_small_disk().arg("true").current_dir(home.path())) {
        return not_tested("a day with a full disk, where no file system of one's own is allowed");
    }
    let told = tell(&home);
    expect_file![workspace_root().join("tests/golden/story.txt")].assert_eq(&told);
}

/// The story as it grows.
#[derive(Default)]
struct Book(String);

impl Book {
    fn chapter(&mut self, title: &str) {
        // Never fails: it is a string.
        let _ = write!(self.0, "\n# {title}\n\n");
    }

    fn hear_controller(&mut self, controller: &mut Controller, words: &[&str]) {
        self.hear("controller", &mut controller.daemon.stderr, words);
    }

    /// Adds what a process has said until all these words were said, each in a line of its own. What happens at the same time is told in
    /// the order of the words.
    fn hear(&mut self, who: &str, told: &mut Told, words: &[&str]) {
        let mut lines = told.until_all(words);
        for line in &mut lines {
            *line = timeless(line);
        }
        for line in lines {
            let _ = writeln!(self.0, "{who:>10} | {line}");
        }
    }
}

fn tell(home: &Arc<TempDir>) -> String {
    let protection = Protection::mutual();
    let mut book = Book::default();

    book.chapter("The controller starts");
    let mut command = on_small_disk();
    command.arg(binary());
    let mut controller = Controller::start_by(home, command, &protection.settings("controller"));
    book.hear_controller(&mut controller, &["ready"]);

    let plan = |name| {
        let mut plan = Plan::new(name, Some(controller.broker()), &protection);
        plan.zeek = Zeek::Simulated;
        plan
    };
    book.chapter("Two sensors start");
    let (mut plan1, mut plan2) = (plan("sensor1"), plan("sensor2"));
    plan1.further = NO_ROOM.map(str::to_owned).into();
    plan2.further = vec!["Management::Agent::archive_logs=F".to_owned()];
    let mut sensor1 = Instance::start(plan1);
    book.hear_controller(&mut controller, &["sensor1"]);
    let mut sensor2 = Instance::start(plan2);
    book.hear_controller(&mut controller, &["sensor2"]);
    let at_first = [&["started the Supervisor"], &AT_START[..], &["this agent obeys"]].concat();
    book.hear("sensor1", said(&mut sensor1), &at_first);
    book.hear("sensor2", said(&mut sensor2), &at_first);

    book.chapter("A cluster is deployed");
    zeek_client(&mut controller, &["deploy-config", "-"], Some(CLUSTER), 0);
    let deployed = [
        "worker-1 UNKNOWN -> PENDING",
        "worker-1 PENDING -> RUNNING",
        "worker-2 UNKNOWN -> PENDING",
        "worker-2 PENDING -> RUNNING",
        "deploy answered",
    ];
    book.hear_controller(&mut controller, &deployed);
    let nodes = zeek_client(&mut controller, &["get-nodes"], None, 0);

    book.chapter("A worker is killed, and the Supervisor starts it again");
    let worker = nodes["results"]["sensor1"]["worker-1"]["pid"].as_i64();
    let worker = worker.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(worker.expect("a PID"), Signal::KILL).expect("it runs");
    book.hear_controller(&mut controller, &["CRASHED -> RUNNING"]);
    book.hear("sensor1", said(&mut sensor1), &["is up again"]);

    book.chapter("A sensor's agent is killed, and missed by a deployment");
    sensor2.agent.take().expect("it runs").kill();
    book.hear_controller(&mut controller, &["is lost"]);
    zeek_client(&mut controller, &["deploy"], None, 1);
    book.hear_controller(&mut controller, &["not deployed"]);

    book.chapter("It is back");
    sensor2.start_agent();
    let back = [
        "instance sensor2 is back",
        "worker-2 UNKNOWN -> PENDING",
        "worker-2 PENDING -> RUNNING",
    ];
    book.hear_controller(&mut controller, &back);
    let at_return = [&["taking over"], &AT_START[..]].concat();
    book.hear("sensor2", said(&mut sensor2), &at_return);

    troubles(&mut book, home, &mut controller);

    book.chapter("Everything ends");
    for (name, sensor) in [("sensor2", &mut sensor2), ("sensor1", &mut sensor1)] {
        end(&mut book, name, sensor);
        book.hear_controller(&mut controller, &["is gone"]);
    }
    let mut told = controller.daemon.stderr.clone();
    controller.stop();
    book.hear("controller", &mut told, &["INFO ended"]);
    book.0
}

fn end(book: &mut Book, name: &str, sensor: &mut Instance<'_>) {
    let agent = sensor.agent.take().expect("it runs");
    agent.signal(Signal::TERM);
    let mut told = agent.stderr.clone();
    let (status, _) = agent.wait();
    assert!(status.success(), "{name}: {status}");
    book.hear(name, &mut told, &["INFO ended"]);
}

/// What the controller's operator should hear of at once.
fn troubles(book: &mut Book, home: &TempDir, controller: &mut Controller) {
    book.chapter("A stranger has a certificate of another authority");
    let foreign = Authority::new("another CA");
    Peer::cannot_connect(controller.broker(), foreign.mutual("intruder"));
    book.hear_controller(controller, &["certificate"]);

    book.chapter("The disk is full");
    let filler = fill_disk(controller, home);
    zeek_client(controller, &["stage-config", "-"], Some(CLUSTER), 1);
    book.hear_controller(controller, &["stage-config failed"]);
    fs::remove_file(filler).expect("it is there");
    zeek_client(controller, &["stage-config", "-"], Some(CLUSTER), 0);
    book.hear_controller(controller, &["stage-config answered"]);
}

fn said<'a>(sensor: &'a mut Instance<'_>) -> &'a mut Told {
    &mut sensor.agent.as_mut().expect("it runs").stderr
}

/// Fills the disk of the controller, seen from its own side. Returns what fills it.
fn fill_disk(controller: &Controller, home: &TempDir) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", controller.pid()));
    let inside = home.path().strip_prefix("/").expect("it is absolute");
    let state = root.join(inside).join("state");
    // The management log keeps some room, or the end of the room it has would come at a chance moment.
    let log = state.join("nodes/controller/management-controller.log");
    let log = File::options().write(true).open(log).expect("it is there");
    fallocate(log, FallocateFlags::KEEP_SIZE, 0, 65_536).expect("there is room");
    let path = state.join("filler");
    let mut file = File::create(&path).expect("its disk can be reached");
    for size in [4096, 1] {
        loop {
            match file.write_all(&vec![0; size]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    path
}

fn zeek_client(controller: &mut Controller, arguments: &[&str], stdin: Option<&str>, exit: i32) -> Value {
    crate::support::zeek_client::zeek_client(controller, arguments, stdin).json(exit)
}

/// What differs from day to day: the time of a line, how long something took, dates (of a time of day, over midnight), counters, numbers of
/// processes, directories that were made for this day, ports, ids, identities of controllers and times of day.
const DIFFERING: [(&str, &str); 12] = [
    (r"^\S+ +", ""),
    (r" after [0-9].*? s", " after … s"),
    (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2} ", ""),
    (r"=\{\S*", "={…}"),
    (r"\b(reqid|peer|broker_id|pid|Broker::default_port)=\S+", "$1=…"),
    (r"PID [0-9]+", "PID …"),
    (r"/tmp/[^/\s]+", "…"),
    (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:…"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "…"),
    (r"\b[0-9-]{10}T[0-9:]{8}Z", "…"),
    (r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "…"),
    (r"\b[0-9a-f]{16}\b", "…"),
];

fn timeless(line: &str) -> String {
    let mut line = line.replace(&agent_binary().display().to_string(), "mgmt-agent");
    for (differs, instead) in DIFFERING {
        let differs = Regex::new(differs).expect("a regular expression");
        line = differs.replace_all(&line, instead).into_owned();
    }
    line
}
