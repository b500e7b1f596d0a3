//! Who may what by a certificate, on each port, with the real programs: zeek-client by each role; who is an agent; and certificates that are no good.
//! [`table`] has every request over HTTP, and [`zeeks_api`] those over WebSocket and Broker.

mod revoked;
mod table;
mod zeeks_api;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use broker_codec::Data;
use broker_endpoint::tls::{Identity, TlsConfig};
use mgmt_api::{AgentMessage, AgentRequest, ClientRequest, topics};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    certificates::{Authority, Validity, native_settings},
    cluster::{agent_command, start_agent},
    controller::Controller,
    home,
    limit::Limit,
    peer::{Peer, data_of},
    program::Outcome,
    secure::Protected,
    zeek_client::ZeekClient,
};

/// Who may what.
const ROLES: &str = r#"roles = ["alice deploy", "*.noc.example read", "bob admin lab", "* agent", "hub deploy", "host-7 agent sensor7"]"#;

/// What zeek-client asks, and whether it takes more than to read.
const COMMANDS: [(&[&str], bool); 2] = [(&["get-instances"], false), (&["stage-config", "-"], true)];

/// A controller that asks for certificates on all ports.
struct Hub {
    home: Arc<TempDir>,
    ca: Authority,
    ca_file: PathBuf,
    controller: Controller,
}

impl Hub {
    fn start(roles: &str) -> Self {
        Self::start_with("", roles)
    }

    /// With a deny list that is in a file `denied`.
    fn start_with(denied: &str, roles: &str) -> Self {
        let (home, ca) = (home(), Authority::new("Cluster CA"));
        fs::write(home.path().join("denied"), denied).expect("it can be written");
        let own = ca.sign("hub", &["127.0.0.1"], &Validity::Now);
        fs::write(home.path().join("hub.toml"), roles).expect("it can be written");
        let mut arguments = native_settings(&ca, &own);
        arguments.push("--config=hub.toml".to_owned());
        arguments.push("--http-listen=127.0.0.1:0".to_owned());
        arguments.extend([
            format!("--http-certificate={}", own.certificate.display()),
            format!("--http-key={}", own.key.display()),
            format!("--http-client-ca={}", ca.path("ca.pem").display()),
        ]);
        arguments.push(format!(
            "Management::Controller::tls_options_websocket=Cluster::WebSocketTLSOptions($cert_file=\"{}\", $key_file=\"{}\", \
             $enable_peer_verification=T, $ca_file=\"{}\")",
            own.certificate.display(),
            own.key.display(),
            ca.path("ca.pem").display()
        ));
        let controller = Controller::start_in(&home, &arguments);
        Self {
            home,
            ca_file: ca.path("ca.pem"),
            ca,
            controller,
        }
    }

    fn named(&self, name: &str, alternatives: &[&str]) -> Identity {
        self.ca.sign(name, alternatives, &Validity::Now)
    }

    fn asks(&mut self, identity: &Identity, command: &[&str]) -> Outcome {
        let settings = [
            "ssl.enable=True".to_owned(),
            format!("ssl.cafile={}", self.ca.path("ca.pem").display()),
            format!("ssl.certificate={}", identity.certificate.display()),
            format!("ssl.keyfile={}", identity.key.display()),
            "client.peering_attempts=3".to_owned(),
        ];
        let settings = settings
            .into_iter()
            .flat_map(|setting| ["--set".to_owned(), setting]);
        let arguments: Vec<String> = settings
            .chain(command.iter().map(|&word| word.to_owned()))
            .collect();
        let stdin = command.contains(&"-").then_some("[instances]\n");
        ZeekClient::latest().run(self.controller.websocket(), &arguments, stdin)
    }

    fn http(&self) -> SocketAddr {
        self.controller.daemon.listens("http")
    }

    /// A client of the HTTP and WebSocket ports.
    fn client<'a>(&'a self, identity: &'a Identity) -> Protected<'a> {
        Protected {
            ca: &self.ca_file,
            identity: Some(identity),
        }
    }

    /// Changes the deny list.
    fn deny(&self, denied: &str) {
        fs::write(self.home.path().join("denied"), denied).expect("it can be written");
    }

    fn mutual(&self, identity: Identity) -> TlsConfig {
        TlsConfig::Mutual {
            identity,
            trust: self.ca.trust(),
        }
    }

    fn connect(&self, identity: Identity) -> Peer {
        Peer::connect(
            self.controller.broker(),
            self.mutual(identity),
            topics::CONTROLLER,
        )
    }

    fn settings(&self, roles: &str) {
        fs::write(self.home.path().join("hub.toml"), roles).expect("it can be written");
    }

    fn reload(&self, roles: &str) {
        self.settings(roles);
        let directory = self.controller.working_dir("controller");
        crate::support::mgmtctl::ask(&directory, &["reload"]).printed();
    }
}

fn is_forbidden(outcome: &Outcome, role: &str, has: &str) -> bool {
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let words = format!("this takes the role {role} in cluster default");
    outcome.exit != 0 && said.contains(&words) && said.contains(has)
}

#[test]
fn zeek_client_may_what_its_certificate_says() {
    let mut hub = Hub::start(ROLES);
    for (name, alternatives, reads, deploys, has) in [
        ("alice", &[][..], true, true, ""),
        ("any", &["a.noc.example"], true, false, "has read in all clusters"),
        ("bob", &[], false, false, "has admin in cluster lab"),
        ("mallory", &[], false, false, "has agent of instance mallory"),
    ] {
        let identity = hub.named(name, alternatives);
        for (command, changes) in COMMANDS {
            let outcome = hub.asks(&identity, command);
            let (role, may) = if changes {
                ("deploy", deploys)
            } else {
                ("read", reads)
            };
            assert_eq!(
                is_forbidden(&outcome, role, has),
                !may,
                "{name} {command:?}: {outcome:?}"
            );
        }
    }
    let audit = hub.controller.working_dir("controller").join("audit.log");
    let log = hub.controller.stop().stderr;
    assert!(log.contains("(certificate CN=mallory)"), "{log}");
    let audit = fs::read_to_string(audit).expect("it is there");
    let lines: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |who: &str, outcome: &str| {
        let name = format!("CN={who}");
        let of = |line: &&Value| line["principal"]["name"] == *name && line["outcome"] == outcome;
        lines.iter().filter(of).count()
    };
    assert_eq!([of("alice", "refused"), of("any", "refused")], [0, 1], "{audit}");
    assert_eq!(
        [of("bob", "refused"), of("mallory", "refused")],
        [2, 2],
        "{audit}"
    );
    let staged = lines.iter().find(|line| line["request"] == "stage_configuration");
    let staged = staged.expect("alice has staged");
    assert_eq!(
        [&staged["transport"], &staged["outcome"]],
        ["websocket", "done"],
        "{staged}"
    );
    assert!(
        staged["after"].is_string() && staged["before"].is_null(),
        "{staged}"
    );
}

fn get_instances() -> Data {
    data_of(&ClientRequest::GetInstances { reqid: "r".into() })
}

#[test]
fn a_native_client_may_what_its_certificate_says_and_hears_no_more() {
    let hub = Hub::start(ROLES);
    let mut reader = hub.connect(hub.named("any", &["b.noc.example"]));
    let mut agent = hub.connect(hub.named("sensor1", &[]));
    agent.publish(topics::CONTROLLER, &get_instances());
    let refused = agent.response();
    let error = refused.results()[0].error.as_ref().map(ToString::to_string);
    let error = error.expect("it is refused");
    assert!(
        error.contains("this takes the role read in cluster default") && error.contains("CN=sensor1"),
        "{error}"
    );
    // What the reader asks the reader alone hears, and not what was refused to another one.
    reader.publish(topics::CONTROLLER, &get_instances());
    assert!(reader.response().results()[0].success);
    agent.publish(
        topics::CONTROLLER,
        &data_of(&ClientRequest::Deploy { reqid: "s".into() }),
    );
    let next = agent.response();
    assert_eq!(*next.reqid(), "s", "not the answer to the reader");
    hub.controller.stop();
}

#[test]
fn an_agent_is_who_its_certificate_names() {
    let mut hub = Hub::start(ROLES);
    let hello = |peer: &Peer, instance: &str| {
        let hello = AgentMessage::Hello {
            instance: instance.into(),
            id: peer.endpoint.id().to_string().into(),
            connecting: true,
            api_version: 1,
        };
        peer.publish(format!("zeek/management/agent/{instance}"), &data_of(&hello));
    };
    let [named, other, listed] =
        ["sensor1", "sensor2", "host-7"].map(|name| hub.connect(hub.named(name, &[])));
    hello(&other, "sensor1");
    hello(&named, "sensor1");
    hello(&listed, "sensor7");
    let reader = hub.named("any", &["c.noc.example"]);
    let instances = Limit::new("two instances").poll(|| {
        let shown = hub.asks(&reader, &["get-instances"]).stdout;
        (shown.contains("sensor1") && shown.contains("sensor7")).then_some(shown)
    });
    assert!(!instances.contains("sensor2"), "{instances}");
    drop((named, other, listed));
    let log = hub.controller.stop().stderr;
    assert!(
        log.contains("it may not be this instance's agent: it has agent of instance sensor2"),
        "{log}"
    );
}

#[test]
fn roles_that_change_count_at_once() {
    let mut hub = Hub::start(ROLES);
    let alice = hub.named("alice", &[]);
    assert_eq!(hub.asks(&alice, &["get-instances"]).exit, 0);
    let mut peer = hub.connect(hub.named("alice", &[]));
    hub.reload(r#"roles = ["bob read"]"#);
    assert!(is_forbidden(
        &hub.asks(&alice, &["get-instances"]),
        "read",
        "has no role"
    ));
    let limit = Limit::new("the end of a connection");
    while !matches!(
        peer.event(&limit),
        broker_endpoint::EndpointEvent::PeerLost { .. }
    ) {}
    // As an editor leaves a file for a moment.
    hub.settings("");
    let directory = hub.controller.working_dir("controller");
    crate::support::mgmtctl::ask(&directory, &["reload"]).failed(1, "roles was set, and is not any more");
    assert!(is_forbidden(
        &hub.asks(&alice, &["get-instances"]),
        "read",
        "has no role"
    ));
    hub.reload(ROLES);
    assert_eq!(hub.asks(&alice, &["get-instances"]).exit, 0);
    hub.controller.stop();
}

#[test]
fn one_without_a_certificate_may_what_is_given_to_it() {
    let start = |role: &str| Controller::start(&[format!("--roles={role}")]);
    let asks = |controller: &mut Controller, command: &[&str]| {
        ZeekClient::latest().run(controller.websocket(), command, None)
    };
    let mut controller = start("without-certificate read");
    assert_eq!(asks(&mut controller, &["get-instances"]).exit, 0);
    let outcome = asks(&mut controller, &["deploy"]);
    assert!(
        is_forbidden(&outcome, "deploy", "(without a certificate) has read"),
        "{outcome:?}"
    );
    controller.stop();

    let mut controller = start("* admin");
    let outcome = asks(&mut controller, &["get-instances"]);
    assert!(is_forbidden(&outcome, "read", "has no role"), "{outcome:?}");
    let mut peer = Peer::client_of(&controller);
    peer.publish(topics::CONTROLLER, &get_instances());
    assert!(!peer.response().results()[0].success);
    let log = controller.stop().stderr;
    assert!(
        log.contains("roles gives nothing to without-certificate"),
        "{log}"
    );
}

#[test]
fn an_agent_takes_orders_of_its_controller_alone() {
    let ca = Authority::new("Cluster CA");
    let named = |name: &str| ca.sign(name, &[], &Validity::Now);
    let home = TempDir::with_prefix("doors-").expect("a directory can be made");
    let mut command = agent_command(&home, "sensor1", "127.0.0.1:0");
    command.args(["--simulate", "--controller", "off", "--roles", "hub deploy"]);
    command.args(native_settings(&ca, &named("sensor1")));
    let agent = start_agent(&home, &mut command);
    let answer = |name: &str| {
        let tls = TlsConfig::Mutual {
            identity: named(name),
            trust: ca.trust(),
        };
        let topic = "zeek/management/agent/sensor1";
        let mut peer = Peer::connect(agent.broker(), tls, topic);
        peer.publish(topic, &data_of(&AgentRequest::GetNodes { reqid: "r".into() }));
        peer.hear(&Limit::new("an answer of the agent"), |event| {
            match event.parse() {
                Ok(AgentMessage::GetNodes { result, .. }) => Some(result),
                _ => None,
            }
        })
    };
    assert!(answer("hub").data.is_some());
    for name in ["sensor2", "operator"] {
        let refused = answer(name);
        let error = refused
            .error
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(!refused.success && refused.data.is_none(), "{refused:?}");
        let words = format!("(certificate CN={name}) has no role");
        assert!(
            error.contains("this takes the role deploy in all clusters") && error.contains(&words),
            "{error}"
        );
    }
    agent.stop();
}
