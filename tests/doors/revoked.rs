//! Certificates that the deny list has, and others that are no good.

use std::{fs, process::Command};

use broker_endpoint::{EndpointEvent, tls::Identity};
use mgmt_api::topics;

use super::{Hub, get_instances, is_forbidden};
use crate::support::{
    certificates::{Authority, Validity},
    controller::binary,
    home,
    http::assert_problem,
    limit::Limit,
    mgmtctl,
    peer::Peer,
    program::run,
    secure::{Client, Events, fingerprint, named},
    websocket::request,
};

const ROLES: &str = r#"roles = ["alice deploy", "bob deploy", "* agent"]
deny_list = "denied"
"#;

/// What one has open.
struct Open {
    broker: Peer,
    websocket: Client,
    events: Events,
}

impl Open {
    fn new(hub: &mut Hub, identity: &Identity) -> Self {
        let (http, websocket) = (hub.http(), hub.controller.websocket());
        let client = hub.client(identity);
        Self {
            websocket: client.websocket(websocket).expect("it is good"),
            events: client.events(http, ""),
            broker: hub.connect(identity.clone()),
        }
    }

    fn ends(mut self) {
        let limit = Limit::new("the end of a peering");
        while !matches!(self.broker.event(&limit), EndpointEvent::PeerLost { .. }) {}
        let closed = self.websocket.closed();
        assert!(
            closed.starts_with("1008 revoked (deny list): certificate CN=alice, SHA-256 "),
            "{closed}"
        );
        self.events.ends();
    }

    fn is_served(&mut self, hub: &Hub, identity: &Identity) {
        self.broker.publish(topics::CONTROLLER, &get_instances());
        assert!(self.broker.response().results()[0].success);
        self.websocket
            .send(&request("get_instances_request", "by-websocket", &[]));
        self.websocket.text_about("by-websocket");
        let staged = hub.client(identity).ask(
            hub.http(),
            "PUT /v1/clusters/default/configurations/staged",
            "If-None-Match: *\r\n",
            r#"{"instances": [], "nodes": []}"#,
        );
        let staged = staged.expect("an answer");
        assert!(staged.starts_with("HTTP/1.1 200 OK\r\n"), "{staged}");
        self.events.next();
    }
}

/// As OpenSSL prints it.
fn printed(identity: &Identity) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let output = openssl.arg(&identity.certificate).output().expect("openssl");
    String::from_utf8(output.stdout).expect("text")
}

fn opens_no_door(hub: &mut Hub, identity: &Identity) {
    let (http, websocket) = (hub.http(), hub.controller.websocket());
    Peer::cannot_connect(hub.controller.broker(), hub.mutual(identity.clone()));
    let client = hub.client(identity);
    client.websocket(websocket).expect_err("it is revoked");
    client
        .ask(http, "GET /v1/whoami", "", "")
        .expect_err("it is revoked");
}

#[test]
fn a_certificate_that_is_revoked_opens_no_door_and_ends_what_is_open() {
    // Connections are not to wait for it.
    mgmtctl::binary();
    let mut hub = Hub::start_with("# none\n", ROLES);
    let [alice, bob] = ["alice", "bob"].map(|name| hub.named(name, &[]));
    let mut open = Open::new(&mut hub, &bob);
    let ends = Open::new(&mut hub, &alice);
    hub.deny(&format!("# lost\n{}", printed(&alice)));
    hub.reload(ROLES);
    ends.ends();
    opens_no_door(&mut hub, &alice);
    open.is_served(&hub, &bob);
    let denied = fingerprint(&alice);
    // Another one of that name is good.
    let other = hub.named("alice", &[]);
    Open::new(&mut hub, &other);
    let shown = fingerprint(&other).to_string();

    hub.deny("# nothing\n");
    let directory = hub.controller.working_dir("controller");
    let refused = mgmtctl::ask(&directory, &["reload"]);
    refused.failed(1, "the deny list had entries, and has none any more");
    hub.deny("0011\nalice\nab:cd:ef:00:11:22:33:44:55\n");
    let refused = mgmtctl::ask(&directory, &["reload"]);
    refused.failed(1, "nothing was reloaded, what was in use stays: ");
    refused.failed(1, "denied:3: a fingerprint of SHA-256 has 64 hexadecimal digits");
    Open::new(&mut hub, &other);

    let log = hub.controller.stop().stderr;
    let refused = format!("certificate of the peer (CN=alice, SHA-256 {denied}) is revoked (deny list)");
    assert_eq!(log.matches(&refused).count(), 3, "on each port: {refused}: {log}");
    assert!(log.contains(r#""certificates_denied":6"#), "{log}");
    let audit = fs::read_to_string(directory.join("audit.log")).expect("it is there");
    let named = format!(r#""principal":{{"kind":"certificate","name":"CN=alice","fingerprint":"{shown}"}}"#);
    assert!(audit.contains(&named), "{named}: {audit}");
}

#[test]
fn a_deny_list_that_is_not_there_ends_the_start() {
    let home = home();
    for subcommand in [&["check-config"][..], &[]] {
        let settings = [
            "--zeek-prefix",
            ".",
            "--deny-list",
            "none",
            "--listen",
            "127.0.0.1:0",
        ];
        let outcome = run(binary(), home.path(), &[subcommand, &settings].concat());
        outcome.failed(1, "cannot read the deny list ");
    }
}

#[test]
fn certificates_that_are_no_good_open_no_door() {
    let mut hub = Hub::start_with("alice-lost\n", ROLES);
    let other = Authority::new("Other CA");
    let bad = [
        (
            "has expired",
            "alice",
            hub.ca.sign("alice", &[], &Validity::Expired),
        ),
        (
            "is not trusted",
            "alice",
            other.sign("alice", &[], &Validity::Now),
        ),
        (
            "is revoked (deny list)",
            "alice-lost",
            hub.named("alice-lost", &[]),
        ),
    ];
    for (_, _, identity) in &bad {
        Peer::cannot_connect(hub.controller.broker(), hub.mutual(identity.clone()));
        let outcome = hub.asks(identity, &["get-instances"]);
        assert_eq!(outcome.exit, 1, "{outcome:?}");
        let asked = hub.client(identity).ask(hub.http(), "GET /v1", "", "");
        asked.expect_err("it is no good");
    }
    // It is good, and of a name that nothing is given to.
    let wrong = hub.named("alice.example", &[]);
    let mut peer = hub.connect(wrong.clone());
    peer.publish(topics::CONTROLLER, &get_instances());
    assert!(!peer.response().results()[0].success);
    assert!(is_forbidden(
        &hub.asks(&wrong, &["get-instances"]),
        "read",
        "has agent of instance alice.example"
    ));
    let asked = hub.client(&wrong).ask(hub.http(), "GET /v1", "", "");
    assert_problem(
        &asked.expect("an answer"),
        403,
        "your certificate is an agent's (agent of instance alice.example)",
    );

    let log = hub.controller.stop().stderr;
    for (words, name, identity) in &bad {
        let words = format!("({}) {words}", named(name, identity));
        assert!(log.matches(&words).count() >= 2, "on two ports: {words}: {log}");
    }
    assert!(log.contains(r#""http_handshakes_failed":3"#), "{log}");
}
