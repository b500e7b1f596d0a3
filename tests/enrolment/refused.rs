//! What gets no certificate, and what one is not good for.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use broker_endpoint::tls::{Identity, TlsConfig, Trust};
use mgmt_api::{AgentMessage, AgentRequest, ClientRequest, operator::enrolment::EnrolmentToken, topics};

use mgmt_daemon::lock::Lock;

use super::{Hub, Sensor};
use crate::support::{
    controller::Controller,
    http::{assert_problem, request},
    limit::Limit,
    mgmtctl,
    peer::{Peer, data_of},
};

/// A token that says something else.
fn changed(token: &str, change: impl FnOnce(&mut EnrolmentToken)) -> String {
    let mut token: EnrolmentToken = token.parse().expect("a token");
    change(&mut token);
    token.to_string()
}

#[test]
fn a_token_is_good_for_one_key_in_its_time() {
    let mut hub = Hub::started("30days");
    let token = hub.token("sensor1");
    let first = Sensor::new();
    first.enrol(&token, &["--name", "sensor2"]).failed(
        1,
        "the token is for instance sensor1, and this agent is called sensor2",
    );
    first
        .enrol("enrol_", &[])
        .failed(64, "this is no enrolment token");
    let elsewhere = changed(&token, |token| token.enrolled.ca = [0; 32]);
    first.enrol(&elsewhere, &[]).failed(
        1,
        "is not of the CA that is meant: none in its chain has that fingerprint",
    );
    let nowhere = changed(&token, |token| {
        token.enrolled.url = "https://127.0.0.1:1".to_owned();
    });
    first
        .enrol(&nowhere, &[])
        .failed(3, "cannot connect to the controller");
    assert!(!first.path("enrolment.json").exists());

    first.enrol(&token, &[]).printed();
    Sensor::new()
        .enrol(&token, &[])
        .failed(1, "was used already, with another key");
    // The answer was lost: the key is there, and the certificate is not.
    let again = Sensor::new();
    fs::create_dir_all(again.path("")).expect("it can be made");
    fs::copy(first.path("agent.key"), again.path("agent.key.new")).expect("it can be copied");
    again.enrol(&token, &[]).printed();
    // It ended before it wrote down where the host is enrolled.
    fs::remove_file(again.path("enrolment.json")).expect("it was enrolled");
    again.enrol(&token, &[]).printed();
    assert_eq!(hub.counted("certificates_issued"), 3);

    let revoked = hub.token("sensor3");
    hub.mgmtctl(&["enroll", "--revoke", "sensor3"]).printed();
    Sensor::new().enrol(&revoked, &[]).failed(
        1,
        "this is no enrolment token of this controller, or it was revoked",
    );
    let short = hub.mgmtctl(&["enroll", "sensor4", "--expires", "1s"]);
    Limit::new("the end of a token").poll(|| {
        let pending = hub.mgmtctl(&["enroll", "--list"]);
        (pending.printed() == "no enrolment is pending\n").then_some(())
    });
    Sensor::new()
        .enrol(short.printed(), &[])
        .failed(1, "the enrolment token for sensor4 has expired");
    hub.mgmtctl(&["enroll", "controller:hub"])
        .failed(1, "cannot be the name of an instance that is enrolled");
    for name in ["..", "-x", "192.0.2.7", "2001:db8::1"] {
        let refused = hub.mgmtctl(&["enroll", "--", name]);
        refused.failed(1, "cannot be the name of an instance that is enrolled");
    }
    hub.mgmtctl(&["enroll", "LocalHost"])
        .failed(1, "is a name of this controller's own");
    hub.mgmtctl(&["enroll", "sensor5", "--url", "http://hub"])
        .failed(1, "is no URL of a controller");
    hub.mgmtctl(&["enroll", "sensor5", "--url", "https://elsewhere.example:2148"])
        .failed(1, "this controller is not known as elsewhere.example");
    assert_eq!(hub.counted("certificates_refused"), 3);
    hub.stop();
}

#[test]
fn an_enrolment_while_another_one_is_under_way_asks_nothing() {
    let mut hub = Hub::started("30days");
    let (token, sensor) = (hub.token("sensor1"), Sensor::new());
    let lock = sensor.path("lock");
    fs::create_dir_all(lock.parent().expect("a directory")).expect("it can be made");
    let held = Lock::take(&lock).expect("it is free");
    sensor
        .enrol(&token, &[])
        .failed(1, "another enrolment is under way, by process ");
    assert_eq!(hub.counted("certificates_issued"), 0);
    drop(held);
    sensor.enrol(&token, &[]).printed();
    assert_eq!(hub.counted("certificates_issued"), 1);
    hub.stop();
}

#[test]
fn a_controller_without_a_ca_says_so() {
    let controller = Controller::start::<&str>(&["--http-listen", "127.0.0.1:0"]);
    let directory = controller.working_dir("controller");
    for arguments in [&["enroll", "sensor1"][..], &["enroll", "--list"]] {
        mgmtctl::ask(&directory, arguments).failed(1, "this controller has no CA of its own");
    }
    let on_socket = request(&directory, "POST /v1/certificates", "{}");
    assert_problem(&on_socket, 404, "certificates are issued on the HTTP port");
    let mut stream = TcpStream::connect(controller.daemon.listens("http")).expect("it listens");
    let asked = "POST /v1/certificates HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(asked.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert_problem(&answer, 409, "this controller has no CA of its own");
    controller.stop();
}

#[test]
fn wrong_secrets_slow_their_address_down() {
    let mut hub = Hub::started("30days");
    let token = hub.token("sensor1");
    let wrong = changed(&token, |token| token.secret = "0".repeat(64));
    let sensor = Sensor::new();
    Limit::new("to be slowed down").poll(|| {
        let refused = sensor.enrol(&wrong, &[]);
        assert_eq!(refused.exit, 1, "{refused:?}");
        refused
            .stderr
            .contains("too many tokens of 127.0.0.1 were wrong")
            .then_some(())
    });
    assert!(hub.counted("http_slowed_down") > 0 && hub.counted("http_unauthenticated") >= 10);
    // After a second the good one is looked at.
    Limit::new("to be let in again").poll(|| (sensor.enrol(&token, &[]).exit == 0).then_some(()));
    hub.stop();
}

#[test]
fn an_instance_gets_only_so_many_certificates_in_a_row() {
    let mut hub = Hub::started("30days");
    let token = hub.token("sensor1");
    let first = Sensor::new();
    first.enrol(&token, &[]).printed();
    // As if the answer were lost, again and again.
    Limit::new("too many certificates").poll(|| {
        let again = Sensor::new();
        fs::create_dir_all(again.path("")).expect("it can be made");
        fs::copy(first.path("agent.key"), again.path("agent.key.new")).expect("it can be copied");
        let outcome = again.enrol(&token, &[]);
        if outcome.exit == 0 {
            return None;
        }
        outcome.failed(1, "sensor1 has got 20 certificates in a short time");
        Some(())
    });
    assert_eq!(
        (
            hub.counted("certificates_refused"),
            hub.counted("http_slowed_down")
        ),
        (1, 1)
    );
    hub.enrolled("sensor2");
    hub.stop();
}

/// What a sensor that was enrolled has.
fn mutual(sensor: &Sensor) -> TlsConfig {
    TlsConfig::Mutual {
        identity: Identity {
            certificate: sensor.path("agent.pem"),
            key: sensor.path("agent.key"),
            passphrase: None,
        },
        trust: Trust {
            ca_file: Some(sensor.path("ca.pem")),
            ..Trust::default()
        },
    }
}

#[test]
fn an_agent_that_was_enrolled_may_be_that_agent_and_nothing_else() {
    let mut hub = Hub::started("30days");
    let (one, other) = (hub.enrolled("sensor1"), hub.enrolled("sensor2"));
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = (path(&one.path("agent.pem")), path(&one.path("agent.key")));
    let by = ["--cert", &*certificate, "--key", &*key];
    for (command, exit) in [
        (&["whoami"][..], 1),
        (&["status"], 3),
        (&["deploy", "--yes"], 1),
        (&["enroll", "sensor3"], 1),
    ] {
        hub.remote(&[command, &by[..]].concat()).failed(
            exit,
            "your certificate is an agent's (agent of instance sensor1), which may ask for nothing over HTTP",
        );
    }
    // Over Broker it can neither deploy, nor say that it is another one.
    let broker = hub.controller().broker();
    let mut peer = Peer::connect(broker, mutual(&one), topics::CONTROLLER);
    let deploy = ClientRequest::Deploy { reqid: "r".into() };
    peer.publish(topics::CONTROLLER, &data_of(&deploy));
    let refused = peer.response();
    assert!(!refused.results()[0].success, "{refused:?}");
    let hello = AgentMessage::Hello {
        instance: "sensor2".into(),
        id: peer.endpoint.id().to_string().into(),
        connecting: true,
        api_version: 1,
    };
    peer.publish("zeek/management/agent/sensor2", &data_of(&hello));
    Limit::new("the refusal of a hello").poll(|| (hub.counted("hellos_refused") == 1).then_some(()));

    // Nor can it give another agent orders,
    let chain = other.path("chain.pem");
    let texts = ["agent.pem", "ca.pem"].map(|name| fs::read(other.path(name)).expect("it is there"));
    fs::write(&chain, texts.concat()).expect("it can be written");
    let (chain, key) = (path(&chain), path(&other.path("agent.key")));
    let agent = other.start_with(&[
        "--http-listen",
        "127.0.0.1:0",
        "--http-certificate",
        &chain,
        "--http-key",
        &key,
    ]);
    let topic = "zeek/management/agent/sensor2";
    let mut peer = Peer::connect(agent.broker(), mutual(&one), topic);
    peer.publish(topic, &data_of(&AgentRequest::GetNodes { reqid: "r".into() }));
    let result = peer.hear(&Limit::new("an answer of the agent"), |event| {
        match event.parse() {
            Ok(AgentMessage::GetNodes { result, .. }) => Some(result),
            _ => None,
        }
    });
    let error = result.error.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(
        !result.success && error.contains("(certificate CN=sensor1) has no role"),
        "{error}"
    );
    // or be taken for the controller.
    let url = format!("https://{}", agent.listens("http"));
    let astray = changed(&hub.token("sensor3"), |token| token.enrolled.url = url);
    Sensor::new().enrol(&astray, &[]).failed(
        1,
        "has a certificate of the right CA, for CN=sensor2, and not for a controller",
    );
    agent.stop();
    hub.stop();
}
