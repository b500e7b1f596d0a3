//! A port 0, as a client that writes JSON by itself can give one to a node, and the real zeek-client, whose own class for ports knows
//! no such number and fails at the whole message.

use broker_codec::data::{Port, Protocol};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{ClusterRole, Configuration, Instance, Node};

use crate::support::{agent::StandIn, controller::Controller, websocket::Client, zeek_client::ZeekClient};

const AGENT: &str = "agent-1";

fn configuration(listen_port: Option<Port>) -> Configuration {
    let no_port = |protocol| Port { number: 0, protocol };
    let node = |name: &str, p, metrics_port| Node {
        p: Some(p),
        metrics_port: Some(metrics_port),
        ..Node::new(name, AGENT, ClusterRole::Worker)
    };
    // The last can be read, though it is strange.
    let unknown = Port {
        number: 80,
        protocol: Protocol::Unknown,
    };
    let instance = Instance {
        listen_port,
        ..Instance::new(AGENT)
    };
    let nodes = [
        node("a", no_port(Protocol::Tcp), no_port(Protocol::Unknown)),
        node("b", unknown, Port::tcp(9000)),
    ];
    Configuration::new("c1", [instance], nodes)
}

#[test]
fn every_zeek_client_can_read_a_cluster_in_which_a_port_is_0() {
    let mut controller = Controller::start(&["Broker::disable_ssl=T"]);
    let (_agent, mut session) = StandIn::known_to(&mut controller, AGENT, &TlsConfig::Off);
    // Requests of others are copied to it.
    let mut other = Client::subscribed(controller.websocket());
    let mut run = |release: &str, arguments: &[&str]| {
        let outcome = ZeekClient::release(release).run(controller.websocket(), arguments, None);
        assert_eq!(
            outcome.exit, 0,
            "zeek-client {release} {arguments:?}: {outcome:?}"
        );
        outcome.stdout
    };
    for release in ["1.2.0", "1.3.1", "1.4.0", "1.5.0"] {
        let mut config = configuration(Some(Port::tcp(0)));
        config.nodes = [].into();
        session.stage(&config);
        let config = run(release, &["get-config"]);
        assert!(config.contains(&format!("[instances]\n{AGENT}\n")), "{config}");

        session.stage(&configuration(None));
        for _ in 0..2 {
            let copy = other.text_about("stage_configuration_request");
            assert!(!copy.contains("\"0/"), "{copy}");
        }
        let config = run(release, &["get-config"]);
        assert_eq!(config.matches("\nport = ").count(), 1, "{config}");
        assert!(config.contains("\nport = 80\n"), "{config}");
        run(release, &["deploy"]);
        run(release, &["get-config", "--deployed"]);
        let nodes = run(release, &["get-nodes"]);
        assert_eq!(nodes.matches("\"port\": ").count(), 1, "{nodes}");
        run(release, &["restart"]);
    }
    controller.stop();
}
