//! The agent as a process: how it starts, what it is called, what it leaves behind, how it ends.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread,
};

use mgmt_api::{AGENT_STOPPED, AgentMessage, AgentRequest};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use tempfile::TempDir;
use testkit::write_executable;

use crate::landscape::sockets;
use crate::support::{
    cluster::{agent_binary, agent_command, start_agent},
    controller::{in_one, rotated_logs},
    controlling::Controlling,
    daemon::Daemon,
    home,
    limit::TIMEOUT,
    open_to_others,
    program::{Outcome, run, run_command},
};

const NAME: &str = "agent-1";

/// The program in a directory of its own. No Supervisor is there.
fn command(home: &TempDir) -> Command {
    command_at(home, "127.0.0.1:0")
}

fn command_at(home: &TempDir, listen: &str) -> Command {
    let mut command = agent_command(home, NAME, listen);
    command.args(["--supervisor", "127.0.0.1:1", "--zeek-prefix", "."]);
    command
}

fn start(home: &TempDir, arguments: &[&str]) -> Daemon {
    start_agent(home, command(home).args(["--controller", "off"]).args(arguments))
}

#[test]
fn a_wrong_command_line_ends_with_2_and_any_other_failed_start_with_1() {
    let home = home();
    let refuses = |arguments: &[&str], code: i32, explanation: &str| {
        run_command(command(&home).args(arguments)).failed(code, explanation);
    };
    refuses(&["--no-such-option"], 2, "unexpected argument");
    refuses(&["Management::Agent::nmae=x"], 2, "Zeek's agent has no setting");
    refuses(&["--redefs", "local.zeek"], 1, "No such file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it is bound").to_string();
    refuses(
        &["Management::Agent::archive_logs=F", &format!("--listen={taken}")],
        2,
        "cannot be used multiple times",
    );
    let line = format!(
        "cannot listen on {taken}: Address already in use (os error 98); end the process that has the port"
    );
    run_command(agent_command(&home, NAME, &taken).args(["--zeek-prefix", "."])).failed(1, &line);
}

#[test]
fn the_configuration_can_be_checked_and_shown_without_a_start() {
    let home = home();
    let shown = |arguments: &[&str]| run(agent_binary(), home.path(), arguments);
    let json = shown(&["dump-config", "--json", "--name", NAME, "--zeek-prefix", "/z"]).json(0);
    assert_eq!(json[0]["name"], "Management::Agent::name");
    assert_eq!(json[0]["origin"], "option --name");
    let dump = shown(&["dump-config", "--name", NAME, "--zeek-prefix", "/z"]);
    let text = dump.printed();
    let line = text
        .lines()
        .find(|line| line.starts_with("redef Management::Agent::controller "));
    let controller = "[$address=\"127.0.0.1\", $bound_port=2150/tcp]";
    assert!(line.is_some_and(|line| line.contains(controller)), "{text}");
    let simulated = [
        "--simulate",
        "--listen=127.0.0.1:0",
        "--state-dir=s",
        "--spool-dir=s",
    ];
    let checked = shown(&[&["check-config"], &simulated[..]].concat());
    let text = checked.printed();
    assert!(text.starts_with("the configuration is good: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let checked = shown(&["check-config", "--zeek-version", "1.0"]);
    checked.failed(1, "is not a version of Zeek");
    let long = format!("--name={}", "x".repeat(300));
    for (argument, words) in [
        (&*long, "name: Management::Agent::name: it has 300 bytes"),
        ("--journal=.", "journal: journal: it is a directory"),
        ("--ready-file=.", "ready-file: ready_file: it is a directory"),
    ] {
        let checked = shown(&["check-config", "--zeek-prefix=.", argument]);
        checked.failed(1, &format!("error: option --{words}"));
    }
    for arguments in [
        ["completion", "bash"].as_slice(),
        &["man"],
        &["man", "check-config"],
    ] {
        let shown = shown(arguments);
        assert!(shown.printed().contains("supervisor"), "{shown:?}");
    }
}

/// A Zeek installation that is not there yet, and an agent that is to use it.
struct Checked {
    home: Arc<TempDir>,
    prefix: PathBuf,
}

impl Checked {
    fn new() -> Self {
        let home = home();
        let prefix = home.path().join("zeek");
        for directory in [
            "bin",
            "share/zeek/policy/frameworks/management/node",
            "share/zeek/site",
        ] {
            fs::create_dir_all(prefix.join(directory)).expect("a directory can be made");
        }
        Self { home, prefix }
    }

    fn executable(&self, name: &str, text: &str) {
        write_executable(&self.prefix.join("bin").join(name), text);
    }

    fn script(&self, name: &str) {
        fs::write(self.prefix.join("share/zeek").join(name), "").expect("written");
    }

    fn check(&self, arguments: &[&str]) -> Outcome {
        let at = ["check-config", "--zeek-prefix", "zeek", "--listen", "127.0.0.1:0"];
        let directories = ["--state-dir", "state", "--spool-dir", "spool"];
        let arguments = [&at[..], &directories, arguments].concat();
        run(agent_binary(), self.home.path(), &arguments)
    }
}

/// What is found is named with its origin.
#[test]
fn the_configuration_is_tried_against_the_host() {
    let agent = Checked::new();
    let checked = agent.check(&["--supervise=zeek"]);
    checked.failed(1, "zeek_prefix: there is no zeek in ");
    checked.failed(1, "Management::Agent::archive_cmd: there is no program ");
    agent.executable("zeek", "#!/bin/sh\necho zeek version 9.0.0\n");
    agent.executable("zeek-archiver", "");
    for script in [
        "policy/frameworks/management/node/__load__.zeek",
        "site/local.zeek",
    ] {
        agent.script(script);
    }
    let scripts = ["--zeek-argument=local", "--zeek-argument=A::b=c"];
    let checked = agent.check(&["--start-supervisor", scripts[0], scripts[1]]);
    let text = checked.printed();
    for words in [
        "zeek version 9.0.0",
        "bin/zeek-archiver",
        "script local",
        "script policy/frameworks/management/node",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it is bound").to_string();
    for (arguments, words) in [
        (
            &["--start-supervisor", "--supervisor", &taken][..],
            "error: option --supervisor: Broker::default_port: cannot listen on ",
        ),
        (
            &["--start-supervisor", "--supervisor-timeout", "1usec"],
            "error: option --supervisor-timeout: supervisor_timeout: a Supervisor needs a second at least to answer; or 0sec",
        ),
        (
            &["--start-supervisor", "--zeek-argument", "lokal"],
            "error: option --zeek-argument: zeek_argument: there is no script lokal in ",
        ),
    ] {
        agent.check(arguments).failed(1, words);
    }
    agent.executable("zeek", "#!/bin/sh\nexit 1\n");
    let words = "bin/zeek --version does not say which Zeek it is";
    agent.check(&["--start-supervisor"]).failed(1, words);
}

/// What would keep nodes from running that no Supervisor of Zeek's keeps.
#[test]
fn what_nodes_need_is_tried_before_any_is_started() {
    let agent = Checked::new();
    let found = |words: &str| {
        let checked = agent.check(&["--supervise", "native"]);
        checked.failed(1, words);
    };
    found("zeek_prefix: there is no zeek in ");
    found("nor on PATH, so no node can be started; name the installation by --zeek-prefix");
    found("Management::Agent::archive_cmd: there is no program ");
    agent.executable("zeek-archiver", "");
    agent.executable("zeek", "#!/bin/sh\nexit 1\n");
    found("bin/zeek --version does not say which Zeek it is, so no node can be started");
    agent.executable("zeek", "#!/bin/sh\necho zeek version 5.2.1\n");
    found("Zeek 5.2 is too old: 6.0 or later is needed");
    agent.executable("zeek", "#!/bin/sh\necho zeek version 9.1.0\n");
    found("site_scripts: there is no script local in ");
    agent.script("site/local.zeek");
    let checked = agent.check(&["--supervise", "native"]);
    let text = checked.printed();
    assert!(
        text.contains("zeek version 9.1.0") && text.contains("script local"),
        "{text}"
    );
    assert_eq!(checked.stderr, "", "records of a Supervisor are not needed");
    // Every Linux has a file system there, and the home is on another one.
    let elsewhere = agent.check(&[
        "--supervise",
        "native",
        "Log::default_rotation_dir=/dev/shm/queue",
    ]);
    elsewhere.failed(1, "/dev/shm/queue is on another file system than ");
}

#[test]
fn it_is_called_as_asked_and_leaves_its_log_in_the_queue() {
    let home = home();
    let agent = start(&home, &["--process-name", "zeek.agent-instance-1"]);
    let process = Path::new("/proc").join(agent.pid().to_string());
    let read = |file: &str| fs::read_to_string(process.join(file)).expect("the process is there");
    assert_eq!(
        read("comm"),
        "zeek.agent-inst\n",
        "for ps and pgrep, as the kernel cuts it"
    );
    assert_eq!(
        read("cmdline").split('\0').next(),
        Some("zeek.agent-instance-1"),
        "for netstat"
    );
    let dir = home.path().join("state/nodes").join(NAME);
    assert_eq!(
        fs::read_link(process.join("cwd")).expect("the process is there"),
        dir.canonicalize().expect("it exists")
    );
    let ready = fs::read(home.path().join("ready.json")).expect("it is there");
    let ready: Value = serde_json::from_slice(&ready).expect("it is JSON");
    assert_eq!((&ready["version"], &ready["name"]), (&1.into(), &NAME.into()));
    let id = ready["broker_id"].as_str().expect("an id").to_owned();
    for written in [&home.path().join("state/nodes"), &home.path().join("ready.json")] {
        assert_eq!(open_to_others(written), Vec::<PathBuf>::new());
    }
    agent.stop();

    assert!(!home.path().join("ready.json").exists());
    let logs = rotated_logs(&home.path().join("spool/log-queue"));
    for (name, _) in &logs {
        let is_named = name.starts_with("management-agent-1__") && name.ends_with("__.log");
        assert!(is_named, "{name}");
    }
    let text = in_one(&logs);
    let line = text.lines().find(|line| !line.starts_with('#')).expect("a line");
    let fields: Vec<_> = line.split('\t').skip(1).collect();
    let message = format!("agent is live, Broker ID {id}");
    assert_eq!(fields, [NAME, "INFO", "AGENT", &message]);
}

/// What `Broker::listen` takes, Zeek's setting takes, and so does ours.
#[test]
fn it_listens_on_an_interface_or_a_name() {
    let home = home();
    for name in ["lo", "localhost"] {
        let mut command = command_at(&home, &format!("{name}:0"));
        let agent = start_agent(&home, command.args(["--controller", "off"]));
        assert!(agent.broker().ip().is_loopback(), "{}", agent.broker());
        TcpStream::connect(agent.broker()).expect("it listens");
        agent.stop();
    }
    let refused = run_command(&mut command_at(&home, "no-such-host.invalid:0"));
    let explanation = "--listen needs an address, an interface or a host name of this machine";
    refused.failed(1, explanation);
    refused.failed(1, "no-such-host.invalid");
}

/// As the tests of Zeek's own framework have it of Zeek's agent.
#[test]
fn it_listens_for_nodes_and_controllers_only() {
    let home = home();
    let agent = start(&home, &[]);
    let pid = i32::try_from(agent.pid()).expect("small");
    assert_eq!(sockets(pid), [("tcp", agent.broker())].into());
    agent.stop();
}

/// As in the tests of Zeek's own framework: the command is one for a shell, and it is run when the agent ends. The agent's own
/// log is among what it finds, also if nothing was rotated before.
#[test]
fn logs_are_archived_a_last_time_at_the_end() {
    let home = home();
    // What is written there is read by the one that opens it.
    let pipe = home.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe can be made");
    let setting = format!(
        "Management::Agent::archive_cmd=sh -c 'echo \"$@\" $(ls $2) >>{}' archived",
        pipe.display()
    );
    let agent = start(&home, &[&setting, "Management::Agent::archive_dir=/logs"]);
    // The archiver does not end until its pipe is read.
    let (tell, archived) = mpsc::channel();
    thread::spawn(move || tell.send(fs::read_to_string(pipe)));
    let log = agent.stop();
    let archived = archived.recv_timeout(TIMEOUT).expect("the archiver is run");
    let archived = archived.expect("a pipe can be read");
    let queue = home.path().join("spool/log-queue");
    let own = format!("-1 {} /logs management-{NAME}__", queue.display());
    assert!(archived.starts_with(&own), "{archived}");
    assert!(log.contains("triggering log archival via 'sh -c"), "{log}");
}

#[test]
fn a_second_agent_names_the_first() {
    let home = home();
    let first = start(&home, &[]);
    let holder = format!("in use by process {} (mgmt-agent)", first.pid());
    run_command(&mut command(&home)).failed(1, &holder);
    first.stop();
}

#[test]
fn a_replay_gives_the_answers_that_the_agent_gave() {
    let home = home();
    let agent = start(&home, &["--journal", "journal"]);
    let mut controlling = Controlling::connect(agent.broker(), NAME);
    let given = [
        controlling.ask(|reqid| AgentRequest::GetNodes { reqid }),
        controlling.ask(|reqid| AgentRequest::AgentWelcome { reqid }),
    ];
    agent.stop();

    let replay = run(agent_binary(), home.path(), &["replay", "journal"]);
    let replayed: Vec<AgentMessage> = replay
        .printed()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("< ")?).ok())
        .filter_map(|action| {
            let event = action.pointer("/Publish/event")?.clone();
            let event: broker_codec::zeek::Event = serde_json::from_value(event).expect("an event");
            Some(event.parse().expect("of the agents' API"))
        })
        .collect();
    let (last, answers) = replayed.split_last().expect("it says that it was stopped");
    assert_eq!(answers, given);
    assert!(
        matches!(last, AgentMessage::Log { msg, .. } if msg.starts_with(AGENT_STOPPED.as_bytes())),
        "{last:?}"
    );
}
