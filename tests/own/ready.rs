//! What keeps a daemon from being ready, as what monitors it hears.

use std::{fs, path::Path};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{Configuration, State, topics};

use super::{
    Host, NAME, assert_all_run, assert_deployed, behaving, configuration, nodes,
    sensors::{SENSORS, Sensors},
    told_until,
};
use crate::support::{
    certificates::{Authority, Validity, native_settings},
    cluster_file::always_dies,
    controller::{Controller, STORE},
    http::failing,
    limit::Limit,
    mgmtctl,
    peer::Peer,
    session::{Session, stage_request},
};

/// One thing keeps the daemon from being ready: it is said like this.
#[track_caller]
fn assert_fails(directory: &Path, begin: &str, end: &str) {
    let failing = failing(directory);
    let [error] = &failing[..] else {
        panic!("{failing:?}")
    };
    assert!(error.starts_with(begin) && error.ends_with(end), "{error}");
}

#[test]
fn an_agent_is_ready_when_it_has_a_controller_and_its_nodes_run() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let sensor = host.directory(NAME);
    let controller = Peer::connect(agent.broker(), TlsConfig::Anonymous, topics::CONTROLLER);
    let limit = Limit::new("the controller to be heard of");
    limit.poll(|| failing(&sensor).is_empty().then_some(()));
    let mut wanted = nodes(&["manager", "worker-1", "worker-2"]);
    assert_deployed(&controlling.deploy_configuration(&configuration("c1", &wanted)));
    assert_all_run(&host, &mut controlling, &wanted);
    assert_eq!(failing(&sensor), [""; 0]);

    wanted[1] = behaving(wanted[1].clone(), &always_dies("no such interface"));
    controlling.deploy_configuration(&configuration("c2", &wanted));
    told_until(&mut controlling, |said| said["worker-1"].0 == State::Failed);
    assert_fails(
        &sensor,
        "node worker-1 is FAILED: node worker-1 has failed, it ended ",
        ", and so on",
    );
    mgmtctl::ask(&sensor, &["stop", "worker-1", "worker-2"]).printed();
    told_until(&mut controlling, |said| said["worker-2"].0 == State::Stopped);
    assert_eq!(failing(&sensor), [""; 0], "an operator wants it so");

    drop(controller);
    let limit = Limit::new("the end of the connection");
    limit.poll(|| (!failing(&sensor).is_empty()).then_some(()));
    assert_fails(
        &sensor,
        "no controller is connected, since ",
        "setting controller",
    );
    agent.stop();
}

#[test]
fn a_controller_is_ready_when_the_deployed_instances_are_connected() {
    let mut sensors = Sensors::start();
    let directory = sensors.working_dir();
    assert_eq!(failing(&directory), [""; 0]);
    let cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    assert_eq!(failing(&directory), [""; 0]);
    let agent = sensors.instances[1].agent.take();
    agent.expect("it runs").kill();
    let limit = Limit::new("the end of the connection");
    limit.poll(|| (!failing(&directory).is_empty()).then_some(()));
    let [_, second] = SENSORS;
    let absent = format!("instance {second} is not connected (since ");
    assert_fails(
        &directory,
        &absent,
        ", was at 127.0.0.1: connection closed by the peer)",
    );
    sensors.instances[1].start_agent();
    let limit = Limit::new("the agent to be back");
    limit.poll(|| failing(&directory).is_empty().then_some(()));
    sensors.stop();
}

#[test]
fn a_controller_whose_store_cannot_be_written_is_not_ready_until_it_can() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let (store, moved) = (directory.join(STORE), directory.join("moved"));
    let mut session = Session::open(controller.websocket());
    let mut stage = |id: &str| {
        let response = session.ask(&stage_request(&Configuration::new(id, [], [])));
        response.results()[0].success
    };
    assert!(stage("c1"));
    fs::rename(&store, &moved).expect("it is there");
    assert!(!stage("c2"));
    assert_fails(
        &directory,
        "the last write of the configuration store failed: ",
        "until one succeeds, nothing can be staged or deployed",
    );
    fs::rename(&moved, &store).expect("it is there");
    assert!(stage("c3"));
    assert_eq!(failing(&directory), [""; 0]);
    controller.stop();
}

#[test]
fn a_daemon_whose_certificate_has_expired_is_not_ready() {
    let ca = Authority::new("Cluster CA");
    let identity = ca.sign("controller", &["127.0.0.1"], &Validity::Expired);
    let controller = Controller::start(&native_settings(&ca, &identity));
    let path = identity.certificate.display();
    assert_fails(
        &controller.working_dir("controller"),
        &format!("the certificate in {path} has expired, at "),
        ": connections are refused; renew it, and have this daemon reload (SIGHUP, or mgmtctl reload)",
    );
    controller.stop();
}
