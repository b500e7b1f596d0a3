//! What daemons say that cannot start, or cannot reach each other: symptoms of docs/troubleshooting.md that no other test brings about.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use openssl::ssl::{SslConnector, SslMethod};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::ReservedPort;

use crate::support::{
    certificates::{Authority, Validity, native_settings},
    cluster::{agent_command, start_agent},
    controller::{Controller, STORE, binary},
    home,
    program::{Outcome, run_command},
};

/// Runs a controller that ends by itself.
fn controller(home: &TempDir, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command
        .args(["--name", "hub", "--spool-dir", "spool", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .current_dir(home.path());
    run_command(&mut command)
}

#[test]
fn a_controller_whose_port_is_taken_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = controller(&home(), &["--state-dir", "state", "--websocket-listen", &address]);
    ended.failed(1, "cannot serve WebSocket clients; ");
    ended.failed(1, &format!("cannot listen on {address}: Address already in use"));
}

#[test]
fn a_controller_without_a_directory_says_why() {
    let home = home();
    fs::write(home.path().join("file"), "").expect("it can be written");
    let ended = controller(
        &home,
        &["--state-dir", "file", "--websocket-listen", "127.0.0.1:0"],
    );
    ended.failed(1, "cannot create the store's directory ");
}

#[test]
fn a_certificate_that_has_expired_is_a_warning_at_the_start() {
    let ca = Authority::new("Cluster CA");
    let identity = ca.sign("hub", &["127.0.0.1"], &Validity::Expired);
    let mut controller = Controller::start(&native_settings(&ca, &identity));
    let warning = ": peers are going to refuse it, or to be refused; renew it, and check the clock";
    controller.daemon.stderr.until_all(&[warning]);
    controller.stop();
}

#[test]
fn an_agent_that_cannot_read_what_should_run_starts_nothing() {
    let home = TempDir::with_prefix("agent-").expect("a directory can be made");
    let directory = home.path().join("state/nodes/sensor1");
    fs::create_dir_all(&directory).expect("it can be made");
    fs::write(directory.join("desired.json"), "{").expect("it can be written");
    let mut agent = agent_command(&home, "sensor1", "127.0.0.1:0");
    agent.args(["--simulate", "--controller", "off"]);
    let ended = run_command(&mut agent);
    ended.failed(1, "/desired.json, which says what should run on this host");
}

#[test]
fn an_agent_without_its_controller_says_where_it_looks() {
    let home = TempDir::with_prefix("agent-").expect("a directory can be made");
    let nowhere = ReservedPort::new("127.0.0.1");
    let address = nowhere.address().to_string();
    let mut agent = agent_command(&home, "sensor1", "127.0.0.1:0");
    let mut agent = start_agent(&home, agent.args(["--simulate", "--controller", &address]));
    let said = format!(
        "cannot connect to the controller at {address}: cannot connect to {address} (Connection refused "
    );
    agent.stderr.until_all(&[&said]);
    agent.stop();
}

#[test]
fn clients_that_do_not_fit_a_port_with_a_certificate_are_told_apart() {
    let ca = Authority::new("Cluster CA");
    let identity = ca.sign("hub", &["127.0.0.1"], &Validity::Now);
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let tls = format!(
        "Management::Controller::tls_options_websocket=Cluster::WebSocketTLSOptions($cert_file=\"{certificate}\", $key_file=\"{key}\")"
    );
    let mut controller = Controller::start(&[tls]);
    let address: SocketAddr = controller.websocket();
    let mut plaintext = TcpStream::connect(address).expect("it listens");
    plaintext.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    let demands = "the client speaks plaintext, but this port demands TLS";
    controller.daemon.stderr.until_all(&[demands]);
    let trusting_others = SslConnector::builder(SslMethod::tls())
        .expect("a context")
        .build();
    let stream = TcpStream::connect(address).expect("it listens");
    assert!(trusting_others.connect("127.0.0.1", stream).is_err());
    let refuses = "the client refuses our certificate";
    controller.daemon.stderr.until_all(&[refuses]);
    controller.stop();
}

#[test]
fn a_row_of_the_store_that_cannot_be_read_is_told_and_kept() {
    let home = home();
    let controller = Controller::start_in::<&str>(&home, &[]);
    let store = controller.working_dir("controller").join(STORE);
    controller.stop();
    let insert = || Connection::open(&store)?.execute("insert into store values(x'00', x'00', null)", []);
    insert().expect("a database");
    let controller = Controller::start_in::<&str>(&home, &[]);
    let log = controller.stop().stderr;
    assert!(
        log.contains("ignored a row of the configuration store that cannot be read; it stays in the file"),
        "{log}"
    );
    let again = || Connection::open(&store)?.execute("delete from store where key = x'00'", []);
    assert_eq!(again().expect("a database"), 1);
}

#[test]
fn an_agent_without_its_supervisor_says_where_it_looks() {
    let home = TempDir::with_prefix("agent-").expect("a directory can be made");
    let nowhere = ReservedPort::new("127.0.0.1");
    let address = nowhere.address().to_string();
    let mut agent = agent_command(&home, "sensor1", "127.0.0.1:0");
    agent.args([
        "--controller",
        "off",
        "--zeek-version",
        "9.0.0",
        "--zeek-prefix",
        ".",
        "--supervisor",
        &address,
    ]);
    let mut agent = start_agent(&home, &mut agent);
    let said = format!("cannot connect to the Supervisor at {address}: ");
    agent.stderr.until_all(&[&said]);
    agent.stop();
}
