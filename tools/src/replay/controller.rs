//! Our controller: its core and its [`Wire`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use broker_codec::{
    Data, EndpointId, Recipients,
    data::{Address, Port, ZeekString},
    json::DataMessage,
    websocket::{Accepted, PATH, ServerSession},
};
use bytes::Bytes;
use mgmt_api::{Dialect, Now, Principal, SequentialIds, Transport, WallClock};
use mgmt_controller::{
    core::{AbsentInstances, Action, Configurations, Controller, Input, Level, Listener, Settings},
    wire::{
        Assumed, ClientSession, Deliveries, FromClient, FromPeer, Inbound, NativePeers, Publication,
        ToNative, Wire,
    },
};

use super::{
    in_process::{Around, Daemon, Heard, Hearing, InProcess},
    recording::{Link, Process},
    subject::Output,
};
use crate::tcp::Speaker;

/// The controller with its clients and its store.
pub(super) struct OurController {
    controller: Controller,
    wire: Wire,
    clients: BTreeMap<usize, Client>,
    /// Where the core wants to be connected to.
    targets: BTreeSet<(Address, Port)>,
    pub(super) durable: Configurations,
}

/// A WebSocket client.
struct Client {
    session: ServerSession,
    reader: ClientSession,
    topics: Vec<ZeekString>,
}

/// A controller that restores these configurations, and takes those that have not shown what they speak for the recorded controller's
/// contemporaries.
pub(super) fn in_process(
    process: &Arc<Process>,
    restored: Configurations,
    hearing: Hearing,
    absent_instances: AbsentInstances,
) -> InProcess<OurController> {
    let settings = Settings {
        absent_instances,
        // They came with Zeek 7.0.
        auto_assign_metrics_ports: process.dialect >= Dialect::V7_0,
        ..Settings::default()
    };
    let ids = Box::new(SequentialIds::default());
    let ours = OurController {
        wire: Wire::new(settings.clone(), Assumed::all(process.dialect)),
        controller: Controller::new(settings, restored.clone(), ids),
        clients: BTreeMap::new(),
        targets: BTreeSet::new(),
        durable: restored,
    };
    // Where the recorded controller listened, as its log shows it.
    let listener = |port| Listener {
        address: IpAddr::from([0, 0, 0, 0]).to_string(),
        port: Port::tcp(port),
    };
    let started = Input::Started {
        broker_id: process.id.to_string(),
        broker: Some(listener(2150)),
        websocket: Some(listener(2149)),
        wall_clock: WallClock::default(),
    };
    InProcess::new(Arc::clone(process), hearing, ours, |ours, around| {
        ours.step(around, Some(started));
    })
}

impl Daemon for OurController {
    fn deadline(&self) -> Option<Now> {
        self.controller.deadline()
    }

    fn hear(&mut self, around: &mut Around, heard: Heard<'_>) {
        match heard {
            Heard::Tick => self.step(around, Some(Input::Tick)),
            // Only an agent takes leave.
            Heard::Added { link: None, .. } | Heard::Stopping { .. } => {}
            Heard::Added {
                link: Some(known),
                peer,
            } => {
                let dialled = known.own == Speaker::Client;
                let address = *known.addresses.of(known.own.other());
                let principal = Principal {
                    transport: Transport::Broker { peer },
                    address: Some(address),
                    certificate: None,
                    grant: None,
                };
                self.wire.peer_added(peer, dialled, principal);
                let added = Input::PeerAdded {
                    peer,
                    address: Address::from(address.ip()),
                    port: Port::tcp(address.port()),
                    dialled,
                    is_ours: known.plays_extension,
                    grant: None,
                };
                self.step(around, Some(added));
            }
            Heard::Lost { peer } => {
                self.wire.peer_lost(peer);
                let reason = "connection closed by the peer".into();
                self.step(around, Some(Input::PeerLost { peer, reason }));
            }
            Heard::Message { peer, topic, data } => self.read(around, peer, &topic, data),
            Heard::ClientAdded { link, known } => self.client_added(around, link, known),
            Heard::ClientSays { link, text } => self.client_says(around, link, text),
            Heard::ClientLost { link } => {
                if self.clients.remove(&link).is_some() {
                    self.wire.client_gone(number(link));
                }
            }
        }
    }

    fn connects_to(&self, address: SocketAddr) -> bool {
        let target = (Address::from(address.ip()), Port::tcp(address.port()));
        self.targets.contains(&target)
    }
}

impl OurController {
    /// A native peer has said something. What is on no topic of the controller's, such as log messages, is refused as in the runtime.
    fn read(&mut self, around: &mut Around, peer: EndpointId, topic: &ZeekString, data: Data) {
        let Some(mut session) = self.wire.session(peer) else {
            return;
        };
        let read = session.read(topic, data);
        self.wire.heard(session, read.as_ref().ok());
        let Ok(FromPeer { inbound, answers }) = read else {
            return;
        };
        for answer in answers {
            send(around, &answer);
        }
        if let Some(Inbound { input, copy }) = inbound {
            if let Some(copy) = copy {
                self.show(around, &Recipients::all(), &copy);
            }
            self.step(around, Some(input));
        }
    }

    /// Every write succeeds at once.
    fn step(&mut self, around: &mut Around, input: Option<Input>) {
        let mut inputs = VecDeque::from_iter(input);
        while let Some(input) = inputs.pop_front() {
            let input = around.journaled(input);
            for action in self.controller.step(around.now, input) {
                match around.journaled(action) {
                    Action::Log {
                        level: Level::Debug, ..
                    }
                    | Action::Report(_)
                    | Action::Event(_)
                    // No operator asks.
                    | Action::Recall { .. }
                    | Action::Answer { .. }
                    | Action::Vitals { .. } => {}
                    Action::Log { message, .. } => around.sent.log.push(message),
                    Action::Persist { write, changes } => {
                        self.durable.apply(changes);
                        inputs.push_back(Input::Persisted {
                            write,
                            outcome: Ok(()),
                        });
                    }
                    Action::Publish { topic, event, to } => match Publication::new(topic, &event, to) {
                        Ok(publication) => self.publish(around, &publication),
                        Err(error) => around.complain(format!("cannot encode an event: {error}")),
                    },
                    Action::Connect { host, port } => {
                        self.targets.insert((host, port));
                    }
                    Action::Disconnect { host, port } => {
                        self.targets.remove(&(host, port));
                    }
                    Action::Close { peer, reason } => {
                        around.complain(format!("closes the connection of {peer}: {reason}"));
                    }
                }
            }
        }
    }

    fn publish(&mut self, around: &mut Around, publication: &Publication) {
        let Deliveries {
            native,
            websocket,
            failures,
            // No client of a recording has roles.
            answer: _,
        } = self.wire.deliver(publication, true);
        for (party, error) in failures {
            around.complain(format!("cannot translate an event for {party}: {error}"));
        }
        for event in native {
            send(around, &event);
        }
        for (among, message) in websocket {
            self.show(around, &among, &message);
        }
    }

    /// To WebSocket clients that have subscribed to the topic.
    fn show(&self, around: &mut Around, among: &Recipients<u64>, message: &DataMessage) {
        let is_subscribed = |(link, client): &(&usize, &Client)| {
            let mut topics = client.topics.iter();
            among.include(&number(**link)) && topics.any(|prefix| message.topic.starts_with(prefix))
        };
        for (link, _) in self.clients.iter().filter(is_subscribed) {
            match message.encode() {
                Ok(text) => around.sent.outputs.push((*link, Output::Text(text.into()))),
                Err(error) => around.complain(format!("cannot write JSON: {error}")),
            }
        }
    }

    fn client_added(&mut self, around: &mut Around, link: usize, known: &Link) {
        let ack = known.ack.clone();
        let (endpoint, version) = ack.map(|ack| (ack.endpoint, ack.version)).unwrap_or_default();
        let session = match ServerSession::open(&endpoint, &version, PATH, None) {
            Ok(session) => session,
            Err(rejection) => return around.complain(rejection.to_string()),
        };
        let principal = Principal {
            transport: Transport::WebSocket {
                client: number(link),
                application: None,
            },
            address: Some(*known.addresses.of(known.own.other())),
            certificate: None,
            grant: None,
        };
        let client = Client {
            session,
            reader: self.wire.client_sessions()(principal.clone()),
            topics: Vec::new(),
        };
        self.wire.client_connected(number(link), principal);
        self.clients.insert(link, client);
    }

    fn client_says(&mut self, around: &mut Around, link: usize, text: &Bytes) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        let read = match client.session.handle(text) {
            Ok(Accepted::Subscribed { topics, ack }) => {
                client.topics = topics;
                around.sent.outputs.push((link, Output::Text(ack.into())));
                return;
            }
            Ok(Accepted::Publication(message)) => {
                let read = client.reader.read(message.clone());
                if let Ok(read) = &read {
                    self.wire.client_heard(number(link), read);
                    self.show(around, &Recipients::Except([number(link)].into()), &message);
                }
                read
            }
            Err(rejection) => Err(rejection),
        };
        match read {
            Ok(FromClient { input, answers, .. }) => {
                for answer in answers {
                    self.show(around, &Recipients::one(number(link)), &answer);
                }
                self.step(around, input);
            }
            Err(rejection) => {
                let text = Output::Text(rejection.to_json().into());
                around.sent.outputs.push((link, text));
            }
        }
    }
}

/// To native peers.
fn send(around: &mut Around, event: &ToNative) {
    let everyone = Recipients::all();
    let (receiver, among) = match &event.to {
        NativePeers::One(peer) => (*peer, &everyone),
        NativePeers::Subscribers(among) => (EndpointId::NIL, among),
    };
    match event.to_data() {
        Ok(data) => around.publish(&event.topic, &data, receiver, among),
        Err(error) => around.complain(format!("cannot read what is sent: {error}")),
    }
}

/// A client's number: that of its connection.
fn number(link: usize) -> u64 {
    u64::try_from(link).unwrap_or(u64::MAX)
}
