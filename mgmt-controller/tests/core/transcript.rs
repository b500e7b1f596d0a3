//! Transcripts: text files that say what the controller does when something happens to it.
//!
//! ```text
//! settings {"auto_assign_broker_ports": false}     before the first input: what differs from Zeek's defaults
//! restored {"deployed": {...}}                     before the first input: the configurations in the store
//! cluster c1 {"deployed": {...}}                   likewise, those of another cluster
//! id {"identity": "...", "generation": 0}          likewise, who it is to agents; without, it does not say
//! > started                                        an input; with Zeek's default listeners
//! > started {"broker_id": "id", ...}               or with others
//! > persisted 1                                    write 1 is durable
//! > persisted 1 no space left on device            write 1 failed
//! > recalled 1 {...}                               what recall 1 has fetched is this configuration,
//! > recalled 1 not there                           or it has failed
//! > peer a at 10.0.0.1:40000                       a native peer connects to us,
//! > peer a dialled 10.0.0.1:2151                   or we to it
//! > peer a ours 10.0.0.1:40000                    or one that speaks the extension
//! > lost a connection reset by peer                the connection ends
//! > hello a host1                                  it says that it is the agent of this instance
//! > agent a host1 deploy_response {...}            any other event of agents, on the topic of this instance
//! > link a announce {...}                          a message of the extension
//! > operator 1 "Status"                            an operator asks on the control socket; the answer names the number
//! > operator 1 @c1 "Status"                        the same of a cluster besides default
//! > clusters 1                                     an operator asks which clusters there are
//! > stopping                                       the end
//! > deploy_request {"reqid": "r1"}                 a request; lines that begin with `>  ` continue it
//! > set_configuration_request {...}                one of a client of Zeek before 5.0
//! < INFO rx ...                                    expected actions: a log line,
//! < report WARNING instance ...                    a line on standard error, and an event
//! < event WARNING node CRASHED: ...                 an event only
//! < persist 1                                      a write (of a cluster besides default: persist 1 c1, and persist 1 c1 removed): slot, configuration, then its instances and nodes
//! <   STAGED {"id": "c1"}
//! <     instance {...}
//! <     node {...}
//! <   dismissed [{...}]                            the dropped instances that are to be remembered, if these change
//! <   revision 2 c1 of 1795877280 by ...: NOTE     the revision that is recorded; what is not known is left out
//! <   pruned [1]                                   the numbers of those that go for it
//! < recall 1 c1 2                                  revision 2 of cluster c1 is to be fetched from the store
//! < publish TOPIC EVENT {...}                      an event,
//! < send a TOPIC EVENT {...}                       one for this peer only,
//! < show TOPIC EVENT {...}                         one for WebSocket clients only
//! < connect 10.0.0.1:2151/tcp
//! < disconnect 10.0.0.1:2151/tcp
//! < answer 1 {...}                                  what the operator is told,
//! < refuse 1 {...}                                  or why not
//! < close a: REASON                                the connection to this peer is ended
//! < deadline 10s                                   after time has passed: when the next tick is due
//! ```
//!
//! See [`testkit::transcript`] for the rest. Modules are `Management::Controller::API` for requests and `Management::Agent::API` for agents.
//! Peers have names of one letter.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use broker_codec::{EndpointId, data::Port};
use counters::Registry;
use mgmt_api::{
    AgentMessage, Configuration, ControllerId, Dialect, Now, SequentialIds, WallClock, operator::Event,
    topics,
};
use mgmt_controller::core::{
    Action, Audience, ClusterName, Configurations, Controller, Input, Listener, Outgoing, RecallId, Recorded,
    Settings, WriteId,
};
use testkit::{
    FakeAgent, client, operator,
    transcript::{self, Machine, json, letter, name_and_fields, peer_id, time_passes, value, variant, words},
};

#[derive(Default)]
pub(crate) struct Run {
    settings: Settings,
    restored: Configurations,
    clusters: Vec<(ClusterName, Configurations)>,
    id: Option<ControllerId>,
    controller: Option<Controller>,
    now: Now,
}

impl Machine for Run {
    fn prepare(&mut self, line: &str) {
        if let Some(changes) = line.strip_prefix("settings ") {
            transcript::change(&mut self.settings, changes);
        } else if let Some(cluster) = line.strip_prefix("cluster ") {
            let [name, restored] = words(cluster);
            self.clusters.push((name.try_into().unwrap(), json(restored)));
        } else if let Some(id) = line.strip_prefix("id ") {
            self.id = Some(json(id));
        } else {
            self.restored = json(line.strip_prefix("restored ").expect("settings, or restored"));
        }
    }

    fn input(&mut self, text: &str, out: &mut String) {
        if let ("counters", Some(controller)) = (text, &self.controller) {
            let mut registry = Registry::default();
            registry.add("", &controller.counters());
            writeln!(out, "< {}", value(&registry)).unwrap();
            return;
        }
        let input = self.parse(text);
        let tick = input == Input::Tick;
        let now = self.now;
        let controller = self.controller.get_or_insert_with(|| {
            let ids = Box::new(SequentialIds::default());
            let controller = Controller::new(self.settings.clone(), self.restored.clone(), ids);
            let controller = controller.with_clusters(self.clusters.clone());
            controller.with_id(self.id.clone())
        });
        for action in controller.step(now, input) {
            print(&action, out);
        }
        if let (true, Some(deadline)) = (tick, controller.deadline()) {
            writeln!(out, "< deadline {deadline}").unwrap();
        }
    }
}

impl Run {
    fn parse(&mut self, text: &str) -> Input {
        if let Some(time) = time_passes(text) {
            self.now = self.now + time;
            return Input::Tick;
        }
        match text.split_once(' ').unwrap_or((text, "")) {
            ("peer", fields) => {
                let [name, how, at] = words(fields);
                peer_added(peer_id(name), at, how)
            }
            ("lost", fields) => {
                let [name, reason] = words(fields);
                Input::PeerLost {
                    peer: peer_id(name),
                    reason: reason.into(),
                }
            }
            ("hello", fields) => {
                let [name, instance] = words(fields);
                let peer = peer_id(name);
                let message = FakeAgent::hello(&instance.into(), peer, true);
                agent(peer, instance, message)
            }
            ("agent", fields) => {
                let [name, instance, event, fields] = words(fields);
                let message = variant(&format!("Management::Agent::API::{event}"), fields);
                agent(peer_id(name), instance, message)
            }
            ("link", fields) => {
                let [name, event, fields] = words(fields);
                Input::Link {
                    peer: peer_id(name),
                    message: variant(&format!("MgmtLink::{event}"), fields),
                }
            }
            ("operator", fields) => operates(fields),
            ("clusters", id) => Input::Clusters {
                id: id.parse().unwrap(),
                principal: operator(),
            },
            ("vitals", "") => Input::Vitals { id: 1 },
            ("started", "") => started(),
            ("stopping", "") => Input::Stopping,
            ("started", fields) => variant("Started", fields),
            ("persisted", outcome) => {
                let (write, error) = outcome.split_once(' ').unwrap_or((outcome, ""));
                Input::Persisted {
                    write: WriteId(write.parse().unwrap()),
                    outcome: if error.is_empty() {
                        Ok(())
                    } else {
                        Err(error.into())
                    },
                }
            }
            ("recalled", outcome) => recalled(outcome),
            ("set_configuration_request", fields) => {
                let fields: serde_json::Value = json(fields);
                let field = |name: &str| fields[name].to_string();
                Input::SetConfiguration {
                    principal: client(1),
                    reqid: json(&field("reqid")),
                    config: json(&field("config")),
                }
            }
            (event, fields) => Input::Request {
                principal: client(1),
                request: variant(&format!("Management::Controller::API::{event}"), fields),
            },
        }
    }
}

/// The store has fetched a configuration, or has not.
fn recalled(outcome: &str) -> Input {
    let [recall, fetched] = words(outcome);
    Input::Recalled {
        recall: RecallId(recall.parse().unwrap()),
        outcome: if fetched.starts_with('{') {
            Ok(json(fetched))
        } else {
            Err(fetched.into())
        },
    }
}

/// An operator asks, of `default` or of the cluster that is named.
fn operates(fields: &str) -> Input {
    let [id, request] = words(fields);
    let (cluster, request) = match request.strip_prefix('@') {
        Some(of_cluster) => of_cluster.split_once(' ').expect("a cluster, and a request"),
        None => ("default", request),
    };
    Input::Operator {
        id: id.parse().unwrap(),
        principal: operator(),
        cluster: cluster.into(),
        request: json(request),
    }
}

/// How is `at`, `dialled` or `ours`.
pub(crate) fn peer_added(peer: EndpointId, at: &str, how: &str) -> Input {
    let (address, port) = at.rsplit_once(':').expect("an address and a port");
    Input::PeerAdded {
        peer,
        address: address.parse().unwrap(),
        port: Port::tcp(port.parse().unwrap()),
        dialled: how == "dialled",
        is_ours: how == "ours",
        grant: None,
    }
}

/// An agent says this on the topic of its instance.
pub(crate) fn agent(peer: EndpointId, instance: &str, message: AgentMessage) -> Input {
    Input::Agent {
        peer,
        topic: topics::agent(topics::AGENT_PREFIX.as_bytes(), instance.as_bytes()),
        message,
        dialect: Dialect::V7_0,
    }
}

/// The controller has started and listens where Zeek's does by default.
pub(crate) fn started() -> Input {
    let listener = |port| {
        Some(Listener {
            address: "0.0.0.0".into(),
            port: Port::tcp(port),
        })
    };
    Input::Started {
        broker_id: "3cfb104e-6fbd-5065-a31c-be18be4b79e0".into(),
        broker: listener(2150),
        websocket: listener(2149),
        wall_clock: WallClock::from_unix(Duration::from_secs(1_795_877_280)),
    }
}

fn print(action: &Action, out: &mut String) {
    match action {
        Action::Log { level, message } => writeln!(out, "< {level} {message}"),
        Action::Report(event) => {
            let cluster = ClusterName::try_from(event.cluster.as_str()).unwrap();
            writeln!(out, "< report {} {}", event.level, cluster.line(&event.message))
        }
        Action::Event(event) => {
            let state = event.state.map(|state| format!(" {state}")).unwrap_or_default();
            let Event {
                level, kind, message, ..
            } = &**event;
            writeln!(out, "< event {level} {kind}{state}: {message}")
        }
        Action::Persist { write, changes } => {
            write!(out, "< persist {write}").unwrap();
            if let Some(cluster) = &changes.cluster {
                write!(out, " {cluster}").unwrap();
            }
            writeln!(out, "{}", if changes.is_removal { " removed" } else { "" }).unwrap();
            for (slot, config) in &changes.entries {
                print_configuration(&slot.to_string(), config, out);
            }
            if let Some(instances) = &changes.dismissed {
                writeln!(out, "<   dismissed {}", value(instances)).unwrap();
            }
            print_recorded(&changes.recorded, out)
        }
        Action::Recall {
            recall,
            cluster,
            number,
        } => writeln!(out, "< recall {} {cluster} {number}", recall.0),
        Action::Connect { host, port } => writeln!(out, "< connect {host}:{port}"),
        Action::Disconnect { host, port } => writeln!(out, "< disconnect {host}:{port}"),
        Action::Answer { id, outcome } => match outcome {
            Ok(json) => writeln!(out, "< answer {id} {json}"),
            Err(refusal) => writeln!(out, "< refuse {id} {}", value(refusal)),
        },
        Action::Vitals { vitals, .. } => {
            for text in &vitals.failing {
                writeln!(out, "< failing {text}").unwrap();
            }
            for cluster in &vitals.clusters {
                writeln!(out, "< cluster {}", value(cluster)).unwrap();
            }
            for node in &vitals.nodes {
                writeln!(out, "< node {}", value(node)).unwrap();
            }
            Ok(())
        }
        Action::Close { peer, reason } => {
            writeln!(out, "< close {}: {reason}", letter(*peer))
        }
        Action::Publish { topic, event, to } => {
            let (name, fields) = match event {
                Outgoing::Client(response) => name_and_fields(response),
                Outgoing::Agent(request) => name_and_fields(request),
                Outgoing::News(message) => name_and_fields(message),
                Outgoing::Link(message) => name_and_fields(message),
                Outgoing::Shared(request) => name_and_fields(&request.to_message()),
            };
            assert!(event.event_name().ends_with(&format!("::{name}")));
            match to {
                Audience::Subscribers => writeln!(out, "< publish {topic} {name} {fields}"),
                Audience::Peer(peer) => writeln!(out, "< send {} {topic} {name} {fields}", letter(*peer)),
                Audience::Client(client) => writeln!(out, "< tell client {client} {topic} {name} {fields}"),
                Audience::NativeClient(peer) => {
                    writeln!(out, "< tell client {} {topic} {name} {fields}", letter(*peer))
                }
            }
        }
    }
    .unwrap();
}

fn print_recorded(recorded: &Recorded, out: &mut String) -> fmt::Result {
    for (revision, _) in &recorded.added {
        write!(out, "<   revision {} {}", revision.number, revision.configuration)?;
        if let Some(at) = revision.at {
            write!(out, " of {at}")?;
        }
        if let Some(asked_by) = &revision.asked_by {
            write!(out, " by {asked_by}")?;
        }
        if let Some(note) = &revision.note {
            write!(out, ": {note}")?;
        }
        writeln!(out)?;
    }
    if !recorded.pruned.is_empty() {
        writeln!(out, "<   pruned {:?}", recorded.pruned)?;
    }
    Ok(())
}

fn print_configuration(slot: &str, config: &Configuration, out: &mut String) {
    writeln!(out, "<   {slot} {{\"id\":{}}}", value(&config.id)).unwrap();
    for instance in &config.instances {
        writeln!(out, "<     instance {}", value(instance)).unwrap();
    }
    for node in &config.nodes {
        writeln!(out, "<     node {}", value(node)).unwrap();
    }
}
