//! Our agent as the peer under test, in this process: its core with the Supervisor's machine, and a Broker endpoint without
//! I/O.

use std::{sync::Arc, time::Duration};

use broker_codec::{EndpointId, Envelope, Topic, binary, data::ZeekString, handshake::Role, zeek::Event};
use broker_endpoint::Recipients;
use bytes::{Bytes, BytesMut};
use mgmt_agent::{
    core,
    machine::{Action, BrokerAgent, Input, Settings},
};
use mgmt_api::{Level, Now, SequentialIds, topics};

use super::{
    controller::journaled,
    endpoint::{Endpoint, Heard, Hearing},
    recording::Process,
    standin::unrecorded_peer,
    subject::{Sent, Subject},
};
use crate::tcp::Speaker;

/// The agent and what is around it.
pub(super) struct InProcess {
    process: Arc<Process>,
    agent: BrokerAgent,
    endpoint: Endpoint,
    now: Now,
    sent: Sent,
    /// How many peers there were that are not in the recording.
    unrecorded: usize,
}

impl InProcess {
    /// An agent with the recorded one's id.
    pub(super) fn new(process: Arc<Process>, settings: Settings, pid: i64, hearing: Hearing) -> Self {
        let mut replayed = Self {
            agent: BrokerAgent::new(settings, Box::new(SequentialIds::default())),
            endpoint: Endpoint::new(process.id, hearing),
            now: Now::START,
            sent: Sent::default(),
            unrecorded: 0,
            process,
        };
        replayed.step(Input::Agent(core::Input::Started {
            broker_id: replayed.process.id.to_string().into(),
            pid,
            clock: Duration::ZERO,
        }));
        replayed
    }

    /// Takes in what the endpoint has to tell, peerings first.
    fn hear(&mut self, heard: Option<Heard>) {
        let added = self.endpoint.added();
        self.hear_all(added.into_iter().chain(heard));
    }

    fn hear_all(&mut self, heard: impl Iterator<Item = Heard>) {
        for heard in heard {
            match heard {
                Heard::Added { link, peer } => {
                    let Some(known) = self.process.links.get(&link) else {
                        continue;
                    };
                    let dialled = known.own == Speaker::Client;
                    let input = Input::PeerAdded {
                        peer,
                        address: known.addresses.of(known.own.other()).to_string(),
                        is_supervisor: dialled && known.is_supervisor,
                        is_ours: known
                            .peer_filter
                            .iter()
                            .any(|topic| topic.as_bytes() == topics::LINK.as_bytes()),
                    };
                    self.step(input);
                }
                Heard::Lost { peer } => self.step(Input::PeerLost {
                    peer,
                    reason: "connection closed by the peer".into(),
                }),
                Heard::Message { peer, envelope } => {
                    if let Ok(data) = binary::decode(&envelope.payload) {
                        let topic = ZeekString::from(envelope.topic.as_bytes());
                        self.step(Input::Message { peer, topic, data });
                    }
                }
            }
        }
        self.sent.outputs.extend(self.endpoint.outputs());
    }

    fn step(&mut self, input: Input) {
        let input = journaled(input, &mut self.sent.complaints);
        for action in self.agent.step(self.now, input) {
            match journaled(action, &mut self.sent.complaints) {
                Action::Log {
                    level: Level::Debug, ..
                }
                | Action::Report { .. }
                | Action::MakeDirectory { .. }
                | Action::RunArchiver { .. }
                // The machine has made events of these.
                | Action::Tell(_)
                | Action::Ask(_)
                | Action::Supervise(_)
                // No recorded agent had started its Supervisor.
                | Action::EndSupervisor { .. }
                | Action::AskVersion
                // What the recorded agent heard and had no handler for.
                | Action::Refuse { .. } => {}
                Action::Log { message, .. } => self.sent.log.push(message),
                Action::Publish { to, topic, event } => {
                    // As Zeek 9.0 sends it: with an empty list of metadata.
                    let event = Event {
                        metadata: Some(Vec::new()),
                        ..event
                    };
                    let mut payload = BytesMut::new();
                    let encoded = binary::encode(&event.into_data(), &mut payload);
                    match (Topic::new(&topic), encoded) {
                        (Ok(topic), Ok(())) => {
                            let everyone = Recipients::all();
                            self.endpoint
                                .publish(topic, payload.freeze(), to.unwrap_or(EndpointId::NIL), &everyone);
                        }
                        (topic, encoded) => self.sent.complaints
                            .push(format!("cannot encode an event: {topic:?} {encoded:?}")),
                    }
                }
                Action::Unsendable { event, reason } => {
                    self.sent.complaints.push(format!("cannot send {event}: {reason}"));
                }
            }
        }
        self.sent.outputs.extend(self.endpoint.outputs());
    }
}

impl Subject for InProcess {
    fn opened(&mut self, link: usize) {
        let Some(known) = self.process.links.get(&link) else {
            return;
        };
        let role = match known.own {
            Speaker::Client => Role::Connector,
            Speaker::Server => Role::Acceptor,
        };
        self.endpoint.opened(link, role, &known.filter);
        self.sent.outputs.extend(self.endpoint.outputs());
    }

    fn handshake(&mut self, link: usize, frame: &Bytes) {
        self.endpoint.handshake(link, frame);
        let added = self.endpoint.added_early();
        self.hear_all(added.into_iter());
    }

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let heard = self.endpoint.envelope(link, &envelope);
        self.hear(heard);
    }

    fn unrecorded(&mut self, topic: &ZeekString, event: Event) {
        let peer = unrecorded_peer(self.unrecorded);
        self.unrecorded += 1;
        self.step(Input::PeerAdded {
            peer,
            address: "nowhere".into(),
            is_supervisor: false,
            is_ours: false,
        });
        self.step(Input::Message {
            peer,
            topic: topic.clone(),
            data: event.into_data(),
        });
    }

    fn text(&mut self, _link: usize, _text: &Bytes) {}

    fn closed(&mut self, link: usize) {
        let heard = self.endpoint.closed(link);
        self.hear(heard);
    }

    fn proceed(&mut self) {
        self.hear(None);
    }

    fn wait(&mut self, _link: Option<usize>) -> bool {
        self.hear(None);
        if !self.sent.outputs.is_empty() {
            return true;
        }
        let Some(deadline) = self.agent.deadline() else {
            return false;
        };
        self.now = deadline;
        self.step(Input::Agent(core::Input::Tick));
        true
    }

    fn sent(&mut self) -> &mut Sent {
        &mut self.sent
    }
}
