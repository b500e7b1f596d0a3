//! Who is connected under which name, when agents and strangers say anything.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{Data, EndpointId, data::ZeekString};
use mgmt_api::{
    API_VERSION, AgentMessage, ClientRequest, ClientResponse, Dialect, Now, SequentialIds, topics,
};
use mgmt_controller::core::{
    Action, Configurations, Controller, INSTANCE_NAME_BYTES_MAX, Input, Outgoing, REFUSED_HELLOS_MAX,
    Settings,
};
use proptest::prelude::*;

use super::transcript::peer_added;

/// What happens to a peer.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It connects; if it is there, the end of its last connection was not told.
    Arrive(u8),
    Leave(u8),
    /// It says hello under this name, rightly or in one of the ways that are refused.
    Hello(u8, u8, Fault),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Id,
    Topic,
    Version,
    Length,
}

fn event() -> impl Strategy<Value = Event> {
    let peer = || 0..4_u8;
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => prop::sample::select(vec![Fault::Id, Fault::Topic, Fault::Version, Fault::Length]),
    ];
    prop_oneof![
        2 => peer().prop_map(Event::Arrive),
        2 => peer().prop_map(Event::Leave),
        6 => (peer(), 0..3_u8, fault).prop_map(|(peer, name, fault)| Event::Hello(peer, name, fault)),
    ]
}

fn id(peer: u8) -> EndpointId {
    EndpointId::from_bytes([peer + 1; EndpointId::LEN])
}

/// As long as a name may be.
fn name(number: u8) -> ZeekString {
    format!("{number:x>INSTANCE_NAME_BYTES_MAX$}").into()
}

#[derive(Clone, Debug, Default)]
struct Peer {
    holds: Option<u8>,
    waits_for: Option<u8>,
    refused: u32,
    closed: bool,
}

struct World {
    controller: Controller,
    peers: BTreeMap<u8, Peer>,
    closed: BTreeSet<EndpointId>,
}

impl World {
    fn new() -> Self {
        let ids = Box::new(SequentialIds::default());
        Self {
            controller: Controller::new(Settings::default(), Configurations::default(), ids),
            peers: BTreeMap::new(),
            closed: BTreeSet::new(),
        }
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        let actions = self.controller.step(Now::START, input);
        for action in &actions {
            if let Action::Close { peer, .. } = action {
                assert!(self.closed.insert(*peer), "closed twice");
            }
        }
        actions
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(peer) => {
                self.free(peer);
                self.peers.insert(peer, Peer::default());
                self.closed.remove(&id(peer));
                self.step(peer_added(id(peer), "10.0.0.1:40000", "at"));
            }
            Event::Leave(peer) => {
                self.free(peer);
                self.peers.remove(&peer);
                self.closed.remove(&id(peer));
                self.step(Input::PeerLost {
                    peer: id(peer),
                    reason: "connection reset by peer".into(),
                });
            }
            Event::Hello(peer, instance, fault) => {
                self.expect_hello(peer, instance, fault);
                self.say_hello(peer, instance, fault);
            }
        }
    }

    /// The name is free, and gets the peer that waits for it.
    fn free(&mut self, peer: u8) {
        let gone = self.peers.get_mut(&peer).map(std::mem::take).unwrap_or_default();
        if let Some(name) = gone.holds
            && let Some(next) = self.peers.values_mut().find(|peer| peer.waits_for == Some(name))
        {
            next.holds = Some(name);
            next.waits_for = None;
        }
    }

    fn expect_hello(&mut self, peer: u8, instance: u8, fault: Fault) {
        let held = self.peers.values().any(|peer| peer.holds == Some(instance));
        let Some(said) = self.peers.get_mut(&peer).filter(|peer| !peer.closed) else {
            return;
        };
        if fault == Fault::None && (said.holds == Some(instance) || (said.holds.is_none() && !held)) {
            said.holds = Some(instance);
            said.waits_for = None;
            return;
        }
        if fault == Fault::None && said.holds.is_none() {
            said.waits_for = Some(instance);
        }
        said.refused += 1;
        if said.refused == REFUSED_HELLOS_MAX {
            self.free(peer);
            self.peers.insert(
                peer,
                Peer {
                    closed: true,
                    ..Peer::default()
                },
            );
        }
    }

    fn say_hello(&mut self, peer: u8, instance: u8, fault: Fault) {
        let said = match fault {
            Fault::Length => "x".repeat(INSTANCE_NAME_BYTES_MAX + 1).into(),
            _ => name(instance),
        };
        let topic = match fault {
            Fault::Topic => name(instance + 1),
            _ => said.clone(),
        };
        let message = AgentMessage::Hello {
            instance: said,
            id: match fault {
                Fault::Id => id(peer + 1).to_string().into(),
                _ => id(peer).to_string().into(),
            },
            connecting: true,
            api_version: match fault {
                Fault::Version => API_VERSION + 1,
                _ => API_VERSION,
            },
        };
        self.step(Input::Agent {
            peer: id(peer),
            topic: topics::agent(topics::AGENT_PREFIX.as_bytes(), &topic),
            message,
            dialect: Dialect::V7_0,
        });
    }

    /// What `get_instances` shows.
    fn known(&mut self) -> BTreeSet<ZeekString> {
        let reqid = ZeekString::from("r");
        let actions = self.step(Input::Request {
            principal: testkit::client(1),
            request: ClientRequest::GetInstances { reqid },
        });
        let result = actions.into_iter().find_map(|action| match action {
            Action::Publish {
                event: Outgoing::Client(ClientResponse::GetInstances { result, .. }),
                ..
            } => Some(result),
            _ => None,
        });
        let Some(Data::Vector(instances)) = result.unwrap().data else {
            panic!("no instances");
        };
        let name = |instance| match instance {
            Data::Vector(fields) => match &fields[0] {
                Data::String(name) => name.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        instances.into_iter().map(name).collect()
    }
}

proptest! {
    #[test]
    fn the_known_instances_are_exactly_those_whose_peer_is_connected(
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            let held = world.peers.values().filter_map(|peer| peer.holds);
            let held: BTreeSet<_> = held.map(name).collect();
            prop_assert_eq!(world.known(), held, "after {:?}", event);
            let closed = world.peers.iter().filter(|(_, peer)| peer.closed);
            let closed: BTreeSet<_> = closed.map(|(peer, _)| id(*peer)).collect();
            prop_assert_eq!(&world.closed, &closed, "after {:?}", event);
        }
        for peer in 0..4 {
            world.happen(Event::Leave(peer));
        }
        prop_assert_eq!(world.known(), BTreeSet::new());
    }
}

/// S1: the refused hello must not take the place of the accepted one, which says what the peer's end frees.
#[test]
fn a_peer_that_was_refused_another_name_frees_its_own_when_it_leaves() {
    let mut world = World::new();
    world.happen(Event::Arrive(0));
    world.happen(Event::Hello(0, 0, Fault::None));
    world.happen(Event::Hello(0, 1, Fault::None));
    assert_eq!(world.known(), BTreeSet::from([name(0)]));
    world.happen(Event::Leave(0));
    assert_eq!(world.known(), BTreeSet::new());
    world.happen(Event::Arrive(1));
    world.happen(Event::Hello(1, 0, Fault::None));
    assert_eq!(world.known(), BTreeSet::from([name(0)]));
}

/// S2: one peer is one instance, and one that goes on trying is disconnected.
#[test]
fn a_peer_that_says_hello_under_many_names_is_one_instance_and_is_disconnected() {
    let mut world = World::new();
    world.happen(Event::Arrive(0));
    for instance in 0..REFUSED_HELLOS_MAX {
        assert!(!world.closed.contains(&id(0)));
        world.say_hello(0, u8::try_from(instance).unwrap(), Fault::None);
        assert_eq!(world.known(), BTreeSet::from([name(0)]));
    }
    world.say_hello(0, 100, Fault::None);
    assert_eq!(world.closed, BTreeSet::from([id(0)]));
    assert_eq!(world.known(), BTreeSet::new());
}
