//! The control socket of both daemons: who may use it, and what bad requests get. What good ones do is in `own/operated.rs`.

mod shared;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use rustix::process::{Signal, getegid, geteuid};
use tempfile::TempDir;
use testkit::copy_executable;

use crate::support::{
    cluster::{agent_command, start_agent},
    controller::Controller,
    daemon::Daemon,
    http::{answer, assert_problem, request},
    limit::Limit,
    mgmtctl,
    program::Outcome,
};

struct Agent {
    home: TempDir,
    daemon: Daemon,
}

impl Agent {
    fn start(further: &[&str]) -> Self {
        let home = TempDir::with_prefix("socket-").expect("a directory can be made");
        let mut command = agent_command(&home, "sensor", "127.0.0.1:0");
        command.args(["--simulate", "--controller", "off"]).args(further);
        let daemon = start_agent(&home, &mut command);
        Self { home, daemon }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("state/nodes/sensor")
    }
}

#[test]
fn bad_requests_are_told_what_is_wrong_and_others_are_answered_meanwhile() {
    let agent = Agent::start(&[]);
    let controller = Controller::start::<&str>(&[]);
    let of_controller = controller.working_dir("controller");
    let of_agent = agent.directory();

    for directory in [&of_agent, &of_controller] {
        // A connection on which nothing is said, and a request that does not end.
        let _silent = UnixStream::connect(directory.join("control.sock")).expect("it listens");
        let mut slow = UnixStream::connect(directory.join("control.sock")).expect("it listens");
        slow.write_all(b"POST /v1/nodes/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            .expect("written");

        let about = request(directory, "GET /v1", "");
        assert!(
            about.starts_with("HTTP/1.1 200 OK") && about.contains("version"),
            "{about}"
        );
        assert_problem(&request(directory, "GET /v2", ""), 404, "there is no such path");
        assert_problem(&request(directory, "DELETE /v1", ""), 405, "no such method");
        assert!(answer(directory, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
        assert!(answer(directory, long.as_bytes()).starts_with("HTTP/1.1 4"));
        assert!(answer(directory, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_empty());
    }
    agent.daemon.stop();
    controller.stop();
}

#[test]
fn requests_that_cannot_be_carried_out_are_told_what_is_wrong_with_them() {
    let agent = Agent::start(&[]);
    let controller = Controller::start::<&str>(&[]);
    let of_controller = controller.working_dir("controller");
    let of_agent = agent.directory();
    let stop = "POST /v1/nodes/stop";
    assert_problem(&request(&of_agent, stop, ""), 400, "the body cannot be read: EOF");
    assert_problem(
        &request(&of_agent, stop, r#"{"nodes": 1}"#),
        400,
        "expected a sequence at line 1",
    );
    assert_problem(
        &request(&of_agent, stop, r#"{"node": ["w1"]}"#),
        400,
        "unknown field `node`",
    );
    assert_problem(
        &request(&of_agent, stop, r#"{"role": "cook"}"#),
        400,
        "no such word: cook",
    );
    assert_problem(
        &request(&of_agent, stop, r#"{"nodes": ["x"]}"#),
        404,
        "this agent has no node x",
    );
    let huge = " ".repeat(17 * 1024 * 1024);
    assert_problem(&request(&of_agent, stop, &huge), 413, "length limit exceeded");
    assert_problem(
        &request(&of_agent, "GET /v1/nodes/a%0Ab/outputs", ""),
        404,
        r"no node a\\nb",
    );
    let cluster = "/v1/clusters/default/nodes";
    assert_problem(
        &request(
            &of_controller,
            &format!("POST {cluster}/stop"),
            r#"{"all": true}"#,
        ),
        409,
        "nothing is deployed",
    );
    // A program with an empty list does not mean all nodes.
    for (directory, path) in [
        (&of_agent, stop.to_owned()),
        (&of_controller, format!("POST {cluster}/stop")),
    ] {
        for none in ["{}", r#"{"nodes": []}"#, r#"{"nodes": ["a"], "all": true}"#] {
            assert_problem(&request(directory, &path, none), 400, "say which nodes are meant");
        }
        assert_problem(
            &request(directory, &path, r#"[["a"]]"#),
            400,
            "it is a JSON array",
        );
    }
    assert_problem(
        &request(
            &of_controller,
            &format!("POST {cluster}/stop"),
            r#"{"node": "a"}"#,
        ),
        400,
        "unknown field",
    );
    assert_problem(
        &request(&of_controller, "GET /v1/clusters/%0A/status", ""),
        404,
        r"there is no cluster \\n",
    );
    agent.daemon.stop();
    controller.stop();
}

#[test]
fn only_the_daemons_user_may_connect_and_a_socket_that_was_left_is_replaced() {
    let agent = Agent::start(&[]);
    let socket = agent.directory().join("control.sock");
    let mode = |socket: &Path| fs::metadata(socket).expect("it is there").permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    let Agent { home, daemon } = agent;
    daemon.kill();
    assert!(socket.exists(), "it is left by one that was killed");

    let mut command = agent_command(&home, "sensor", "127.0.0.1:0");
    command.args(["--simulate", "--controller", "off"]);
    let daemon = start_agent(&home, &mut command);
    assert_eq!(
        mgmtctl::ask(socket.parent().expect("a directory"), &["whoami"]).exit,
        0
    );
    daemon.stop();
    assert!(!socket.exists(), "it goes in the end");
}

#[test]
fn a_daemon_that_cannot_have_its_socket_serves_its_peers_and_says_so() {
    let home = TempDir::with_prefix("socket-").expect("a directory can be made");
    let file = home.path().join("file");
    fs::write(&file, "kept").expect("written");
    let lengthy = home.path().join("l".repeat(120));
    let other = Agent::start(&[]);
    let in_use = other.directory().join("control.sock");
    for (path, reason) in [
        (&file, "it is no socket"),
        (&lengthy, "File name too long"),
        (&in_use, "another process listens there"),
    ] {
        let path = path.to_str().expect("a plain path");
        let agent = Agent::start(&["--control-socket", path]);
        let log = agent.daemon.stop();
        let words = format!("cannot listen on its control socket {path}: {reason}");
        assert!(log.contains(&words), "{log}");
    }
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "kept");
    assert_eq!(mgmtctl::ask(&other.directory(), &["whoami"]).exit, 0);
    other.daemon.stop();
}

#[test]
fn an_agent_whose_nodes_a_supervisor_of_zeeks_keeps_stops_none_and_says_why() {
    let agent = Agent::start(&["--supervise", "zeek"]);
    let directory = agent.directory();
    let refused = mgmtctl::ask(&directory, &["stop", "--all"]);
    refused.failed(1, "a Supervisor of Zeek's keeps the nodes of this agent");
    let status = mgmtctl::ask(&directory, &["status"]);
    assert!(
        status.stdout.contains("supervision zeek, no configuration"),
        "{status:?}"
    );
    agent.daemon.stop();
}

#[test]
fn more_connections_than_are_served_at_a_time_wait_for_their_turn() {
    let agent = Agent::start(&[]);
    let directory = agent.directory();
    let socket = directory.join("control.sock");
    assert!(
        fs::metadata(&socket)
            .expect("it is there")
            .file_type()
            .is_socket()
    );
    let mut connections: Vec<UnixStream> = (0..64)
        .map(|_| UnixStream::connect(&socket).expect("it listens"))
        .collect();
    let mut late = UnixStream::connect(&socket).expect("it waits");
    let request = b"GET /v1 HTTP/1.1\r\nHost: a\r\n\r\n";
    late.write_all(request).expect("it waits");
    late.set_nonblocking(true).expect("a mode");
    // Connections are accepted in order: when the one before it is served, it would be, too.
    let before = connections.last_mut().expect("the last that is served");
    for _ in 0..50 {
        before.write_all(request).expect("it is served");
        let read = before.read(&mut [0; 4096]).expect("an answer");
        assert!(read > 0);
        let error = late.read(&mut [0]).expect_err("it is not served");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    connections.remove(0);
    let limit = Limit::new("an answer to the connection that waited");
    limit.poll(|| late.read(&mut [0]).ok());
    agent.daemon.stop();
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_for_ever() {
    let agent = Agent::start(&[]);
    agent.daemon.signal(Signal::STOP);
    mgmtctl::ask(&agent.directory(), &["status"]).failed(3, "it may be stopped or hang");
    agent.daemon.signal(Signal::CONT);
    agent.daemon.stop();
}

/// An agent whose control socket the users of our own group may use, to read.
fn agent_for_group() -> (TempDir, Agent, PathBuf) {
    let directory = TempDir::with_prefix("group-").expect("a directory can be made");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let socket = directory.path().join("agent.sock");
    let group = fs::read_to_string("/etc/group").expect("it can be read");
    let gid = getegid().as_raw().to_string();
    let group = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid).then_some(name)
    });
    let role = format!("{} read", group.expect("our group has a name"));
    let path = socket.to_str().expect("text");
    let agent = Agent::start(&["--control-socket", path, "--control-socket-group", &role]);
    (directory, agent, socket)
}

#[test]
fn a_group_may_use_the_socket_for_what_its_role_allows() {
    let gid = getegid();
    let (directory, agent, socket) = agent_for_group();
    let path = socket.to_str().expect("text");
    let found = fs::metadata(&socket).expect("it is there");
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, gid.as_raw()));

    let program = directory.path().join("mgmtctl");
    copy_executable(mgmtctl::binary(), &program);
    let ask = |user: &[&str], command: &[&str]| {
        let mut words = user
            .iter()
            .copied()
            .chain([program.to_str().expect("text"), "--socket", path]);
        let mut asking = Command::new(words.next().expect("a program"));
        let asking = asking.args(words).args(command).current_dir("/");
        Outcome::of(
            asking
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts"),
            "mgmtctl",
            Instant::now(),
        )
    };
    assert!(ask(&[], &["whoami"]).printed().contains("admin in all clusters"));
    if geteuid().is_root() {
        let member = format!("--regid={}", gid.as_raw());
        let other = ["setpriv", "--reuid=65534", &member, "--clear-groups"];
        assert!(
            ask(&other, &["whoami"])
                .printed()
                .ends_with(": read in all clusters\n")
        );
        ask(&other, &["reload"]).failed(
            1,
            "what changes configurations or nodes takes the role deploy, any other change admin; user 65534",
        );
        let stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        ask(&stranger, &["whoami"]).failed(3, "Permission denied");
    }
    agent.daemon.stop();
}
