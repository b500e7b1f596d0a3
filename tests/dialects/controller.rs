//! The controller's transcripts.
//!
//! ```text
//! assume clients 4.1                        what silent clients, or agents, over Broker are taken to speak
//! > peer a at 10.0.0.1                      a peer connects to us,
//! > peer a dialled 10.0.0.1:2151            or we to it
//! > lost a                                  it is gone
//! > a TOPIC EVENT                           what it says; lines that begin with `>  ` continue it
//! > client TOPIC EVENT                      what a WebSocket client says
//! < a TOPIC EVENT                           what is sent to it,
//! < subscribers TOPIC EVENT                 or to all who subscribed,
//! < subscribers without a, b TOPIC EVENT    without those that get it in another dialect,
//! < a if subscribed TOPIC EVENT             which is this
//! < client TOPIC EVENT                      what the WebSocket client gets in its own dialect
//! < connect 10.0.0.1:2151/tcp
//! < stored DEPLOYED
//! < a speaks 4.2                            when more is known
//! < refused ...
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use broker_codec::{
    EndpointId, Recipients,
    data::{Port, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{Dialect, Now, Principal, SequentialIds, Transport};
use mgmt_controller::{
    core::{Action, Configurations, Controller, Input, Level, Settings},
    wire::{
        Assumed, ClientSession, Deliveries, FromClient, FromPeer, NativePeers, Publication, ToNative, Wire,
    },
};

use testkit::transcript::{Machine, check_all, letter, peer_id, time_passes, words};

use super::notation;
use crate::support::workspace_root;

#[test]
fn transcripts() {
    let folder = workspace_root().join("tests/transcripts/dialects/controller");
    check_all::<Run>(folder, 5);
}

const CLIENT: u64 = 1;

struct Run {
    controller: Controller,
    wire: Wire,
    client: ClientSession,
    now: Now,
    dialects: BTreeMap<EndpointId, [Dialect; 2]>,
    assumed: Assumed,
}

impl Default for Run {
    fn default() -> Self {
        Self::new(Assumed::default())
    }
}

impl Machine for Run {
    fn prepare(&mut self, line: &str) {
        let mut assumed = self.assumed;
        match words(line) {
            ["assume", "agents", dialect] => assumed.agents = dialect.parse().expect("a dialect"),
            ["assume", "clients", dialect] => assumed.clients = dialect.parse().expect("a dialect"),
            other => panic!("{other:?}"),
        }
        *self = Self::new(assumed);
    }

    fn input(&mut self, line: &str, out: &mut String) {
        if let Some(time) = time_passes(line) {
            self.now = self.now + time;
            self.step(vec![Input::Tick], out);
            return;
        }
        let (who, rest) = line.split_once(' ').expect("more than a word");
        match who {
            "peer" => self.added(rest, out),
            "lost" => {
                let peer = peer_id(rest);
                self.wire.peer_lost(peer);
                self.dialects.remove(&peer);
                let reason = "gone".into();
                self.step(vec![Input::PeerLost { peer, reason }], out);
            }
            "client" => self.client_says(rest, out),
            _ => self.peer_says(peer_id(who), rest, out),
        }
    }
}

impl Run {
    fn new(assumed: Assumed) -> Self {
        let settings = Settings::default();
        let mut wire = Wire::new(settings.clone(), assumed);
        wire.client_connected(CLIENT, testkit::client(CLIENT));
        Self {
            controller: Controller::new(
                settings,
                Configurations::default(),
                Box::new(SequentialIds::default()),
            ),
            client: wire.client_sessions()(testkit::client(CLIENT)),
            wire,
            now: Now::START,
            dialects: BTreeMap::new(),
            assumed,
        }
    }

    fn added(&mut self, text: &str, out: &mut String) {
        let [name, how, at] = words(text);
        let (peer, dialled) = (peer_id(name), how == "dialled");
        let (address, port) = at.split_once(':').unwrap_or((at, "40000"));
        let principal = Principal {
            transport: Transport::Broker { peer },
            ..testkit::client(0)
        };
        self.wire.peer_added(peer, dialled, principal);
        self.dialects
            .extend(self.wire.dialects(peer).map(|dialects| (peer, dialects)));
        let added = Input::PeerAdded {
            peer,
            address: address.parse().expect("an address"),
            port: Port::tcp(port.parse().expect("a port")),
            dialled,
            is_ours: false,
            grant: None,
        };
        self.step(vec![added], out);
    }

    fn peer_says(&mut self, peer: EndpointId, text: &str, out: &mut String) {
        let (topic, event) = text.split_once(' ').expect("a topic and an event");
        let mut session = self.wire.session(peer).expect("it is connected");
        let read = session.read(topic.as_bytes(), notation::event(event).into_data());
        self.wire.heard(session, read.as_ref().ok());
        self.learn(out);
        match read {
            Ok(FromPeer { inbound, answers }) => {
                for answer in answers {
                    show(&answer, out);
                }
                self.step(inbound.into_iter().map(|inbound| inbound.input).collect(), out);
            }
            Err(refusal) => writeln!(out, "< refused {refusal}").expect("to memory"),
        }
    }

    fn client_says(&mut self, text: &str, out: &mut String) {
        let (topic, event) = text.split_once(' ').expect("a topic and an event");
        let message = DataMessage {
            topic: topic.into(),
            data: notation::event(event).into_data(),
        };
        let FromClient { input, answers, .. } = match self.client.read(message) {
            Ok(read) => {
                self.wire.client_heard(CLIENT, &read);
                read
            }
            Err(rejection) => {
                writeln!(out, "< refused {}", rejection.context).expect("to memory");
                return;
            }
        };
        for answer in answers {
            show_message(answer, out);
        }
        self.step(input.into_iter().collect(), out);
    }

    /// Every write succeeds at once.
    fn step(&mut self, inputs: Vec<Input>, out: &mut String) {
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            for action in self.controller.step(self.now, input) {
                match action {
                    Action::Log {
                        level: Level::Warning | Level::Error,
                        message,
                    } => writeln!(out, "< WARNING {message}").expect("to memory"),
                    Action::Log { .. }
                    | Action::Report(_)
                    | Action::Event(_)
                    | Action::Recall { .. }
                    | Action::Answer { .. }
                    | Action::Vitals { .. } => {}
                    Action::Persist { write, changes } => {
                        for (slot, _) in changes.entries {
                            writeln!(out, "< stored {slot}").expect("to memory");
                        }
                        let outcome = Ok(());
                        inputs.push_back(Input::Persisted { write, outcome });
                    }
                    Action::Publish { topic, event, to } => {
                        let publication = Publication::new(topic, &event, to).expect("it can be encoded");
                        self.deliver(&publication, out);
                    }
                    Action::Connect { host, port } => {
                        writeln!(out, "< connect {host}:{port}").expect("to memory");
                    }
                    Action::Disconnect { host, port } => {
                        writeln!(out, "< disconnect {host}:{port}").expect("to memory");
                    }
                    Action::Close { peer, reason } => panic!("{peer} is disconnected: {reason}"),
                }
            }
        }
    }

    fn deliver(&mut self, publication: &Publication, out: &mut String) {
        let Deliveries {
            native,
            websocket,
            failures,
            answer: _,
        } = self.wire.deliver(publication, true);
        assert!(failures.is_empty(), "{failures:?}");
        for sent in native {
            show(&sent, out);
        }
        for (among, message) in websocket {
            if among == Recipients::one(CLIENT) {
                show_message(message, out);
            }
        }
        self.learn(out);
    }

    fn learn(&mut self, out: &mut String) {
        for (peer, before) in &mut self.dialects {
            let now = self.wire.dialects(*peer).expect("it is connected");
            for (before, now) in before.iter_mut().zip(now) {
                if *before != now {
                    *before = now;
                    writeln!(out, "< {} speaks {now}", letter(*peer)).expect("to memory");
                }
            }
        }
    }
}

fn show(sent: &ToNative, out: &mut String) {
    let to = match &sent.to {
        NativePeers::One(peer) => letter(*peer).to_string(),
        NativePeers::Subscribers(Recipients::Except(peers)) if peers.is_empty() => "subscribers".into(),
        NativePeers::Subscribers(Recipients::Except(peers)) => {
            let names: Vec<String> = peers.iter().map(|peer| letter(*peer).to_string()).collect();
            format!("subscribers without {}", names.join(", "))
        }
        NativePeers::Subscribers(Recipients::Only(peers)) => {
            let names: Vec<String> = peers.iter().map(|peer| letter(*peer).to_string()).collect();
            format!("{} if subscribed", names.join(", "))
        }
    };
    let event = Event::from_data(sent.to_data().expect("a value")).expect("an event");
    show_line(&to, &sent.topic, &event, out);
}

fn show_message(message: DataMessage, out: &mut String) {
    let event = Event::from_data(message.data).expect("an event");
    show_line("client", &message.topic, &event, out);
}

fn show_line(to: &str, topic: &ZeekString, event: &Event, out: &mut String) {
    writeln!(out, "< {to} {topic} {}", notation::show_event(event)).expect("to memory");
}
