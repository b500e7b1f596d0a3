//! Certificates are renewed in time, and also when it is late.

use std::fs;

use broker_endpoint::tls::Certificate;

use super::{Hub, Sensor};
use crate::support::{http::failing, limit::Limit, mgmtctl};

/// When the certificate of a sensor ends, in seconds since 1970.
fn end(sensor: &Sensor) -> i64 {
    let pem = fs::read(sensor.path("agent.pem")).expect("it is there");
    let certificate = Certificate::from_pem(&pem).expect("a certificate");
    certificate.valid().expect("its dates").end
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("before the end of time")
}

#[test]
fn certificates_are_renewed_while_nodes_run_on() {
    let mut hub = Hub::started("6sec");
    let sensor = hub.enrolled("sensor1");
    let first = end(&sensor);
    let mut agent = sensor.start();
    hub.deploy("sensor1");
    let before = hub.pids();
    assert_eq!(before.len(), 2);
    let renewed = [
        "agent.pem is renewed",
        "agent.pem is renewed",
        "agent.pem is renewed",
    ];
    agent.stderr.until_all(&renewed);
    hub.controller()
        .daemon
        .stderr
        .until_all(&["controller.pem is renewed"]);
    assert!(end(&sensor) > first);
    // All that was there at the beginning has ended by now: they connect anew, and find each other.
    Limit::new("the end of the first certificate").poll(|| (now() > first).then_some(()));
    hub.stop();
    hub.start("6sec");
    hub.status_until("all as deployed");
    assert_eq!(hub.pids(), before);
    let directory = sensor.home.path().join("state/nodes/sensor1");
    Limit::new("the agent to be ready").poll(|| failing(&directory).is_empty().then_some(()));
    agent.stop();
    hub.stop();
}

#[test]
fn an_agent_that_was_away_until_its_certificate_ended_renews_it_and_connects() {
    let mut hub = Hub::started("2sec");
    let sensor = hub.enrolled("sensor1");
    Limit::new("the end of the certificate").poll(|| (now() > end(&sensor)).then_some(()));
    // It is not good for anything else any more.
    let [certificate, key] = ["agent.pem", "agent.key"].map(|name| sensor.path(name).display().to_string());
    hub.remote(&["whoami", "--cert", &certificate, "--key", &key])
        .failed(3, "it has expired");
    hub.stop();
    // What is issued from now on lasts.
    hub.start("30days");
    let mut agent = sensor.start();
    agent.stderr.until_all(&["agent.pem is renewed"]);
    Limit::new("the instance").poll(|| {
        let instances = hub.mgmtctl(&["instances"]);
        instances
            .stdout
            .contains("\nsensor1   no        yes")
            .then_some(())
    });
    assert!(end(&sensor) > now() + 1000);
    agent.stop();
    hub.stop();
}

#[test]
fn a_renewal_that_fails_is_told_until_it_succeeds() {
    let mut hub = Hub::started("4sec");
    let sensor = hub.enrolled("sensor1");
    hub.stop();
    let mut agent = sensor.start();
    agent
        .stderr
        .until_all(&["agent.pem cannot be renewed, and it is tried again: cannot connect to the controller"]);
    let directory = sensor.home.path().join("state/nodes/sensor1");
    let status = Limit::new("a warning").poll(|| {
        let status = mgmtctl::ask(&directory, &["status"]).stdout;
        status.contains("cannot be renewed").then_some(status)
    });
    assert!(
        status.contains("cannot connect to the controller at https://"),
        "{status}"
    );
    hub.start("30days");
    agent.stderr.until_all(&["agent.pem is renewed"]);
    Limit::new("no warning").poll(|| {
        let status = mgmtctl::ask(&directory, &["status"]).stdout;
        (!status.contains("cannot be renewed")).then_some(())
    });
    agent.stop();
    hub.stop();
}
