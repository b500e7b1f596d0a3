//! What always holds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    time::Duration,
};

use broker_codec::{
    EndpointId,
    data::{Address, Port, Protocol, Set, ZeekString, to_data},
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, ClusterRole, Configuration, Instance, Node,
    Now, RequestKind, ResultRecord, SequentialIds, topics,
};
use mgmt_controller::core::{
    Action, Configurations, Controller, INSTANCE_NAME_BYTES_MAX, Input, Outgoing, REQUESTS_MAX, Settings,
    Slot, WRITES_MAX, WriteId,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use super::transcript::started;

fn controller(settings: Settings) -> Controller {
    Controller::new(
        settings,
        Configurations::default(),
        Box::new(SequentialIds::default()),
    )
}

fn request(request: ClientRequest) -> Input {
    Input::Request {
        client: "client-1".into(),
        request,
    }
}

fn responses(actions: &[Action]) -> Vec<&ClientResponse> {
    let response = |action| match action {
        &Action::Publish {
            event: Outgoing::Client(ref response),
            ..
        } => Some(response),
        _ => None,
    };
    actions.iter().filter_map(response).collect()
}

/// The one result of the one response.
fn only_result(actions: &[Action]) -> ResultRecord {
    match responses(actions)[..] {
        [response] => {
            assert_eq!(response.results().len(), 1);
            response.results()[0].clone()
        }
        ref other => panic!("{other:?}"),
    }
}

fn error(actions: &[Action]) -> String {
    only_result(actions).error.expect("an error").to_string()
}

mod limits {
    use super::*;

    #[test]
    fn an_agent_with_a_long_name_is_refused() {
        let mut controller = controller(Settings::default());
        let peer = EndpointId::from_bytes([b'a'; EndpointId::LEN]);
        let _ = controller.step(
            Now::START,
            Input::PeerAdded {
                peer,
                address: "10.0.0.1".parse().unwrap(),
                port: Port::tcp(40000),
                dialled: false,
            },
        );
        let mut hello = |length| {
            let name = "x".repeat(length);
            let message = AgentMessage::Hello {
                instance: name.as_str().into(),
                id: peer.to_string().into(),
                connecting: true,
                api_version: mgmt_api::API_VERSION,
            };
            let topic = topics::agent(topics::AGENT_PREFIX.as_bytes(), name.as_bytes());
            let _ = controller.step(Now::START, Input::Agent { peer, topic, message });
            controller.counters().hellos_refused
        };
        assert_eq!(hello(INSTANCE_NAME_BYTES_MAX), 0);
        assert_eq!(hello(INSTANCE_NAME_BYTES_MAX + 1), 1);
    }

    #[test]
    fn only_so_many_requests_can_wait_at_a_time() {
        let mut controller = controller(Settings::default());
        let mut ask = |now, reqid: usize| {
            let reqid = reqid.to_string().into();
            controller.step(
                now,
                request(ClientRequest::TestTimeout {
                    reqid,
                    with_state: true,
                }),
            )
        };
        for reqid in 0..REQUESTS_MAX {
            assert_eq!(responses(&ask(Now::START, reqid)).len(), 0);
        }
        assert_eq!(error(&ask(Now::START, REQUESTS_MAX)), "too many requests pending");

        let later = Now::from_start(Duration::from_secs(10));
        assert_eq!(responses(&ask(later, REQUESTS_MAX)).len(), REQUESTS_MAX);
    }

    #[test]
    fn only_so_many_writes_can_wait_at_a_time() {
        let mut controller = controller(Settings::default());
        let stage = |reqid: usize| {
            request(ClientRequest::StageConfiguration {
                reqid: reqid.to_string().into(),
                config: Configuration::default(),
            })
        };
        for reqid in 0..WRITES_MAX {
            assert_eq!(responses(&controller.step(Now::START, stage(reqid))).len(), 0);
        }
        assert_eq!(
            error(&controller.step(Now::START, stage(WRITES_MAX))),
            "too many configurations are waiting to be stored"
        );

        let persisted = Input::Persisted {
            write: WriteId(1),
            outcome: Ok(()),
        };
        assert!(only_result(&controller.step(Now::START, persisted)).success);
        assert_eq!(
            responses(&controller.step(Now::START, stage(WRITES_MAX))).len(),
            0
        );
    }
}

/// As an operator may have set it: nothing at all, next to nothing, and for ever.
#[test]
fn no_request_time_out_is_too_short_or_too_long() {
    for request_timeout in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::MAX / 2,
        Duration::MAX,
    ] {
        let settings = Settings {
            request_timeout,
            ..Settings::default()
        };
        let config = Configuration {
            id: "c1".into(),
            instances: [Instance {
                name: "host1".into(),
                host: "10.0.0.1".parse().unwrap(),
                listen_port: None,
            }]
            .into(),
            nodes: Set::new(),
        };
        let restored = Configurations {
            deployed: Some(config.clone()),
            ready: Some(config),
            ..Configurations::default()
        };
        let mut controller = Controller::new(settings, restored, Box::new(SequentialIds::default()));
        let peer = EndpointId::from_bytes([1; EndpointId::LEN]);
        let agent = |message| Input::Agent {
            peer,
            topic: topics::agent(topics::AGENT_PREFIX.as_bytes(), b"host1"),
            message,
        };
        let hello = AgentMessage::Hello {
            instance: "host1".into(),
            id: peer.to_string().into(),
            connecting: true,
            api_version: mgmt_api::API_VERSION,
        };
        let added = Input::PeerAdded {
            peer,
            address: "10.0.0.1".parse().unwrap(),
            port: Port::tcp(40_000),
            dialled: false,
        };
        let mut now = Now::START;
        let mut welcomes = Vec::new();
        for input in [started(), added, agent(hello)]
            .into_iter()
            .chain([(); 100].map(|()| Input::Tick))
        {
            for action in controller.step(now, input) {
                if let Action::Publish {
                    event: Outgoing::Agent(AgentRequest::AgentWelcome { reqid }),
                    ..
                } = action
                {
                    welcomes.push(reqid);
                }
            }
            now = now + Duration::from_millis(1);
        }
        assert!((1..=2).contains(&welcomes.len()), "{welcomes:?} within 100 ms");
        let reqid = welcomes[0].clone();
        let result = ResultRecord::success(reqid.clone());
        let actions = controller.step(now, agent(AgentMessage::AgentWelcome { reqid, result }));
        let deploys = |action: &Action| match action {
            Action::Publish { event, .. } => matches!(event, Outgoing::Agent(AgentRequest::Deploy { .. })),
            _ => false,
        };
        assert!(actions.iter().any(deploys), "{actions:?}");
        let asked = request(ClientRequest::TestTimeout {
            reqid: "r".into(),
            with_state: true,
        });
        let answered = |actions: &[Action]| !responses(actions).is_empty();
        let at_once = answered(&controller.step(now, asked));
        let later = answered(&controller.step(now + Duration::from_secs(1), Input::Tick));
        let short = request_timeout < Duration::from_secs(1);
        assert_eq!(at_once || later, short, "{request_timeout:?}");
    }
}

/// What can happen to a controller without agents.
#[derive(Clone, Debug)]
enum Event {
    Request(ClientRequest),
    Persisted(bool),
    /// Seconds.
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let reqid = || prop::sample::select(vec!["", "a", "b"]).prop_map(ZeekString::from);
    let configuration = (0..4u8, prop::collection::vec(prop::bool::ANY, 2)).prop_map(|(id, instances)| {
        let instances = std::iter::zip(["host1", "host10"], instances)
            .filter(|(_, wanted)| *wanted)
            .map(|(name, _)| Instance {
                name: name.into(),
                host: Address::UNSPECIFIED_V4,
                listen_port: None,
            });
        Configuration {
            id: format!("c{id}").into(),
            instances: instances.collect(),
            nodes: Set::new(),
        }
    });
    let nodes = || {
        prop::collection::vec(prop::sample::select(vec!["manager", "worker"]), 0..2)
            .prop_map(|nodes| nodes.into_iter().map(ZeekString::from).collect::<Set<_>>())
    };
    prop_oneof![
        1 => reqid().prop_map(|reqid| Event::Request(ClientRequest::GetInstances { reqid })),
        1 => (reqid(), configuration)
            .prop_map(|(reqid, config)| Event::Request(ClientRequest::StageConfiguration { reqid, config })),
        1 => (reqid(), any::<bool>())
            .prop_map(|(reqid, deployed)| Event::Request(ClientRequest::GetConfiguration { reqid, deployed })),
        3 => reqid().prop_map(|reqid| Event::Request(ClientRequest::Deploy { reqid })),
        1 => reqid().prop_map(|reqid| Event::Request(ClientRequest::GetNodes { reqid })),
        1 => (reqid(), nodes()).prop_map(|(reqid, nodes)| Event::Request(ClientRequest::GetIdValue {
            reqid,
            id: "bits_per_uid".into(),
            nodes
        })),
        1 => (reqid(), nodes()).prop_map(|(reqid, nodes)| Event::Request(ClientRequest::Restart { reqid, nodes })),
        1 => (reqid(), any::<bool>())
            .prop_map(|(reqid, with_state)| Event::Request(ClientRequest::TestTimeout { reqid, with_state })),
        3 => any::<bool>().prop_map(Event::Persisted),
        1 => (0..6u8).prop_map(Event::Wait),
    ]
}

/// A controller and what is known about it from outside.
struct Observed {
    controller: Controller,
    now: Now,
    owed: BTreeSet<(RequestKind, ZeekString)>,
    /// Writes under way, the oldest first.
    writes: VecDeque<(WriteId, Vec<(Slot, Configuration)>)>,
    durable: Configurations,
}

impl Observed {
    fn new() -> Self {
        Self {
            controller: controller(Settings::default()),
            now: Now::START,
            owed: BTreeSet::new(),
            writes: VecDeque::new(),
            durable: Configurations::default(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request(asked) => {
                let answered = !matches!(
                    asked,
                    ClientRequest::TestTimeout {
                        with_state: false,
                        ..
                    }
                );
                if answered {
                    // One that is owed an answer already is owed one answer.
                    self.owed.insert((asked.kind(), asked.reqid().clone()));
                }
                self.step(request(asked));
            }
            Event::Persisted(success) => {
                let Some((write, entries)) = self.writes.pop_front() else {
                    return;
                };
                if success {
                    for (slot, config) in entries {
                        self.durable.set(slot, config);
                    }
                }
                let outcome = if success {
                    Ok(())
                } else {
                    Err("disk I/O error".into())
                };
                self.step(Input::Persisted { write, outcome });
            }
            Event::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(seconds.into());
                self.step(Input::Tick);
            }
        }
    }

    fn step(&mut self, input: Input) {
        survives_json(&input);
        let actions = self.controller.step(self.now, input);
        survives_json(&actions);
        for action in actions {
            match action {
                Action::Publish {
                    event: Outgoing::Client(response),
                    ..
                } => self.answered(&response),
                Action::Persist { write, entries, .. } => self.writes.push_back((write, entries)),
                _ => {}
            }
        }
        let deadline = self.controller.deadline();
        if let Some(deadline) = deadline {
            assert!(deadline > self.now && deadline - self.now <= Duration::from_secs(18));
        }
    }

    fn answered(&mut self, response: &ClientResponse) {
        let key = (response.kind(), response.reqid().clone());
        assert!(self.owed.remove(&key), "no request is owed {response:?}");
        if let ClientResponse::GetConfiguration { result, .. } = response {
            let durable = [&self.durable.staged, &self.durable.deployed];
            let shown = |config: &Option<Configuration>| match config {
                Some(config) => result.data.as_ref() == Some(&to_data(config).unwrap()),
                None => !result.success,
            };
            assert!(durable.into_iter().any(shown), "{result:?} is not durable");
        }
    }
}

fn survives_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

/// A port near the start of a range, or none.
fn port_near(start: u16) -> impl Strategy<Value = Option<Port>> {
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    prop::option::weighted(
        0.3,
        (start..start + 12, protocol).prop_map(|(number, protocol)| Port { number, protocol }),
    )
}

prop_compose! {
    fn instance(index: usize)(
        host in prop::sample::select(vec!["0.0.0.0", "10.0.0.1", "10.0.0.2"]),
        listen_port in prop_oneof![port_near(2200), port_near(9000)],
    ) -> Instance {
        Instance { name: format!("instance-{index}").into(), host: host.parse().unwrap(), listen_port }
    }
}

prop_compose! {
    fn node(index: usize)(
        instance in 0..3usize,
        role in prop::sample::select(vec![
            ClusterRole::None,
            ClusterRole::Logger,
            ClusterRole::Manager,
            ClusterRole::Proxy,
            ClusterRole::Worker,
        ]),
        p in prop_oneof![port_near(2200), port_near(9000)],
        metrics_port in prop_oneof![port_near(2200), port_near(9000)],
    ) -> Node {
        Node {
            p,
            metrics_port,
            ..Node::new(format!("node-{index}"), format!("instance-{instance}"), role)
        }
    }
}

prop_compose! {
    fn configuration()(
        instances in [instance(0), instance(1), instance(2)],
        nodes in (0..12usize).prop_flat_map(|count| (0..count).map(node).collect::<Vec<_>>()),
    ) -> Configuration {
        Configuration { id: "c1".into(), instances: Set::from_iter(instances), nodes: nodes.into_iter().collect() }
    }
}

/// What is ready after staging; `None` if the configuration is refused.
fn staged(config: &Configuration) -> Option<Configuration> {
    let actions = controller(Settings::default()).step(
        Now::START,
        request(ClientRequest::StageConfiguration {
            reqid: "r1".into(),
            config: config.clone(),
        }),
    );
    actions.into_iter().find_map(|action| match action {
        Action::Persist { entries, .. } => match &entries[..] {
            [(Slot::Staged, staged), (Slot::Ready, ready)] => {
                assert_eq!(staged, config);
                Some(ready.clone())
            }
            other => panic!("{other:?}"),
        },
        _ => None,
    })
}

proptest! {
    #[test]
    fn every_request_is_answered_once(events in prop::collection::vec(event(), 0..80)) {
        let mut observed = Observed::new();
        for event in events {
            observed.happen(event);
        }
        while !observed.writes.is_empty() {
            observed.happen(Event::Persisted(true));
        }
        observed.happen(Event::Wait(18));
        prop_assert!(observed.owed.is_empty(), "{:?}", observed.owed);
        prop_assert_eq!(observed.controller.deadline(), None);
    }

    #[test]
    fn assigned_ports_are_free_and_given_ones_are_kept(config in configuration()) {
        let Some(ready) = staged(&config) else { return Ok(()) };
        prop_assert_eq!(&ready.instances, &config.instances);
        prop_assert_eq!(ready.nodes.len(), config.nodes.len());

        let hosts: BTreeMap<_, _> = config.instances.iter().map(|instance| (&instance.name, instance.host)).collect();
        let mut used: BTreeMap<(Address, u16), u32> = BTreeMap::new();
        for instance in &config.instances {
            if let Some(port) = instance.listen_port {
                *used.entry((instance.host, port.number)).or_default() += 1;
            }
        }
        for node in &ready.nodes {
            for port in [node.p, node.metrics_port].into_iter().flatten() {
                *used.entry((hosts[&node.instance], port.number)).or_default() += 1;
            }
        }

        let given: BTreeMap<_, _> = config.nodes.iter().map(|node| (&node.name, node)).collect();
        for node in &ready.nodes {
            let given = given[&node.name];
            prop_assert_eq!(
                &Node { p: given.p, metrics_port: given.metrics_port, ..node.clone() },
                given
            );
            let listens = matches!(node.role, ClusterRole::Manager | ClusterRole::Logger | ClusterRole::Proxy);
            let measured = node.role != ClusterRole::None;
            for (given, assigned, needed, start) in [
                (given.p, node.p, listens, 2200),
                (given.metrics_port, node.metrics_port, measured, 9000),
            ] {
                match (given, assigned) {
                    (Some(given), assigned) => prop_assert_eq!(assigned, Some(given)),
                    (None, None) => prop_assert!(!needed),
                    (None, Some(port)) => {
                        prop_assert!(needed && port.protocol == Protocol::Tcp && port.number >= start);
                        prop_assert_eq!(used[&(hosts[&node.instance], port.number)], 1, "{}", port);
                    }
                }
            }
        }
    }
}
