//! What happens in the world, and what the controller does because of it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use broker_codec::{
    Data, EndpointId,
    data::{Port, ZeekString, from_data, to_data},
};
use mgmt_api::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, Configuration, Dialect, NodeStatus,
    RequestKind, ResultRecord,
};
use mgmt_controller::core::{Action, Audience, Input, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use testkit::{FakeAgent, with_results};

use super::{Happening, Host, World};

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ask => {
                if self.troubled {
                    let request = self.random_request();
                    self.ask(request);
                    let pause = self.dice.millis(20, 1500);
                    self.after(pause, Happening::Ask);
                }
            }
            Happening::Break => {
                if self.troubled {
                    self.break_something();
                    let pause = self.dice.millis(100, 3000);
                    self.after(pause, Happening::Break);
                }
            }
            Happening::Persisted(success) => {
                if let Some((write, asked)) = self.writes.pop_first() {
                    self.excused |= !success;
                    let outcome = if success {
                        self.durable.apply(asked);
                        let deployed = self.durable.deployed.as_ref();
                        let revision = self.durable.deployed_revision();
                        assert_eq!(
                            deployed.is_some(),
                            revision.is_some(),
                            "what is deployed has a number"
                        );
                        Ok(())
                    } else {
                        Err("disk I/O error".into())
                    };
                    if self.troubled && self.dice.percent(2) {
                        // It is durable, and the controller never hears of it.
                        self.crash_controller();
                    } else {
                        self.step(Input::Persisted { write, outcome });
                    }
                }
            }
            Happening::Connect(host) => self.connect(host),
            Happening::Notice(peer) => {
                let host = self.network.host_of(peer);
                self.network.forget(peer);
                // The controller connects again by itself.
                if let Some(host) = host.filter(|host| self.hosts[*host].listens) {
                    let delay = self.dice.millis(1, 1000);
                    self.after(delay, Happening::Connect(host));
                }
                self.step(Input::PeerLost {
                    peer,
                    reason: "connection reset by peer".into(),
                });
            }
            Happening::ToAgent(connection, peer, sent) => {
                if self.network.is_open(peer, connection) {
                    for request in self.translators.at_agent(peer, sent) {
                        let host = self.network.host_of(peer).map(|host| &self.hosts[host]);
                        let old = host.is_some_and(|host| host.dialect != Dialect::V7_0);
                        self.saw("a request to an agent of an older release", u64::from(old));
                        self.at_agent(peer, connection, request);
                    }
                }
            }
            Happening::Link(connection, peer, message) => {
                if self.network.is_known(peer, connection) {
                    self.step(Input::Link { peer, message });
                }
            }
            Happening::ToController(connection, peer, sent) => {
                if self.network.is_known(peer, connection)
                    && let Some(said) = self.translators.at_controller(peer, sent)
                {
                    self.step(said);
                }
            }
        }
    }

    pub(super) fn fresh_reqid(&mut self) -> ZeekString {
        self.asked += 1;
        format!("r{}", self.asked).into()
    }

    pub(super) fn ask(&mut self, request: ClientRequest) {
        let never_answered = ClientRequest::TestTimeout {
            reqid: request.reqid().clone(),
            with_state: false,
        };
        let is_new = request != never_answered && self.owed.insert((request.kind(), request.reqid().clone()));
        if is_new && matches!(request, ClientRequest::Deploy { .. }) {
            let state = (self.durable.deployed.clone(), self.changes);
            self.deployments.insert(request.reqid().clone(), state);
        }
        self.step(Input::Request {
            principal: testkit::client(1),
            request,
        });
        if self.dice.percent(20) {
            self.operate();
        }
    }

    fn break_something(&mut self) {
        let host = usize::try_from(self.dice.below(self.hosts.len() as u64)).unwrap();
        match self.dice.below(11) {
            10 => self.take_away(host),
            0 => self.crash_controller(),
            1..=3 => self.crash_agent(host),
            4..=6 => {
                if let Some(peer) = self.network.end_of_host(host) {
                    self.after(Duration::from_millis(1), Happening::Notice(peer));
                    let pause = self.dice.millis(2, 4000);
                    self.after(pause, Happening::Connect(host));
                }
            }
            7 => {
                if let Some((connection, peer)) = self.network.connection_of_host(host) {
                    self.say_hello(host, connection, peer);
                }
            }
            _ => self.send_stranger(host),
        }
    }

    /// The agent may be back before the controller notices that it was away.
    fn crash_agent(&mut self, host: usize) {
        self.hosts[host].agent.crash();
        self.hosts[host].life = self.hosts[host].life.wrapping_add(1);
        if let Some(peer) = self.network.end_of_host(host) {
            let noticed = self.dice.millis(1, 3000);
            self.after(noticed, Happening::Notice(peer));
        }
        let back = self.dice.millis(1, 4000);
        self.after(back, Happening::Connect(host));
    }

    /// Connects a host and the controller, if they are not connected and one of them wants to be.
    fn connect(&mut self, host: usize) {
        let Host {
            address,
            listens,
            life,
            absent_until,
            ..
        } = self.hosts[host];
        if self.now < absent_until {
            return;
        }
        let target = (address, Port::tcp(2151));
        if self.network.connection_of_host(host).is_some() || (listens && !self.targets.contains(&target)) {
            return;
        }
        let mut id = [u8::try_from(host).unwrap(); EndpointId::LEN];
        id[0] = life;
        let peer = EndpointId::from_bytes(id);
        if self.network.is_there(peer) {
            // The end of the last connection has not been noticed yet.
            self.after(Duration::from_millis(100), Happening::Connect(host));
            return;
        }
        let connection = self.network.open(peer, Some(host));
        self.translators.open(peer, listens, self.hosts[host].dialect);
        let port = if listens { target.1 } else { Port::tcp(40000) };
        self.step(Input::PeerAdded {
            peer,
            address,
            port,
            dialled: listens,
            is_ours: self.hosts[host].is_ours,
            grant: None,
        });
        self.say_hello(host, connection, peer);
        if self.dice.percent(50) {
            self.say_hello(host, connection, peer);
        }
    }

    fn say_hello(&mut self, host: usize, connection: u64, peer: EndpointId) {
        let Host {
            ref name, listens, ..
        } = self.hosts[host];
        let (name, message) = (name.clone(), FakeAgent::hello(name, peer, !listens));
        self.deliver(connection, peer, &name, &message);
    }

    pub(super) fn deliver(
        &mut self,
        connection: u64,
        peer: EndpointId,
        name: &ZeekString,
        message: &AgentMessage,
    ) {
        let delay = self.dice.millis(0, 20);
        self.send(delay, connection, peer, name, message);
    }

    /// An agent says something that arrives after a while.
    fn send(
        &mut self,
        delay: Duration,
        connection: u64,
        peer: EndpointId,
        name: &ZeekString,
        message: &AgentMessage,
    ) {
        let topic = ZeekString::from(format!("zeek/management/agent/{name}"));
        for sent in self.translators.sent_to_controller(peer, &topic, message) {
            self.after(delay, Happening::ToController(connection, peer, sent));
        }
    }

    fn at_agent(&mut self, peer: EndpointId, connection: u64, request: AgentRequest) {
        let Some(host) = self.network.host_of(peer) else {
            return; // A stranger does not care.
        };
        let ignored = self.troubled && self.dice.percent(4);
        if ignored {
            let host = &mut self.hosts[host];
            match request {
                AgentRequest::AgentStandby { .. } => host.disobedient = true,
                // What one is told that is taken for an agent of 4.1.
                AgentRequest::Deploy { config, .. } if config.id.is_empty() => host.disobedient = true,
                AgentRequest::Deploy { .. } => self.excused = true,
                _ => {}
            }
            return;
        }
        let Host {
            agent,
            start_up,
            name,
            ..
        } = &mut self.hosts[host];
        let before = agent.running().cloned();
        let mut answer = agent.answer(&request);
        let starts = matches!(request, AgentRequest::Deploy { .. }) && agent.running() != before.as_ref();
        let mut delay = if starts {
            *start_up
        } else {
            Duration::from_millis(1)
        };
        let name = name.clone();
        if self.troubled && self.dice.percent(3) {
            answer = with_results(answer, spoilt);
        }
        if self.troubled && self.dice.percent(3) {
            delay += Duration::from_secs(12);
        }
        if self.troubled && self.dice.percent(10) {
            let again = delay + self.dice.millis(0, 50);
            self.send(again, connection, peer, &name, &answer);
        }
        self.send(delay, connection, peer, &name, &answer);
    }

    pub(super) fn step(&mut self, input: Input) {
        survives_json(self.journaled, &input);
        let of_agent = matches!(input, Input::Agent { .. });
        let actions = self.controller.step(self.now, input);
        survives_json(self.journaled, &actions);
        if let Some(deadline) = self.controller.deadline() {
            assert!(deadline > self.now && deadline - self.now <= Duration::from_secs(18));
        }
        for action in actions {
            if self.crashes_before_an_action() {
                self.crash_controller();
                return;
            }
            match action {
                Action::Log { message, .. } => {
                    let redeployed = message.starts_with("no deployment in progress");
                    self.saw("a deployment that no client asked for", redeployed.into());
                    let answered =
                        message.starts_with("rx Management::Agent::API::") && message.contains("_response ");
                    self.saw(
                        "an answer in an older agent's place",
                        (answered && !of_agent).into(),
                    );
                }
                Action::Report(_) | Action::Event(_) | Action::Recall { .. } => {}
                Action::Answer { id, outcome } => self.operator_answered(id, outcome),
                Action::Vitals { vitals, .. } => self.examined(&vitals),
                Action::Persist { write, changes } => self.write(write, changes),
                Action::Connect { host, port } => {
                    self.targets.insert((host, port));
                    let host = self.hosts.iter().position(|other| other.address == host);
                    let delay = self.dice.millis(1, 500);
                    self.after(delay, Happening::Connect(host.expect("a host")));
                }
                Action::Disconnect { host, port } => {
                    self.targets.remove(&(host, port));
                    let host = self.hosts.iter().position(|other| other.address == host);
                    if let Some(peer) = self.network.end_of_host(host.expect("a host")) {
                        self.after(Duration::from_millis(2), Happening::Notice(peer));
                    }
                }
                Action::Publish {
                    event: Outgoing::Agent(request),
                    to: Audience::Peer(peer),
                    topic,
                } => {
                    self.note_change(&topic, &request);
                    if let Some(connection) = self.network.connection_of(peer) {
                        // What is sent on a connection arrives in order.
                        if let Some(sent) = self.translators.sent_to_agent(peer, &topic, &request) {
                            let delay = Duration::from_millis(3);
                            self.after(delay, Happening::ToAgent(connection, peer, sent));
                        }
                    }
                }
                Action::Publish {
                    event: Outgoing::Link(message),
                    to: Audience::Peer(peer),
                    ..
                } => self.link(peer, message),
                Action::Publish {
                    event: Outgoing::Shared(request),
                    to: Audience::Peer(peer),
                    ..
                } => self.link(peer, request.to_message()),
                Action::Publish {
                    event: Outgoing::Client(response),
                    to: Audience::Subscribers,
                    ..
                } => {
                    self.answered(response);
                }
                Action::Close { peer, .. } => {
                    self.network.leave(peer);
                    self.after(Duration::from_millis(2), Happening::Notice(peer));
                }
                Action::Publish { .. } => panic!("{action:?}"),
            }
        }
    }

    fn answered(&mut self, response: ClientResponse) {
        if response.kind() == RequestKind::Deploy {
            self.note_deployment(&response);
        }
        let key = (response.kind(), response.reqid().clone());
        assert!(self.owed.remove(&key), "no request is owed {response:?}");
        self.saw("an answer", 1);
        if let ClientResponse::GetConfiguration { result, .. } = &response {
            let stored = [&self.durable.staged, &self.durable.deployed];
            let shown = |config: &Option<Arc<Configuration>>| match config {
                Some(config) => result.data.as_ref() == Some(&to_data(config).unwrap()),
                None => !result.success,
            };
            assert!(stored.into_iter().any(shown), "{result:?} is not durable");
        }
        for result in response.results() {
            let error = result.error.as_ref().map(ToString::to_string).unwrap_or_default();
            let lost = error.contains(": connection to the agent lost");
            self.saw("a time-out", error.starts_with("request timed out").into());
            self.saw("a lost agent", lost.into());
            self.saw(
                "a deployment that could not run",
                error.contains("cannot run on instance").into(),
            );
            self.saw(
                "a wrong answer of an agent",
                error.starts_with("agent answered").into(),
            );
            if let (Some(instance), Some(data)) = (&result.instance, &result.data) {
                let owner = match response.kind() {
                    RequestKind::GetNodes => from_data::<Vec<NodeStatus>>(data.clone()).unwrap()[0]
                        .node
                        .clone(),
                    RequestKind::GetIdValue => from_data(data.clone()).unwrap(),
                    _ => continue,
                };
                assert_eq!(owner, *instance, "data of another agent");
            }
        }
        self.answers.push_back(response);
    }
}

/// In another's name, and with unexpected data.
fn spoilt(result: ResultRecord) -> ResultRecord {
    ResultRecord {
        instance: Some("host0".into()),
        data: Some(Data::Count(0)),
        ..result
    }
}

fn survives_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(wanted: bool, value: &T) {
    if wanted {
        let text = serde_json::to_string(value).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
    }
}
