//! A sensor whose clock is wrong. No process can have another clock than its host, so an agent that is a stand-in says another time.

use std::time::Duration;

use broker_codec::{Topic, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, tls::TlsConfig};
use mgmt_api::{
    AgentRequest, ClusterRole, LinkMessage, State,
    link::to_json,
    operator::{AgentStatus, NodeReport, STATUS},
    topics,
};
use mgmt_daemon::process::unix_time;
use testkit::FakeAgent;

use crate::support::{
    controller::Controller, limit::Limit, mgmtctl, peer::data_of, program::Outcome, runtime,
};

const NAME: &str = super::site::SENSORS[0];

/// By how much its clock is ahead.
const AHEAD: Duration = Duration::from_secs(5);

/// Runs the agent of [`NAME`], with one node.
async fn agent(mut endpoint: Endpoint) {
    let own = Topic::new(topics::agent(topics::AGENT_PREFIX.as_bytes(), NAME.as_bytes())).expect("short");
    let link = Topic::new(topics::LINK).expect("short");
    let handle = endpoint.handle();
    let mut fake = FakeAgent::new(NAME.into(), "96".into());
    while let Some(event) = endpoint.recv().await {
        let said = match event {
            EndpointEvent::PeerAdded(_) => {
                let hello = FakeAgent::hello(&NAME.into(), endpoint.id(), true);
                Some((own.clone(), data_of(&hello)))
            }
            EndpointEvent::Message(message) if message.topic == link => {
                let event = Event::from_data(message.data).expect("an event");
                let said = match event.parse().expect("of the extension") {
                    LinkMessage::Announce { .. } => LinkMessage::announce(&[STATUS]),
                    LinkMessage::Request { reqid, .. } => LinkMessage::Reply {
                        reqid,
                        ok: true,
                        json: to_json(&status()).expect("JSON"),
                    },
                    LinkMessage::Reply { .. } => panic!("it has asked nothing"),
                };
                Some((link.clone(), data_of(&said)))
            }
            EndpointEvent::Message(message) => {
                let event = Event::from_data(message.data).expect("an event");
                let request: AgentRequest = event.parse().expect("a request to an agent");
                Some((own.clone(), data_of(&fake.answer(&request))))
            }
            _ => None,
        };
        if let Some((topic, data)) = said {
            handle.publish(topic, &data).await.expect("the endpoint lives");
        }
    }
}

fn status() -> AgentStatus {
    let manager = NodeReport {
        node: "manager".into(),
        role: ClusterRole::Manager,
        state: State::Running,
        ..NodeReport::default()
    };
    let clock = (unix_time() + AHEAD).as_millis();
    AgentStatus {
        instance: NAME.into(),
        clock: Some(clock.try_into().expect("before the end of time")),
        nodes: vec![manager],
        ..AgentStatus::default()
    }
}

/// What is shown of one sensor whose clock is ahead.
pub(super) fn status_of_one_that_is_ahead() -> Outcome {
    let controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    let mut config = EndpointConfig::default();
    config.tls = TlsConfig::Anonymous;
    let own = topics::agent(topics::AGENT_PREFIX.as_bytes(), NAME.as_bytes());
    config.subscriptions = vec![
        Topic::new(own).expect("short"),
        Topic::new(topics::LINK).expect("short"),
    ];
    let endpoint = {
        let _within = runtime().enter();
        Endpoint::start(config).expect("the configuration is good")
    };
    endpoint.handle().peer(controller.broker().into(), None);
    let task = runtime().spawn(agent(endpoint));

    let cluster = format!("[instances]\n{NAME}\n[manager]\ninstance = {NAME}\nrole = manager\n");
    std::fs::write(directory.join("cluster.ini"), cluster).expect("written");
    mgmtctl::ask(&directory, &["deploy", "cluster.ini", "--yes"]).printed();
    let limit = Limit::new("the agent to be deployed");
    let status = limit.poll(|| {
        let status = mgmtctl::ask(&directory, &["status"]);
        status.stdout.contains("RUNNING").then_some(status)
    });
    let wide = mgmtctl::ask(&directory, &["instances", "-o", "wide"]);
    assert!(wide.printed().contains("CLOCK"), "{wide:?}");
    controller.stop();
    task.abort();
    status
}
