//! Limits that no transcript can show in few lines.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use broker_codec::EndpointId;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, Configuration, Instance, Now, ResultRecord,
    SequentialIds,
};
use mgmt_controller::core::{
    Action, Audience, Configurations, Controller, Input, Outgoing, REQUESTS_MAX, Settings, WRITES_MAX,
    WriteId,
};
use testkit::{FakeAgent, client, transcript::peer_id};

use super::transcript::{agent, peer_added, started};

fn controller(settings: Settings, restored: Configurations) -> Controller {
    Controller::new(settings, restored, Box::new(SequentialIds::default()))
}

/// What clients are answered.
fn answers(actions: Vec<Action>) -> Vec<ClientResponse> {
    let answer = |action| match action {
        Action::Publish {
            event: Outgoing::Client(response),
            ..
        } => Some(response),
        _ => None,
    };
    actions.into_iter().filter_map(answer).collect()
}

fn ask(controller: &mut Controller, now: Now, request: ClientRequest) -> Vec<ClientResponse> {
    let principal = client(1);
    answers(controller.step(now, Input::Request { principal, request }))
}

fn test_timeout(reqid: usize) -> ClientRequest {
    ClientRequest::TestTimeout {
        reqid: reqid.to_string().into(),
        with_state: true,
    }
}

/// The error of the only answer.
fn error(answers: &[ClientResponse]) -> String {
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].results()[0]
        .error
        .as_ref()
        .expect("an error")
        .to_string()
}

#[test]
fn only_so_many_requests_can_wait_at_a_time() {
    let mut controller = controller(Settings::default(), Configurations::default());
    for reqid in 0..REQUESTS_MAX {
        assert_eq!(ask(&mut controller, Now::START, test_timeout(reqid)), []);
    }
    let refused = ask(&mut controller, Now::START, test_timeout(REQUESTS_MAX));
    assert_eq!(error(&refused), "too many requests pending");
    let later = Now::from_start(Duration::from_secs(10));
    let timed_out = ask(&mut controller, later, test_timeout(REQUESTS_MAX));
    assert_eq!(timed_out.len(), REQUESTS_MAX);
}

#[test]
fn only_so_many_writes_can_wait_at_a_time() {
    let mut controller = controller(Settings::default(), Configurations::default());
    let stage = |reqid: usize| ClientRequest::StageConfiguration {
        reqid: reqid.to_string().into(),
        config: Configuration::default(),
    };
    for reqid in 0..WRITES_MAX {
        assert_eq!(ask(&mut controller, Now::START, stage(reqid)), []);
    }
    assert_eq!(
        error(&ask(&mut controller, Now::START, stage(WRITES_MAX))),
        "too many configurations are waiting to be stored"
    );
    let persisted = Input::Persisted {
        write: WriteId(1),
        outcome: Ok(()),
    };
    assert!(answers(controller.step(Now::START, persisted))[0].results()[0].success);
    assert_eq!(ask(&mut controller, Now::START, stage(WRITES_MAX)), []);
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
        let instance = Instance {
            host: "10.0.0.1".parse().unwrap(),
            ..Instance::new("host1")
        };
        let config = Arc::new(Configuration::new("c1", [instance], []));
        let restored = Configurations {
            deployed: Some(config.clone()),
            ready: Some(config),
            ..Configurations::default()
        };
        let mut controller = controller(settings, restored);
        let peer = peer_id("a");
        let hello = FakeAgent::hello(&"host1".into(), peer, true);
        let mut now = Now::START;
        let mut welcomes = Vec::new();
        let at_start = [
            started(),
            peer_added(peer, "10.0.0.1:40000", "at"),
            agent(peer, "host1", hello),
        ];
        for input in at_start.into_iter().chain([(); 100].map(|()| Input::Tick)) {
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
        let answer = AgentMessage::AgentWelcome { reqid, result };
        let actions = controller.step(now, agent(peer, "host1", answer));
        let deploys = |action: &Action| match action {
            Action::Publish { event, .. } => matches!(event, Outgoing::Agent(AgentRequest::Deploy { .. })),
            _ => false,
        };
        assert!(actions.iter().any(deploys), "{actions:?}");
        let at_once = ask(&mut controller, now, test_timeout(0));
        let later = answers(controller.step(now + Duration::from_secs(1), Input::Tick));
        let answered = !(at_once.is_empty() && later.is_empty());
        assert_eq!(
            answered,
            request_timeout < Duration::from_secs(1),
            "{request_timeout:?}"
        );
    }
}

/// The core asks each agent under an id of its own; what it gives them is one configuration.
#[test]
fn agents_are_given_one_configuration_and_no_copies() {
    let names: Vec<String> = (1..=50).map(|number| format!("host{number}")).collect();
    let at = |name: &String| Instance {
        host: "10.0.0.1".parse().unwrap(),
        ..Instance::new(name.as_str())
    };
    let config = Arc::new(Configuration::new("c1", names.iter().map(at), []));
    let restored = Configurations {
        deployed: Some(Arc::clone(&config)),
        ..Configurations::default()
    };
    let mut controller = controller(Settings::default(), restored);
    let mut given = Vec::new();
    let mut inputs = VecDeque::from([started()]);
    for (number, name) in (1..).zip(&names) {
        let peer = EndpointId::from_bytes([number; EndpointId::LEN]);
        let hello = FakeAgent::hello(&name.as_str().into(), peer, true);
        inputs.extend([peer_added(peer, "10.0.0.1:40000", "at"), agent(peer, name, hello)]);
    }
    while let Some(input) = inputs.pop_front() {
        for action in controller.step(Now::START, input) {
            let Action::Publish {
                event: Outgoing::Agent(request),
                to: Audience::Peer(peer),
                ..
            } = action
            else {
                continue;
            };
            match request {
                AgentRequest::AgentWelcome { reqid } => {
                    let result = ResultRecord::success(reqid.clone());
                    let name = &names[usize::from(peer.as_bytes()[0]) - 1];
                    inputs.push_back(agent(peer, name, AgentMessage::AgentWelcome { reqid, result }));
                }
                AgentRequest::Deploy { config, .. } => given.push(config),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(given.len(), names.len());
    assert!(given.iter().all(|given| Arc::ptr_eq(given, &config)));
}

/// What staging this comes to; one instance more than these, with each name.
fn staged(instances: usize, names: &[&str]) -> Vec<ClientResponse> {
    let numbered = (0..instances).map(|number| number.to_string());
    let names = numbered.chain(names.iter().map(|&name| name.to_owned()));
    let instances = names.map(|name| Instance::new(&*name));
    let request = ClientRequest::StageConfiguration {
        reqid: "r".into(),
        config: Configuration::new("c", instances, []),
    };
    ask(
        &mut controller(Settings::default(), Configurations::default()),
        Now::START,
        request,
    )
}

#[test]
fn a_cluster_has_only_so_many_instances_and_their_names_can_be_shown() {
    assert_eq!(staged(10_000, &[]), [], "it waits for the store");
    assert_eq!(
        error(&staged(10_001, &[])),
        "10001 instances are too many: a cluster may have 10000"
    );
    assert_eq!(
        error(&staged(0, &["a\nb"])),
        r#"instance "a\nb" has characters in its name that cannot be shown"#
    );
}
