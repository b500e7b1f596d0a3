//! The controller as a process: how it starts, what it is called, how it ends.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    controller::{Controller, Remains, STORE, UNROTATED, binary, in_one},
    daemon::Daemon,
    home,
    limit::Limit,
    open_to_others,
    program::run,
    session::Session,
    websocket::{Client, request},
};

const NAME: [&str; 2] = ["--name", "controller"];
const DIRECTORIES: [&str; 4] = ["--state-dir", "state", "--spool-dir", "spool"];

#[track_caller]
fn assert_refuses(home: &TempDir, arguments: &[&str], code: i32, explanation: &str) {
    run(binary(), home.path(), &[&DIRECTORIES, arguments].concat()).failed(code, explanation);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_any_other_failed_start_with_1() {
    let home = home();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it is bound").to_string();
    // 192.0.2.1 is for documentation, and `.invalid` is never a name.
    let elsewhere = ["no-such-host.invalid:0", "192.0.2.1:0"];
    let unusable = "--listen needs an address, an interface or a host name of this machine";
    let port = "end the process that has the port, or choose another by";
    let certificates = [
        "Broker::ssl_certificate=missing.pem",
        "Broker::ssl_keyfile=missing.pem",
        "Broker::ssl_cafile=missing.pem",
    ];
    for (arguments, code, explanation) in [
        (&["--no-such-option"][..], 2, "unexpected argument"),
        (&["--name", "a/b"], 2, "choose another name"),
        (
            &["Management::Controller::default_port=2150"],
            2,
            "not a port with its protocol",
        ),
        (&["--redefs", "local.zeek"], 1, "No such file"),
        (
            &["--listen", "127.0.0.1:0", "--websocket-listen", &taken],
            1,
            &format!("{port} --websocket-listen"),
        ),
        (&["--listen", &taken], 1, &format!("{port} --listen")),
        (&["--listen", elsewhere[0]], 1, unusable),
        (&["--listen", elsewhere[0]], 1, "no-such-host.invalid"),
        (&["--listen", elsewhere[1]], 1, unusable),
        (&["--listen", elsewhere[1]], 1, "192.0.2.1"),
        (
            &[&["--listen", "127.0.0.1:0"], &certificates[..]].concat(),
            1,
            "missing.pem",
        ),
        (&[&["check-config"], &certificates[..]].concat(), 1, "missing.pem"),
    ] {
        assert_refuses(&home, arguments, code, explanation);
    }
}

#[test]
fn a_second_controller_names_the_first() {
    let home = home();
    let first = Controller::start_in(&home, &NAME);
    let holder = format!(
        "is in use by process {} (mgmt-controller); stop that one, or choose another --name or --state-dir",
        first.pid()
    );
    assert_refuses(&home, &NAME, 1, &holder);
    // Another name is another store.
    let second = Controller::start_in(&home, &["--name", "another"]);
    second.stop();
    first.stop();
    Controller::start_in(&home, &NAME).stop();
}

/// What `Broker::listen` takes, Zeek's setting takes, and so does ours.
#[test]
fn agents_are_served_on_an_interface_or_a_name() {
    let home = home();
    for name in ["lo", "localhost"] {
        let address = format!("Management::Controller::listen_address={name}");
        let mut command = Command::new(binary());
        command
            .args(["--websocket-listen", "127.0.0.1:0", "--zeek-prefix", "."])
            .args(["--state-dir", "state", "--spool-dir", "spool"])
            .args(["Management::Controller::default_port=0/tcp", &address])
            .args(NAME);
        let controller = Controller::launch(&home, command);
        let at = controller.broker();
        assert!(at.ip().is_loopback(), "{at}");
        TcpStream::connect(at).expect("it listens");
        let remains = controller.stop();
        let live = format!("Broker port {name}:{}/tcp", at.port());
        let logs = remains.management_logs;
        assert!(
            logs.iter().any(|(_, log)| log.contains(&live)),
            "as configured, as Zeek has it: {logs:?}"
        );
    }
}

/// Of a longer one there can be no log.
#[test]
fn a_name_that_no_file_can_have_is_refused() {
    let home = home();
    let (long, longest) = ("x".repeat(181), "x".repeat(180));
    let words = "Management::Controller::name: it has 181 bytes, and files that are named after it can have 180 of it";
    assert_refuses(&home, &["--name", &long], 2, words);
    let controller = Controller::start_in(&home, &["--name", &longest]);
    let stderr = controller.stop().stderr;
    assert!(!stderr.contains("too long"), "{stderr}");
}

/// A changed host name, and so a changed default name, shows in this way.
#[test]
fn a_state_directory_without_state_is_announced() {
    let home = home();
    let announced = || {
        let controller = Controller::start_in(&home, &NAME);
        let stderr = controller.stop().stderr;
        stderr.contains(" WARN ") && stderr.contains("no earlier state in ")
    };
    assert!(announced());
    assert!(!announced());
}

/// The store holds what nodes have in their environment.
#[test]
fn what_it_writes_is_not_for_everyone_and_what_is_there_and_is_gets_a_warning() {
    let home = home();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(binary());
    let controller = Controller::start_by(&home, command, &NAME);
    let dir = controller.working_dir("controller");
    let stderr = controller.stop().stderr;
    assert!(!stderr.contains("has mode"), "{stderr}");
    let written = [dir.parent().expect("it has one"), &home.path().join("spool")];
    for directory in written {
        assert_eq!(open_to_others(directory), Vec::<PathBuf>::new());
    }
    let store = dir.join(STORE);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o664)).expect("it is ours");
    let controller = Controller::start_in(&home, &NAME);
    let ready = home.path().join("ready.json");
    assert_eq!(open_to_others(&ready), Vec::<PathBuf>::new());
    let stderr = controller.stop().stderr;
    let warning = format!("{} has mode 0664", store.display());
    let line = stderr.lines().find(|line| line.contains(&warning));
    let line = line.unwrap_or_else(|| panic!("{stderr}"));
    assert_eq!(stderr.matches("has mode").count(), 1, "{stderr}");
    let mended = format!("chmod 640 {}", store.display());
    assert!(line.contains(" WARN ") && line.ends_with(&mended), "{line}");
}

/// Logrotate sends SIGHUP; USR1 and others come from scripts that take it for another program.
#[test]
fn signals_without_a_meaning_do_not_end_it_and_a_hangup_opens_the_log_anew() {
    let home = home();
    let mut controller = Controller::start_in(&home, &[UNROTATED]);
    let mut session = Session::open(controller.websocket());
    let log = controller
        .working_dir("controller")
        .join("management-controller.log");
    let mut write_until_there = || {
        let limit = Limit::new("the management log");
        while !log.exists() {
            limit.left();
            session.instances();
        }
    };
    write_until_there();
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
        controller.signal(signal);
    }
    let moved = log.with_extension("log.1");
    fs::rename(&log, &moved).expect("it is there");
    controller.signal(Signal::HUP);
    write_until_there();
    let Remains {
        management_logs,
        stderr,
    } = controller.stop();
    let moved = fs::read_to_string(&moved).expect("it is there");
    assert!(
        moved.contains("\n#close\t"),
        "it is a whole log of Zeek's: {moved}"
    );
    assert!(in_one(&management_logs).starts_with("#separator"));
    let words = "the management log was moved or removed, it is opened anew";
    assert!(stderr.contains(words), "{stderr}");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let home = home();
    // Zeek takes any interval, even one that is longer than clocks go.
    let for_ever = "Management::Request::timeout_interval=200000000000000days";
    let arguments = [for_ever, "--process-name", "zeek.controller"];
    let mut controller = Controller::start_in(&home, &arguments);
    let process = Path::new("/proc").join(controller.pid().to_string());
    let read = |file: &str| fs::read_to_string(process.join(file)).expect("the process is there");
    assert_eq!(read("comm"), "zeek.controller\n", "for ps and pgrep");
    assert_eq!(
        read("cmdline").split('\0').next(),
        Some("zeek.controller"),
        "for netstat"
    );
    let dir = fs::read_link(process.join("cwd")).expect("the process is there");
    let expected = controller.working_dir("controller").canonicalize();
    assert_eq!(dir, expected.expect("it exists"));
    let mut client = Client::subscribed(controller.websocket());
    let state = r#"{"@data-type":"boolean","data":true}"#;
    client.send_text(&request("test_timeout_request", "waits", &[state]));
    client.send_text(&request("get_instances_request", "now", &[]));
    client.text_about("get_instances_response");
    let stopping = thread::spawn(move || controller.stop());
    let answer = client.text_about("test_timeout_response");
    assert!(answer.contains("the controller is ending"), "{answer}");
    assert_eq!(client.close(), Some((1001, "Terminating".to_owned())));
    let remains = stopping.join().expect("it ended with 0");
    let log = remains.management_log();
    for (name, _) in &remains.management_logs {
        assert!(name.starts_with("management-controller__"), "{name}");
    }
    let close = log.lines().next_back().expect("a log has lines");
    assert!(close.starts_with("#close\t"), "{close}");
    assert!(!home.path().join("ready.json").exists());
}

fn hear_goodbye(client: &mut Client) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"Terminating") {
        let mut byte = [0];
        client.socket().read_exact(&mut byte).expect("the goodbye comes");
        heard.extend(byte);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = home();
    let mut controller = Controller::start_in(&home, &NAME);
    let mut client = Client::subscribed(controller.websocket());
    controller.signal(Signal::TERM);
    // The server has said goodbye and waits for this client to do so, too.
    hear_goodbye(&mut client);
    controller.signal(Signal::INT);
    let (status, stderr) = controller.wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("ended by a second signal before everything was written"),
        "{stderr}"
    );
}

/// `timeout` sends it to the process, and to the process group that it is in.
#[test]
fn the_same_signal_sent_twice_ends_it_in_good_order() {
    // On a machine so busy that they are far apart, they are two.
    let sent_within = Duration::from_millis(500);
    for _ in 0..20 {
        let home = home();
        let mut controller = Controller::start_in(&home, &NAME);
        let mut client = Client::subscribed(controller.websocket());
        let first = Instant::now();
        controller.signal(Signal::TERM);
        hear_goodbye(&mut client);
        controller.signal(Signal::TERM);
        let elapsed = first.elapsed();
        drop(client);
        let (status, stderr) = controller.wait();
        if elapsed < sent_within {
            assert!(status.success(), "{status}: {stderr}");
            return;
        }
    }
    panic!("two signals were never sent in time");
}

#[test]
fn the_log_of_a_controller_of_zeek_that_crashed_is_rotated_at_the_start() {
    let home = home();
    let dir = home.path().join("state/nodes/controller");
    fs::create_dir_all(&dir).expect("a directory can be made");
    let cut_off = "#separator \\x09\n1795310566.246379\tcontroller\tINFO\tCONTROLLER\tlast words\n";
    for (file, text) in [
        ("management-controller.log", cut_off),
        (".shadow.management-controller.log", ".log\n\n"),
    ] {
        fs::write(dir.join(file), text).expect("a file can be written");
    }
    let remains = Controller::start_in(&home, &NAME).stop();
    let logs = remains.management_logs;
    let (left, ours): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(_, text)| text == cut_off);
    assert_eq!(left.len(), 1, "{ours:?}");
    assert!(in_one(&ours).contains("controller is live"));
}

/// `ZEEK_MANAGEMENT_TESTING`, which Zeek's own tests set, keeps all files below the current directory.
#[test]
fn zeeks_environment_is_obeyed_and_testing_keeps_files_below_the_current_directory() {
    let home = home();
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("ZEEK_CONTROLLER_NAME", "from-environment")
        .env("ZEEK_CONTROLLER_WEBSOCKET_ADDR", "127.0.0.1")
        .env("ZEEK_CONTROLLER_WEBSOCKET_PORT", "0/tcp")
        .env("ZEEK_MANAGEMENT_TESTING", "1")
        .env("ZEEK_CONTROLLER_ADDR", "127.0.0.1")
        .env("ZEEK_CONTROLLER_PORT", "0/tcp")
        .args(["--log-format", "json", "--log-level", "debug"])
        .current_dir(home.path());
    let mut controller = Daemon::start("the controller", &mut command);
    let read = |line: &str| serde_json::from_str::<Value>(line).expect("each line is JSON");
    let lines = controller.stderr.until_all(&["\"message\":\"ready\""]);
    let ready = lines
        .iter()
        .map(|line| read(line))
        .find(|event| event["message"] == "ready");
    let ready = ready.expect("it gets ready");
    assert_eq!(ready["name"], "from-environment");
    let address = ready["websocket"].as_str().expect("it listens");
    let mut client = Client::subscribed(address.parse().expect("an address"));
    client.send_text(&request("get_instances_request", "my-request", &[]));
    client.text();

    let stderr = controller.stop();
    let lines = stderr.lines().map(read);
    let about_my_request: Vec<Value> = lines
        .filter(|event| event.to_string().contains("my-request"))
        .map(|event| {
            assert_eq!(event["reqid"], "my-request", "{event}");
            event["message"].clone()
        })
        .collect();
    let expected = [
        "get-instances requested",
        "rx Management::Controller::API::get_instances_request my-request",
        "tx Management::Controller::API::get_instances_response my-request",
        "get-instances answered",
    ];
    assert_eq!(about_my_request, expected);

    let dir = home.path().join("nodes/from-environment");
    assert!(dir.join(STORE).exists());
    let log = fs::read_to_string(dir.join("management-from-environment.log")).expect("it is not rotated");
    assert!(
        log.contains("rx Management::Controller::API::get_instances_request my-request"),
        "{log}"
    );
    assert!(
        log.lines()
            .next_back()
            .is_some_and(|line| line.starts_with("#close\t")),
        "{log}"
    );
}

#[test]
fn a_damaged_store_is_refused_and_kept() {
    let home = home();
    let dir = home.path().join("state/nodes/controller");
    fs::create_dir_all(&dir).expect("a directory can be made");
    fs::write(dir.join(STORE), "this was a database once").expect("a file can be written");
    assert_refuses(&home, &NAME, 1, "move it away to start without configurations");
    let kept = fs::read_to_string(dir.join(STORE)).expect("it is still there");
    assert_eq!(kept, "this was a database once");
}
