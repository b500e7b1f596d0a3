//! Agents that vanish in the middle, or claim the name of another, and what zeek-client says of it: real controller, real connections. How
//! wrong and late answers end is in the transcripts of the controller's core.

use std::collections::BTreeMap;

use broker_codec::data::{Set, ZeekString, from_data, to_data};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClusterRole, Configuration, Dialect, Instance, Node,
    NodeStatus, ResultRecord,
};

use crate::support::{
    agent::{Manners, StandIn, Way, honest},
    controller::Controller,
    limit::Limit,
    relay::Relay,
    session::Session,
    websocket::Client,
    zeek_client::ZeekClient,
};

/// A controller, a client, and agents that connect through a relay each.
struct Scene {
    controller: Controller,
    session: Session,
    agents: BTreeMap<&'static str, (StandIn, Relay)>,
}

impl Scene {
    /// With these agents, which are connected. Requests time out after so many seconds.
    fn new(agents: Vec<(&'static str, Manners)>, timeout: u32) -> Self {
        let timeout = format!("Management::Request::timeout_interval={timeout}sec");
        let mut controller = Controller::start(&["Broker::disable_ssl=T", &timeout]);
        let mut session = Session::open(controller.websocket());
        let count = agents.len();
        let agents: BTreeMap<_, _> = agents
            .into_iter()
            .map(|(name, manners)| {
                let relay = Relay::start();
                relay.point_to(controller.broker());
                let way = Way::Connect(relay.address());
                let agent = StandIn::start_as(name, &TlsConfig::Off, way, (manners, Dialect::V7_0));
                (name, (agent, relay))
            })
            .collect();
        while session.instances().len() < count {}
        Self {
            controller,
            session,
            agents,
        }
    }

    fn agent(&self, name: &str) -> &StandIn {
        &self.agents[name].0
    }

    /// Asks, and returns the only answer.
    fn ask(&mut self, request: &ClientRequest) -> Vec<ResultRecord> {
        self.session.send(request);
        self.answer(request)
    }

    /// The only answer to a request that has been sent.
    fn answer(&mut self, request: &ClientRequest) -> Vec<ResultRecord> {
        let answer = self.session.try_answer(request).expect("the controller lives");
        assert_eq!(self.others_until_now(request), 0, "a second answer");
        answer.results().to_vec()
    }

    /// How many answers to a request have come since the last one.
    fn others_until_now(&mut self, request: &ClientRequest) -> usize {
        let reqid = ZeekString::from("until-now");
        self.session
            .send(&ClientRequest::GetInstances { reqid: reqid.clone() });
        let mut others = 0;
        let limit = Limit::new("the answer to get_instances");
        loop {
            limit.left();
            let response = self.session.response();
            if *response.reqid() == reqid {
                return others;
            }
            others += usize::from((response.kind(), response.reqid()) == (request.kind(), request.reqid()));
        }
    }

    /// Stages and deploys a configuration of these agents, each with one node of the name `NAME-node`.
    fn deploy(&mut self, names: &[&str]) -> Vec<ResultRecord> {
        let config = configuration(names);
        self.session.stage(&config);
        self.ask(&deploy_request())
    }

    /// Waits until the controller has heard all that an agent said before.
    fn heard(&mut self, name: &'static str) {
        let said = AgentMessage::Log {
            instance: name.into(),
            msg: "that is all".into(),
            node: "".into(),
        };
        let mut observer = Client::observing(self.controller.websocket());
        self.agent(name).say(&said);
        observer.text_about("that is all");
    }

    /// Ends the controller and returns its log.
    fn end(self) -> String {
        self.controller.stop().stderr
    }
}

fn configuration(names: &[&str]) -> Configuration {
    let node = |name: &&str| Node::new(format!("{name}-node"), *name, ClusterRole::Worker);
    Configuration::new(
        names.join("+"),
        names.iter().copied().map(Instance::new),
        names.iter().map(node),
    )
}

fn deploy_request() -> ClientRequest {
    ClientRequest::Deploy { reqid: "r".into() }
}

fn get_nodes_request() -> ClientRequest {
    ClientRequest::GetNodes { reqid: "r".into() }
}

/// Everything that is asked of agents.
fn requests() -> [ClientRequest; 4] {
    let (reqid, nodes) = (ZeekString::from("r"), Set::new());
    [
        deploy_request(),
        get_nodes_request(),
        ClientRequest::GetIdValue {
            reqid: reqid.clone(),
            id: "bits_per_uid".into(),
            nodes: nodes.clone(),
        },
        ClientRequest::Restart { reqid, nodes },
    ]
}

/// Answers nothing but the welcome.
fn silent() -> Manners {
    Box::new(|request, answer| match request {
        AgentRequest::AgentWelcome { .. } => vec![answer],
        _ => Vec::new(),
    })
}

/// An error without when and from where, and without what a socket said.
fn without_times(error: &str) -> &str {
    let ends = [
        " (",
        " since ",
        ": connection failed",
        ": connection closed",
        ": peer ",
    ];
    let end = ends.iter().filter_map(|end| error.find(end)).min();
    error.get(..end.unwrap_or(error.len())).unwrap_or(error)
}

/// How an answer says that an agent has not answered. Failed restarts come without their instance.
fn unanswered(name: &str, request: &ClientRequest) -> String {
    let instance = match request {
        ClientRequest::Restart { .. } => "",
        _ => name,
    };
    format!("{instance}  request timed out: instance {name} has not answered")
}

/// What of results is compared: instance, node, and the error or that there is none. Sorted, as agents answer in any order.
fn outcomes(results: &[ResultRecord]) -> Vec<String> {
    let text = |text: &Option<ZeekString>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut outcomes: Vec<_> = results
        .iter()
        .map(|result| {
            assert_eq!(result.success, result.error.is_none(), "{result:?}");
            format!(
                "{} {} {}",
                text(&result.instance),
                text(&result.node),
                without_times(&text(&result.error))
            )
        })
        .collect();
    outcomes.sort();
    outcomes
}

#[test]
fn an_agent_that_vanishes_in_the_middle_fails_its_part_at_once() {
    // With an hour until the time-out, an answer can only come because of the loss.
    let mut scene = Scene::new(vec![("brief", silent()), ("good", honest())], 3600);
    scene.session.stage(&configuration(&["brief", "good"]));
    for request in requests() {
        scene.session.send(&request);
        scene.agent("brief").asked(|asked| {
            let welcome = matches!(asked, AgentRequest::AgentWelcome { .. });
            (!welcome && !matches!(&asked, AgentRequest::Deploy { .. } if !matches!(request, ClientRequest::Deploy { .. }))).then_some(())
        });
        scene.agents["brief"].1.cut();
        let results = scene.answer(&request);
        let of_good = match request {
            ClientRequest::GetNodes { .. } => "good  ",
            _ => "good good-node ",
        };
        let instance = match request {
            ClientRequest::Restart { .. } => "",
            _ => "brief",
        };
        let lost = format!("{instance}  instance brief: connection to the agent lost");
        let outcomes: Vec<_> = outcomes(&results)
            .into_iter()
            .filter(|outcome| outcome != "  ")
            .collect();
        assert_eq!(outcomes, [lost.as_str(), of_good], "{request:?}");

        // It comes back, and is brought back. It does not answer that either, and is forgotten with it.
        scene.agents["brief"].1.point_to(scene.controller.broker());
        scene
            .agent("brief")
            .asked(|asked| matches!(asked, AgentRequest::Deploy { .. }).then_some(()));
    }
    scene.end();
}

#[test]
fn who_claims_the_name_of_a_connected_agent_is_refused_until_that_one_is_gone() {
    let mut scene = Scene::new(vec![("agent", silent())], 1);
    let way = Way::Connect(scene.controller.broker());
    let claimant = StandIn::start("agent", &TlsConfig::Off, way);
    let request = get_nodes_request();
    assert_eq!(
        outcomes(&scene.deploy(&["agent"])),
        [unanswered("agent", &request)]
    );

    // It knows what the other was asked, and answers in its place.
    scene.session.send(&request);
    let reqid = scene.agent("agent").asked(|asked| match asked {
        AgentRequest::GetNodes { reqid } => Some(reqid),
        _ => None,
    });
    let states: [NodeStatus; 0] = [];
    let forged = ResultRecord {
        instance: Some("agent".into()),
        data: Some(to_data(&states).expect("it can be encoded")),
        ..ResultRecord::success(reqid.clone())
    };
    let forged = AgentMessage::GetNodes {
        reqid,
        result: forged,
    };
    claimant.say(&forged);
    assert_eq!(outcomes(&scene.answer(&request)), [unanswered("agent", &request)]);

    // Its turn comes when the first has gone.
    scene.agents.remove("agent").expect("it is there");
    let deployed = claimant.asked(|asked| match asked {
        AgentRequest::Deploy { config, .. } => Some(config.id.clone()),
        _ => None,
    });
    assert_eq!(deployed, "agent");
    let nodes = scene.ask(&get_nodes_request());
    let states: Vec<NodeStatus> = from_data(nodes[0].data.clone().expect("data")).expect("states");
    assert_eq!(states.len(), 2, "{states:?}");

    let log = scene.end();
    assert!(
        log.contains("instance agent: refused the agent at 127.0.0.1"),
        "{log}"
    );
    assert!(log.contains("which speaks for no instance"), "{log}");
    assert!(log.contains("\"hellos_refused\":1"), "{log}");
    assert!(log.contains("\"agent_messages_refused\":1"), "{log}");
}

/// What is said of an instance that is not there, and of one that was (O2, O3, O4): by every release of zeek-client, which exits with 1.
#[test]
fn what_cannot_be_done_for_want_of_an_instance_is_an_error_that_zeek_client_prints() {
    let mut scene = Scene::new(vec![("good", honest()), ("gone", honest())], 2);
    scene.deploy(&["good", "gone"]);
    scene.agents["gone"].1.cut();
    while scene.session.instances().len() > 1 {}
    scene.session.stage(&configuration(&["good", "absent"]));
    let gone = "instance gone is not connected (since ";
    let absent = "not deployed: instance absent is not connected (never seen); the deployed configuration is unchanged";
    for version in ["1.2.0", "1.3.1", "1.4.0", "1.5.0"] {
        for (command, error) in [
            (vec!["get-nodes"], gone),
            (vec!["restart"], gone),
            (vec!["restart", "gone-node"], gone),
            (vec!["get-id-value", "x", "gone-node"], gone),
            (vec!["deploy"], absent),
        ] {
            let outcome = ZeekClient::release(version).run(scene.controller.websocket(), &command, None);
            assert_eq!(
                outcome.exit, 1,
                "zeek-client {version} {command:?}: {}",
                outcome.stdout
            );
            assert!(
                outcome.stdout.contains(error),
                "zeek-client {version} {command:?}: {}",
                outcome.stdout
            );
            assert_eq!(outcome.stderr, "", "zeek-client {version} {command:?}");
        }
    }
    // The agent that was there all the time was neither stood down nor given anything.
    let asked = scene.agent("good").asked(|asked| match asked {
        AgentRequest::GetNodes { .. } => Some(None),
        AgentRequest::AgentStandby { .. } => Some(Some("stood down")),
        _ => None,
    });
    assert_eq!(asked, None);
    scene.end();
}

#[test]
fn what_is_answered_twice_is_passed_on_once() {
    let stutter: Manners = Box::new(|_, answer| vec![answer.clone(), answer]);
    let mut scene = Scene::new(vec![("good", honest()), ("stutter", stutter)], 10);
    scene.session.stage(&configuration(&["good", "stutter"]));
    for request in requests() {
        let results = scene.ask(&request);
        let of_stutter = results
            .iter()
            .filter(|result| result.instance == Some("stutter".into()));
        assert_eq!(of_stutter.count(), 1, "{results:?}");
        scene.heard("stutter");
        assert_eq!(scene.others_until_now(&request), 0);
    }
    let log = scene.end();
    // The welcome, too.
    assert!(log.contains("\"answers_ignored\":5"), "{log}");
}
