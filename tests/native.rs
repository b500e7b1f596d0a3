//! Requests over the native port, as old clients and scripts send them, are served like those over WebSocket.

use std::collections::BTreeMap;

use broker_codec::data::{Port, Set, ZeekString};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{
    ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node, RequestKind, ResultRecord,
    topics,
};

use crate::support::{
    agent::{StandIn, Way},
    controller::Controller,
    limit::Limit,
    peer::{Peer, data_of},
    session::Session,
    websocket::Client,
};

const AGENT: &str = "agent-1";

/// A client of either kind.
struct Clients {
    native: Peer,
    websocket: Session,
    /// Which kinds have been asked for, and how often the answer was a success.
    asked: BTreeMap<RequestKind, [usize; 2]>,
}

impl Clients {
    /// Asks natively, then over WebSocket; the answers must be the same but for ids of requests.
    fn ask(&mut self, request: impl Fn(ZeekString) -> ClientRequest) -> ClientResponse {
        let asked = request("native".into());
        self.native.publish(topics::CONTROLLER, &data_of(&asked));
        let limit = Limit::new("the native answer");
        let native = loop {
            limit.left();
            let response = self.native.response();
            if *response.reqid() == "native" {
                break response;
            }
        };
        let websocket = self.websocket.ask(&request("websocket".into()));
        let without_ids = |response: &ClientResponse| {
            let results = response.results().iter().map(|result| ResultRecord {
                reqid: ZeekString::default(),
                ..result.clone()
            });
            ClientResponse::new(response.kind(), ZeekString::default(), results.collect())
        };
        assert_eq!(without_ids(&native), without_ids(&websocket));
        assert_eq!(native.kind(), asked.kind());
        let success = native.results().iter().all(|result| result.success);
        self.asked.entry(native.kind()).or_default()[usize::from(success)] += 1;
        native
    }

    /// One of each kind.
    fn ask_everything(&mut self, config: &Configuration) {
        self.ask(|reqid| ClientRequest::GetInstances { reqid });
        self.ask(|reqid| ClientRequest::StageConfiguration {
            reqid,
            config: config.clone(),
        });
        self.ask(|reqid| ClientRequest::Deploy { reqid });
        for deployed in [false, true] {
            self.ask(|reqid| ClientRequest::GetConfiguration { reqid, deployed });
        }
        self.ask(|reqid| ClientRequest::GetNodes { reqid });
        for nodes in [Set::new(), Set::from(["nobody".into(), "worker".into()])] {
            self.ask(|reqid| ClientRequest::GetIdValue {
                reqid,
                id: "bits_per_uid".into(),
                nodes: nodes.clone(),
            });
            self.ask(|reqid| ClientRequest::Restart {
                reqid,
                nodes: nodes.clone(),
            });
        }
        self.ask(|reqid| ClientRequest::TestTimeout {
            reqid,
            with_state: true,
        });
    }
}

fn configuration(port: Port) -> Configuration {
    let node = Node {
        p: Some(port),
        scripts: Some(vec!["a.zeek".into()]),
        interface: Some("lo".into()),
        cpu_affinity: Some(1),
        env: [("A".into(), "b".into())].into(),
        ..Node::new("worker", AGENT, ClusterRole::Worker)
    };
    Configuration::new("c1", [Instance::new(AGENT)], [node])
}

#[test]
fn every_request_over_the_native_port_is_answered_as_over_websocket() {
    let mut controller = Controller::start(&["Management::Request::timeout_interval=1sec"]);
    let mut clients = Clients {
        native: Peer::client_of(&controller),
        websocket: Session::open(controller.websocket()),
        asked: BTreeMap::new(),
    };

    // Everything fails, but for the list of no instances.
    clients.ask_everything(&configuration(Port::tcp(controller.broker().port())));
    for (kind, [failures, successes]) in std::mem::take(&mut clients.asked) {
        assert_eq!(successes > 0, kind == RequestKind::GetInstances, "{kind:?}");
        assert_eq!(failures == 0, kind == RequestKind::GetInstances, "{kind:?}");
    }

    // Everything works, but for what is asked of unknown nodes, and the time-out.
    let _agent = StandIn::known_to(&mut controller, AGENT, &TlsConfig::Anonymous);
    clients.ask_everything(&configuration(Port::tcp(5000)));
    assert_eq!(clients.asked.len(), RequestKind::ALL.len());
    for (kind, [failures, successes]) in clients.asked {
        use RequestKind::{GetIdValue, Restart, TestTimeout};
        assert_eq!(successes > 0, kind != TestTimeout, "{kind:?}");
        assert_eq!(
            failures > 0,
            [GetIdValue, Restart, TestTimeout].contains(&kind),
            "{kind:?}"
        );
    }
    let stderr = controller.stop().stderr;
    assert!(!stderr.contains("ERROR"), "{stderr}");
}

/// Old clients take the first message on the topic for the answer to their request, whatever it is.
#[test]
fn a_native_client_hears_nothing_but_answers() {
    let mut controller = Controller::start::<&str>(&[]);
    let mut native = Peer::client_of(&controller);
    let mut websocket = Session::open(controller.websocket());
    let way = Way::Connect(controller.broker());
    let agent = StandIn::start(AGENT, &TlsConfig::Anonymous, way);
    let mut asked = 1;
    while websocket.instances().is_empty() {
        asked += 1;
    }
    for _ in 0..asked {
        let answer = native.response();
        assert_eq!(
            *answer.reqid(),
            "get-instances",
            "what the other client asked for"
        );
    }
    let news = mgmt_api::AgentMessage::Error {
        instance: AGENT.into(),
        msg: "something is wrong".into(),
        node: "".into(),
    };
    let mut observer = Client::observing(controller.websocket());
    agent.say(&news);
    observer.text_about("notify_error");
    let request = ClientRequest::TestTimeout {
        reqid: "never".into(),
        with_state: false,
    };
    native.publish(topics::CONTROLLER, &data_of(&request));
    let request = ClientRequest::GetNodes {
        reqid: "nodes".into(),
    };
    native.publish(topics::CONTROLLER, &data_of(&request));
    assert_eq!(*native.response().reqid(), "nodes", "and nothing before it");
    controller.stop();
}
