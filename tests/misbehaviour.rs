//! Agents that never answer, answer wrongly, twice or too late, vanish in the middle, or claim the name of another: real controller,
//! real connections. Each request has exactly one answer, with the right words, and no client gets another agent's data.

use std::collections::BTreeMap;

use broker_codec::{
    Data,
    data::{Address, Set, ZeekString, from_data, to_data},
};
use broker_endpoint::tls::TlsConfig;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node,
    NodeStatus, ResultRecord,
};
use tokio::runtime::Runtime;

use crate::support::{
    agent::{Manners, StandIn, Way},
    controller::Controller,
    limit::Limit,
    relay::Relay,
    session::{Session, stage_request},
    websocket::Client,
    zeek_client::ZeekClient,
};

/// A controller, a client, and agents that connect through a relay each.
struct Scene {
    runtime: Runtime,
    controller: Controller,
    session: Session,
    agents: BTreeMap<&'static str, (StandIn, Relay)>,
}

impl Scene {
    /// With these agents, which are connected. Requests time out after so many seconds.
    fn new(agents: Vec<(&'static str, Manners)>, timeout: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be started");
        let timeout = format!("Management::Request::timeout_interval={timeout}sec");
        let mut controller = Controller::start(&["--name", "controller", "Broker::disable_ssl=T", &timeout]);
        let mut session = Session::open(controller.websocket());
        let count = agents.len();
        let agents: BTreeMap<_, _> = agents
            .into_iter()
            .map(|(name, manners)| {
                let relay = Relay::start(&runtime);
                relay.point_to(controller.broker());
                let way = Way::Connect(relay.address());
                let agent = StandIn::start_with(&runtime, name, &TlsConfig::Off, way, manners);
                (name, (agent, relay))
            })
            .collect();
        while session.instances().len() < count {}
        Self {
            runtime,
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
        self.agent(name).say(&self.runtime, &said);
        observer.text_about("that is all");
    }

    /// Ends the controller and returns its log.
    fn end(self) -> String {
        self.controller.stop().stderr
    }
}

fn configuration(names: &[&str]) -> Configuration {
    let instance = |name: &&str| Instance {
        name: (*name).into(),
        host: Address::UNSPECIFIED_V4,
        listen_port: None,
    };
    let node = |name: &&str| Node::new(format!("{name}-node"), *name, ClusterRole::Worker);
    Configuration {
        id: names.join("+").into(),
        instances: names.iter().map(instance).collect(),
        nodes: names.iter().map(node).collect(),
    }
}

fn deploy_request() -> ClientRequest {
    ClientRequest::Deploy { reqid: "r".into() }
}

fn get_nodes_request() -> ClientRequest {
    ClientRequest::GetNodes { reqid: "r".into() }
}

fn get_id_value_request() -> ClientRequest {
    ClientRequest::GetIdValue {
        reqid: "r".into(),
        id: "bits_per_uid".into(),
        nodes: Set::new(),
    }
}

fn restart_request() -> ClientRequest {
    ClientRequest::Restart {
        reqid: "r".into(),
        nodes: Set::new(),
    }
}

/// Everything that is asked of agents.
fn requests() -> [ClientRequest; 4] {
    [
        deploy_request(),
        get_nodes_request(),
        get_id_value_request(),
        restart_request(),
    ]
}

fn honest() -> Manners {
    Box::new(|_, answer| vec![answer])
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
fn an_agent_that_never_answers_costs_its_part_of_the_answer_and_a_time_out() {
    let mut scene = Scene::new(vec![("good", honest()), ("quiet", silent())], 1);
    assert_eq!(
        outcomes(&scene.deploy(&["good", "quiet"])),
        ["good good-node ", &unanswered("quiet", &deploy_request())]
    );
    let deployed = scene.session.configuration(true).map(|config| config.id);
    assert_eq!(
        deployed,
        Some("good+quiet".into()),
        "what was given to agents counts (Q-14)"
    );
    for request in requests() {
        let node = if matches!(request, ClientRequest::GetNodes { .. }) {
            ""
        } else {
            "good-node"
        };
        let mut expected = [unanswered("quiet", &request), format!("good {node} ")];
        expected.sort();
        assert_eq!(outcomes(&scene.ask(&request)), expected, "{request:?}");
    }
    scene.end();
}

#[test]
fn an_agent_that_does_not_even_answer_the_welcome_makes_a_deployment_time_out() {
    let mute: Manners = Box::new(|_, _| Vec::new());
    let mut scene = Scene::new(vec![("mute", mute)], 1);
    assert_eq!(
        outcomes(&scene.deploy(&["mute"])),
        ["mute  not deployed: instance mute does not answer"]
    );
    assert_eq!(
        scene.session.configuration(true),
        None,
        "nothing was given to agents"
    );
    assert_eq!(
        outcomes(&scene.ask(&restart_request())),
        ["  no active cluster deployment"]
    );
    let log = scene.end();
    assert!(!log.contains("\"welcomes_repeated\":0"), "{log}");
}

/// An agent that says this instead of an answer to requests of clients.
fn saying(what: impl Fn(&AgentRequest, AgentMessage) -> AgentMessage + Send + 'static) -> Manners {
    Box::new(move |request, answer| match request {
        AgentRequest::AgentWelcome { .. } | AgentRequest::AgentStandby { .. } => vec![answer],
        _ => vec![what(request, answer)],
    })
}

fn with_result(answer: AgentMessage, change: impl Fn(ResultRecord) -> ResultRecord) -> AgentMessage {
    let all = |results: Vec<ResultRecord>| results.into_iter().map(&change).collect();
    match answer {
        AgentMessage::Deploy { reqid, results } => AgentMessage::Deploy {
            reqid,
            results: all(results),
        },
        AgentMessage::GetNodes { reqid, result } => AgentMessage::GetNodes {
            reqid,
            result: change(result),
        },
        AgentMessage::NodeDispatch { reqid, results } => AgentMessage::NodeDispatch {
            reqid,
            results: all(results),
        },
        AgentMessage::Restart { reqid, results } => AgentMessage::Restart {
            reqid,
            results: all(results),
        },
        other => other,
    }
}

#[test]
fn an_answer_in_the_name_of_another_is_said_to_be_one() {
    let liar = saying(|_, answer| {
        with_result(answer, |result| ResultRecord {
            instance: Some("good".into()),
            ..result
        })
    });
    let mut scene = Scene::new(vec![("good", honest()), ("liar", liar)], 10);
    scene.session.stage(&configuration(&["good", "liar"]));
    for request in requests() {
        let [good, liar] = if matches!(request, ClientRequest::GetNodes { .. }) {
            ["good  ", "liar  instance liar: agent answered for instance good"]
        } else if matches!(request, ClientRequest::Restart { .. }) {
            [" liar-node agent answered for instance good", "good good-node "]
        } else {
            [
                "good good-node ",
                "liar liar-node agent answered for instance good",
            ]
        };
        let results = scene.ask(&request);
        let outcomes: Vec<_> = outcomes(&results)
            .into_iter()
            .filter(|outcome| outcome != "  ")
            .collect();
        assert_eq!(outcomes, [good, liar], "{request:?}");
        assert!(
            results
                .iter()
                .all(|result| result.instance != Some("liar".into()) || result.data.is_none()),
            "no client sees its data: {results:?}"
        );
    }
    scene.end();
}

#[test]
fn an_answer_without_its_data_or_with_other_data_is_said_to_be_one() {
    let odd = saying(|_, answer| {
        with_result(answer, |result| ResultRecord {
            data: Some(Data::Count(1)),
            ..result
        })
    });
    let empty = saying(|_, answer| with_result(answer, |result| ResultRecord { data: None, ..result }));
    let mut scene = Scene::new(vec![("empty", empty), ("odd", odd)], 10);
    scene.session.stage(&configuration(&["empty", "odd"]));
    let unreadable = |what| format!("agent answered with data that cannot be read: {what}");
    let deployed = scene.ask(&deploy_request());
    let (id, deployed) = deployed.split_last().expect("results");
    assert_eq!(id.data, Some(Data::String("empty+odd".into())));
    assert_eq!(
        outcomes(deployed),
        [
            "empty empty-node ".to_owned(),
            format!("odd odd-node {}", unreadable("expected vector, found count")),
        ]
    );
    assert_eq!(
        outcomes(&scene.ask(&get_nodes_request())),
        [
            "empty  instance empty: agent answered without node states".to_owned(),
            format!(
                "odd  instance odd: {}",
                unreadable("expected vector, found count")
            ),
        ]
    );
    assert_eq!(
        outcomes(&scene.ask(&get_id_value_request())),
        [
            "empty empty-node ".to_owned(),
            format!("odd odd-node {}", unreadable("expected string, found count")),
        ]
    );
    scene.end();
}

#[test]
fn answers_of_another_kind_or_to_no_request_answer_nothing() {
    let confused = saying(|request, answer| {
        let reqid = answer.reqid().expect("an answer").clone();
        let result = ResultRecord {
            instance: Some("confused".into()),
            ..ResultRecord::success(reqid.clone())
        };
        match request {
            AgentRequest::GetNodes { .. } => AgentMessage::Restart {
                reqid,
                results: vec![result],
            },
            AgentRequest::Restart { .. } => AgentMessage::GetNodes { reqid, result },
            AgentRequest::NodeDispatch { .. } => AgentMessage::NodeDispatch {
                reqid: "not-asked".into(),
                results: vec![result],
            },
            _ => answer,
        }
    });
    let mut scene = Scene::new(vec![("confused", confused)], 1);
    scene.deploy(&["confused"]);
    for request in [get_nodes_request(), get_id_value_request(), restart_request()] {
        assert_eq!(
            outcomes(&scene.ask(&request)),
            [unanswered("confused", &request)],
            "{request:?}"
        );
    }
    let log = scene.end();
    assert!(log.contains("\"answers_ignored\":3"), "{log}");
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

#[test]
fn an_answer_that_comes_after_the_time_out_comes_to_nothing() {
    let mut scene = Scene::new(vec![("late", silent())], 1);
    let request = get_nodes_request();
    assert_eq!(outcomes(&scene.deploy(&["late"])), [unanswered("late", &request)]);
    assert_eq!(outcomes(&scene.ask(&request)), [unanswered("late", &request)]);
    let reqid = scene.agent("late").asked(|asked| match asked {
        AgentRequest::GetNodes { reqid } => Some(reqid),
        _ => None,
    });
    let states: [NodeStatus; 0] = [];
    let result = ResultRecord {
        instance: Some("late".into()),
        data: Some(to_data(&states).expect("it can be encoded")),
        ..ResultRecord::success(reqid.clone())
    };
    let answer = AgentMessage::GetNodes { reqid, result };
    scene.agent("late").say(&scene.runtime, &answer);
    scene.heard("late");
    assert_eq!(scene.others_until_now(&request), 0);
    let log = scene.end();
    assert!(log.contains("\"answers_ignored\":1"), "{log}");
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
    let claimant = StandIn::start_with(&scene.runtime, "agent", &TlsConfig::Off, way, honest());
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
    claimant.say(&scene.runtime, &forged);
    assert_eq!(outcomes(&scene.answer(&request)), [unanswered("agent", &request)]);

    // Its turn comes when the first has gone.
    let (first, _) = scene.agents.remove("agent").expect("it is there");
    first.kill(&scene.runtime);
    let deployed = claimant.asked(|asked| match asked {
        AgentRequest::Deploy { config, .. } => Some(config.id),
        _ => None,
    });
    assert_eq!(deployed, "agent");
    let nodes = scene.ask(&get_nodes_request());
    let states: Vec<NodeStatus> = from_data(nodes[0].data.as_ref().expect("data")).expect("states");
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

/// The name of one begins that of the other, and so do their topics (Q-20).
#[test]
fn two_agents_whose_names_begin_alike_do_not_disturb_each_other() {
    let mut scene = Scene::new(vec![("host1", honest()), ("host10", honest())], 10);
    let both = scene.deploy(&["host1", "host10"]);
    assert_eq!(
        outcomes(&both),
        ["  ", "host1 host1-node ", "host10 host10-node "]
    );
    let nodes = scene.ask(&get_nodes_request());
    for result in &nodes {
        let states: Vec<NodeStatus> = from_data(result.data.as_ref().expect("data")).expect("states");
        let name = result.instance.clone().expect("an instance");
        let names: Vec<_> = states.into_iter().map(|status| status.node).collect();
        assert_eq!(names, [name.clone(), format!("{name}-node").into()]);
    }
    let restart = ClientRequest::Restart {
        reqid: "r".into(),
        nodes: ["host10-node".into()].into(),
    };
    assert_eq!(outcomes(&scene.ask(&restart)), ["host10 host10-node "]);

    // The one with the shorter name stays when the other is dropped, and the reverse.
    assert_eq!(outcomes(&scene.deploy(&["host1"])), ["  ", "host1 host1-node "]);
    assert_eq!(
        outcomes(&scene.deploy(&["host10"])),
        ["  ", "host10 host10-node "]
    );
    let asked_of = |name: &str| {
        let mut asked = Vec::new();
        let limit = Limit::new(format_args!("the last request to {name}"));
        loop {
            limit.left();
            let request = scene.agent(name).asked(Some);
            asked.push(match &request {
                AgentRequest::Deploy { config, .. } => format!("deploy {}", config.id),
                AgentRequest::Restart { .. } => "restart".to_owned(),
                AgentRequest::AgentWelcome { .. } => "welcome".to_owned(),
                AgentRequest::AgentStandby { .. } => "standby".to_owned(),
                AgentRequest::GetNodes { .. } => "nodes".to_owned(),
                AgentRequest::NodeDispatch { .. } => "dispatch".to_owned(),
            });
            let last = if name == "host1" {
                "standby"
            } else {
                "deploy host10"
            };
            if asked.last().is_some_and(|asked| asked == last) {
                return asked.join(", ");
            }
        }
    };
    assert_eq!(
        asked_of("host1"),
        "welcome, deploy host1+host10, nodes, restart, deploy host1, standby"
    );
    assert_eq!(
        asked_of("host10"),
        "welcome, deploy host1+host10, nodes, restart, standby, welcome, deploy host10"
    );
    scene.end();
}

/// What is said of an instance that is not there, and of one that was (O2, O3, O4): by every release of zeek-client, which exits with 1.
#[test]
fn what_cannot_be_done_for_want_of_an_instance_is_an_error_that_zeek_client_prints() {
    let mut scene = Scene::new(vec![("good", honest()), ("gone", honest())], 2);
    scene.deploy(&["good", "gone"]);
    scene.agents["gone"].1.cut();
    while scene.session.instances().len() > 1 {}
    scene.session.stage(&configuration(&["good", "absent"]));
    let gone = "instance gone is not connected (last seen ";
    let absent = "not deployed: instance absent is not connected (never seen); nothing was changed";
    for version in ["1.2.0", "1.3.1", "1.4.0", "1.5.0"] {
        for (command, error) in [
            (vec!["get-nodes"], gone),
            (vec!["restart"], gone),
            (vec!["restart", "gone-node"], gone),
            (vec!["get-id-value", "x", "gone-node"], gone),
            (vec!["deploy"], absent),
        ] {
            let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
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

/// Nothing but answers to requests is said on the controller's topic, for clients that take any message there for the answer.
#[test]
fn staging_beside_a_deployment_that_waits_is_answered_beside_it() {
    let mut scene = Scene::new(vec![("quiet", silent())], 3600);
    scene.session.stage(&configuration(&["quiet"]));
    let deploy = deploy_request();
    scene.session.send(&deploy);
    scene
        .agent("quiet")
        .asked(|asked| matches!(asked, AgentRequest::Deploy { .. }).then_some(()));
    let other = configuration(&["other"]);
    let staged: ClientResponse = scene.session.ask(&stage_request(&other));
    assert!(staged.results()[0].success, "{staged:?}");
    let again = ClientRequest::Deploy {
        reqid: "again".into(),
    };
    assert_eq!(
        outcomes(&scene.ask(&again)),
        ["  earlier deployment r still pending"]
    );
    scene.agents["quiet"].1.cut();
    assert_eq!(
        outcomes(&scene.answer(&deploy)),
        ["  ", "quiet  instance quiet: connection to the agent lost"]
    );
    let deployed = scene.session.configuration(true).map(|config| config.id);
    assert_eq!(
        deployed,
        Some("quiet".into()),
        "what was deployed, not what was staged beside it (Q-35)"
    );
    scene.end();
}
