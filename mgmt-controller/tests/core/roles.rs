//! Every request of Zeek's API, by each role, on both transports; and who may be an agent.

use std::time::Duration;

use broker_codec::EndpointId;
use mgmt_api::{
    AgentMessage, ClientRequest, ClientResponse, Configuration, Instance, Now, Principal, RequestKind,
    SequentialIds, Transport,
    access::{Grant, Granted, Pattern, Role},
    link::from_json,
    operator::{ClusterRequest, ClusterStatus, InstanceReport},
};
use mgmt_controller::{
    Counted,
    core::{Action, Audience, Configurations, Controller, Input, Outgoing, Settings},
};
use testkit::{client, transcript::peer_id};

use super::transcript::{agent, peer_added, started};

/// Every request, as it is handed to the core, with the role that it takes.
fn requests(principal: &Principal) -> Vec<(Input, RequestKind, Role)> {
    let reqid = || "r".into();
    let config = Configuration::default;
    let requests = [
        ClientRequest::GetInstances { reqid: reqid() },
        ClientRequest::GetNodes { reqid: reqid() },
        ClientRequest::GetConfiguration {
            reqid: reqid(),
            deployed: true,
        },
        ClientRequest::GetIdValue {
            reqid: reqid(),
            id: "Site::local_nets".into(),
            nodes: [].into(),
        },
        ClientRequest::TestTimeout {
            reqid: reqid(),
            with_state: true,
        },
        ClientRequest::StageConfiguration {
            reqid: reqid(),
            config: config(),
        },
        ClientRequest::Deploy { reqid: reqid() },
        ClientRequest::Restart {
            reqid: reqid(),
            nodes: [].into(),
        },
    ];
    let principal = || principal.clone();
    let with_role = requests.into_iter().map(|request| {
        let kind = request.kind();
        let changes = [
            RequestKind::StageConfiguration,
            RequestKind::Deploy,
            RequestKind::Restart,
        ];
        let role = if changes.contains(&kind) {
            Role::Deploy
        } else {
            Role::Read
        };
        let principal = principal();
        (Input::Request { principal, request }, kind, role)
    });
    let older = Input::SetConfiguration {
        principal: principal(),
        reqid: reqid(),
        config: config(),
    };
    with_role
        .chain([(older, RequestKind::StageConfiguration, Role::Deploy)])
        .collect()
}

/// What one may, whether it may read in `default`, and whether it may deploy there.
fn grants() -> Vec<(Option<Grant>, bool, bool)> {
    let in_cluster = |role, cluster: &str| Some(Grant::of(role, Some(&[cluster.to_owned()])));
    let everywhere = |role| Some(Grant::of(role, None));
    vec![
        (None, true, true),
        (Some(Grant::default()), false, false),
        (Some(agent_of(&["*"])), false, false),
        (everywhere(Role::Read), true, false),
        (everywhere(Role::Deploy), true, true),
        (everywhere(Role::Admin), true, true),
        (in_cluster(Role::Read, "default"), true, false),
        (in_cluster(Role::Deploy, "default"), true, true),
        (in_cluster(Role::Admin, "lab"), false, false),
        (in_cluster(Role::Admin, "defaul"), false, false),
    ]
}

fn agent_of(instances: &[&str]) -> Grant {
    Grant {
        roles: Vec::new(),
        agent_of: instances.iter().map(|&pattern| Pattern::new(pattern)).collect(),
    }
}

fn controller() -> Controller {
    let ids = Box::new(SequentialIds::default());
    let mut controller = Controller::new(Settings::default(), Configurations::default(), ids);
    let _ = controller.step(Now::START, started());
    controller
}

/// The answers among actions, and for whom they are.
fn answers(actions: Vec<Action>) -> Vec<(ClientResponse, Audience)> {
    let answer = |action| match action {
        Action::Publish {
            event: Outgoing::Client(response),
            to,
            ..
        } => Some((response, to)),
        _ => None,
    };
    actions.into_iter().filter_map(answer).collect()
}

#[test]
fn each_request_takes_its_role_on_each_transport() {
    let peer = peer_id("p");
    let doors = [
        (client(7).transport, Audience::Client(7)),
        (Transport::Broker { peer }, Audience::NativeClient(peer)),
    ];
    for (transport, alone) in doors {
        for (grant, reads, deploys) in grants() {
            let principal = Principal {
                transport: transport.clone(),
                grant: grant.clone(),
                ..client(7)
            };
            for (input, kind, takes) in requests(&principal) {
                let mut controller = controller();
                let of = format!("{grant:?} {input:?}");
                let actions = controller.step(Now::START, input);
                let forbidden = controller.counters().get(Counted::RequestsForbidden);
                let may = if takes == Role::Read { reads } else { deploys };
                if may {
                    assert_eq!(forbidden, 0, "{of}");
                    let answers = answers(actions);
                    assert!(answers.iter().all(|(_, to)| *to == Audience::Subscribers), "{of}");
                    continue;
                }
                assert_eq!(forbidden, 1, "{of}");
                let [(response, to)] = &answers(actions)[..] else {
                    panic!("one answer: {of}");
                };
                assert_eq!((response.kind(), *to), (kind, alone), "{of}");
                let [result] = response.results() else {
                    panic!("one result: {of}");
                };
                let error = result.error.as_ref().map(ToString::to_string).unwrap_or_default();
                let words = format!("this takes the role {takes} in cluster default; ");
                assert!(!result.success && error.starts_with(&words), "{error}");
                let had = grant.as_ref().map(ToString::to_string).unwrap_or_default();
                assert!(error.ends_with(&format!(" has {had}")), "{error}");
            }
        }
    }
}

#[test]
fn a_forbidden_request_does_not_touch_another_one_of_the_same_id() {
    let mut controller = controller();
    let ask = |grant| {
        let request = ClientRequest::TestTimeout {
            reqid: "r".into(),
            with_state: true,
        };
        let principal = Principal { grant, ..client(7) };
        Input::Request { principal, request }
    };
    let _ = controller.step(Now::START, ask(None));
    let refused = answers(controller.step(Now::START, ask(Some(Grant::default()))));
    assert_eq!(refused.len(), 1);
    assert!(controller.owes_answer(RequestKind::TestTimeout, &"r".into()));
}

/// A peer that may be the agent of these says hello as this one; and whether it is that.
fn checks_in(controller: &mut Controller, peer: EndpointId, grant: Option<Grant>, instance: &str) -> bool {
    let mut added = peer_added(peer, "10.0.0.1:4000", "");
    if let Input::PeerAdded { grant: of_peer, .. } = &mut added {
        *of_peer = grant;
    }
    let _ = controller.step(Now::START, added);
    says_hello(controller, peer, instance)
}

fn says_hello(controller: &mut Controller, peer: EndpointId, instance: &str) -> bool {
    let hello = AgentMessage::Hello {
        instance: instance.into(),
        id: peer.to_string().into(),
        connecting: true,
        api_version: 1,
    };
    let _ = controller.step(Now::START, agent(peer, instance, hello));
    controller
        .instance_of(peer)
        .is_some_and(|(name, _)| *name == instance)
}

#[test]
fn an_agent_is_who_its_certificate_names() {
    for (grant, instance, may) in [
        (None, "sensor1", true),
        (Some(agent_of(&["sensor1"])), "sensor1", true),
        (Some(agent_of(&["sensor1"])), "sensor2", false),
        (Some(agent_of(&["lab-*", "sensor2"])), "sensor2", true),
        (Some(agent_of(&["*"])), "any", true),
        (Some(Grant::default()), "sensor1", false),
        // An operator's certificate is no agent's.
        (Some(Grant::of(Role::Admin, None)), "sensor1", false),
    ] {
        let mut controller = controller();
        let of = format!("{grant:?} {instance}");
        assert_eq!(
            checks_in(&mut controller, peer_id("a"), grant, instance),
            may,
            "{of}"
        );
        let refused = controller.counters().get(Counted::HellosRefused);
        assert_eq!(refused, u64::from(!may), "{of}");
    }
}

/// What a status says then of instance `sensor1`, which is deployed.
fn reported(controller: &mut Controller, at: Now) -> InstanceReport {
    let status = Input::Operator {
        id: 1,
        principal: testkit::operator(),
        cluster: "default".into(),
        request: ClusterRequest::Status,
    };
    let mut actions = controller.step(at, status);
    actions.extend(controller.step(at + Duration::from_secs(60), Input::Tick));
    let answer = actions.iter().find_map(|action| match action {
        Action::Answer { id: 1, outcome } => outcome.as_ref().ok(),
        _ => None,
    });
    let status: ClusterStatus = from_json(answer.expect("an answer")).unwrap();
    status.instances[0].clone()
}

#[test]
fn a_status_says_which_agent_was_refused_and_why() {
    let deployed = Configuration::new("c1", [Instance::new("sensor1")], []);
    let restored = Configurations {
        deployed: Some(deployed.into()),
        ..Configurations::default()
    };
    let start = || {
        let ids = Box::new(SequentialIds::default());
        let mut controller = Controller::new(Settings::default(), restored.clone(), ids);
        let _ = controller.step(Now::START, started());
        controller
    };
    let (now, later) = (Now::START, Now::START + Duration::from_secs(120));
    let [first, second] = [peer_id("a"), peer_id("b")];
    let never = "instance sensor1 is not connected (never seen)";
    let not_its = "it may not be this instance's agent: it has agent of instance";
    for (certificate, name, refused) in [
        (
            "sensor9",
            "sensor1",
            format!("; last refused: {not_its} sensor9, from 10.0.0.1"),
        ),
        (
            "sensor1",
            "sensr1",
            format!("; last refused: an agent that is called sensr1: {not_its} sensor1, from 10.0.0.1"),
        ),
        ("sensor9", "sensor8", String::new()),
    ] {
        let mut controller = start();
        assert!(!checks_in(
            &mut controller,
            first,
            Some(agent_of(&[certificate])),
            name
        ));
        let trouble = reported(&mut controller, now).trouble;
        assert_eq!(trouble, Some(format!("{never}{refused}")));
        let reason = "it left".into();
        let _ = controller.step(later, Input::PeerLost { peer: first, reason });
        let trouble = reported(&mut controller, later).trouble;
        assert_eq!(trouble.as_deref(), Some(never), "it is gone");
    }

    let mut controller = start();
    assert!(checks_in(&mut controller, first, None, "sensor1"));
    assert!(!checks_in(&mut controller, second, None, "sensor1"));
    let another = "instance sensor1: another agent is refused: the agent at 10.0.0.1 is connected under this name, from 10.0.0.1";
    assert_eq!(reported(&mut controller, now).warnings, [another]);
    let reason = "it left".into();
    let _ = controller.step(later, Input::PeerLost { peer: first, reason });
    assert_eq!(
        reported(&mut controller, later).warnings,
        [""; 0],
        "it has the name now"
    );
}

#[test]
fn one_that_may_not_does_not_wait_for_the_name_either() {
    let mut controller = controller();
    let [holder, other] = [peer_id("a"), peer_id("b")];
    assert!(checks_in(&mut controller, holder, None, "sensor1"));
    assert!(!checks_in(
        &mut controller,
        other,
        Some(Grant::default()),
        "sensor1"
    ));
    let lost = Input::PeerLost {
        peer: holder,
        reason: "it left".into(),
    };
    let _ = controller.step(Now::START, lost);
    assert_eq!(controller.instance_of(other), None);
    assert!(!says_hello(&mut controller, other, "sensor1"));
}

#[test]
fn a_role_in_one_cluster_does_not_count_in_default() {
    let lab = Granted {
        role: Role::Admin,
        cluster: Some("lab".to_owned()),
    };
    let grant = Grant {
        roles: vec![lab],
        agent_of: vec![Pattern::new("*")],
    };
    assert_eq!(grant.to_string(), "admin in cluster lab, agent of instance *");
    assert!(!mgmt_controller::core::may_hear(Some(&grant)));
    assert!(mgmt_controller::core::may_hear(None));
    assert!(mgmt_controller::core::may_hear(Some(&Grant::of(
        Role::Read,
        None
    ))));
}
