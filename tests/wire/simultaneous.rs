//! Two endpoints that connect to each other at the same time, in every order in which their messages can arrive.

use std::collections::{BTreeMap, HashSet, VecDeque};

use broker_codec::{
    ConnId, EndpointId,
    endpoint::{CloseReason, Output},
    handshake::{Close, Message, Role},
};

use super::node::{Action, Node, bytes};

/// Which endpoint: 0 has the smaller id.
type Endpoint = usize;

/// What is under way to an endpoint on a connection.
#[derive(Clone, Debug)]
enum Item {
    Message(Message),
    End,
}

#[derive(Clone, Debug)]
struct World {
    nodes: [Node; 2],
    /// By receiver and connection.
    under_way: BTreeMap<(Endpoint, ConnId), VecDeque<Item>>,
    /// Connections that are established, by endpoint.
    established: [Vec<ConnId>; 2],
    closed: Vec<(Endpoint, ConnId, Close)>,
    failures_left: usize,
}

/// Each connection is opened by the endpoint that stands for it.
fn world(openers: &[Endpoint], failures_left: usize) -> World {
    let ids = [0x11, 0xee].map(|byte| EndpointId::from_bytes([byte; 16]));
    let mut world = World {
        nodes: ids.map(|id| Node::new(id, &[])),
        under_way: BTreeMap::new(),
        established: [Vec::new(), Vec::new()],
        closed: Vec::new(),
        failures_left,
    };
    for (number, opener) in (1..).zip(openers) {
        let conn = ConnId(number);
        let roles = match opener {
            0 => [Role::Connector, Role::Acceptor],
            _ => [Role::Acceptor, Role::Connector],
        };
        let first = [0, 1].map(|endpoint| world.nodes[endpoint].open(conn, roles[endpoint]));
        for (endpoint, actions) in first.into_iter().enumerate() {
            world.follow(endpoint, actions);
        }
    }
    world
}

impl World {
    fn follow(&mut self, endpoint: Endpoint, actions: Vec<Action>) {
        for action in actions {
            let Action::Do(conn, output) = action else {
                continue;
            };
            match output {
                Output::Handshake(message) => self.send(endpoint, conn, Item::Message(message)),
                Output::Established { .. } => self.established[endpoint].push(conn),
                Output::Close(CloseReason::Handshake(reason)) => {
                    self.closed.push((endpoint, conn, reason));
                    self.established[endpoint].retain(|known| *known != conn);
                    self.under_way.remove(&(endpoint, conn));
                    self.send(endpoint, conn, Item::End);
                }
                other => panic!("no peer subscribes or leaves here: {other:?}"),
            }
        }
    }

    fn send(&mut self, from: Endpoint, conn: ConnId, item: Item) {
        let to = 1 - from;
        if self.nodes[to].open_connections().any(|open| open == conn) {
            self.under_way.entry((to, conn)).or_default().push_back(item);
        }
    }

    /// Every world that the next arrival, or the failure of a connection that one side sees first, may lead to.
    fn successors(&self) -> Vec<Self> {
        let mut successors = Vec::new();
        for ((to, conn), queue) in &self.under_way {
            if queue.is_empty() {
                continue;
            }
            let mut next = self.clone();
            let queue = next.under_way.get_mut(&(*to, *conn)).unwrap();
            let item = queue.pop_front().unwrap();
            if queue.is_empty() {
                next.under_way.remove(&(*to, *conn));
            }
            match item {
                Item::Message(message) => {
                    let actions = next.nodes[*to].receive(*conn, &bytes(&message));
                    next.follow(*to, actions);
                }
                Item::End => next.lose(*to, *conn),
            }
            successors.push(next);
        }
        if self.failures_left > 0 {
            for endpoint in [0, 1] {
                for conn in self.nodes[endpoint].open_connections() {
                    let mut next = self.clone();
                    next.failures_left -= 1;
                    next.lose(endpoint, conn);
                    next.send(endpoint, conn, Item::End);
                    successors.push(next);
                }
            }
        }
        successors
    }

    fn lose(&mut self, endpoint: Endpoint, conn: ConnId) {
        self.under_way.remove(&(endpoint, conn));
        self.established[endpoint].retain(|known| *known != conn);
        let actions = self.nodes[endpoint].lose(conn);
        self.follow(endpoint, actions);
    }
}

/// Visits every reachable world once; `check` sees those in which nothing more can happen. How many there are of both.
fn explore(start: World, check: impl Fn(&World)) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut quiet = 0;
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if !seen.insert(format!("{world:?}")) {
            continue;
        }
        if world.under_way.is_empty() {
            quiet += 1;
            check(&world);
        }
        open.extend(world.successors());
    }
    (seen.len(), quiet)
}

#[track_caller]
fn one_connection_survives(world: &World) {
    let [left, right] = &world.established;
    assert_eq!(left.len(), 1, "{world:#?}");
    assert_eq!(left, right, "{world:#?}");
    nothing_hangs(world);
    for (endpoint, _, reason) in &world.closed {
        match (endpoint, reason) {
            (0, Close::Refused(refusal)) => assert_eq!(refusal.code.to_string(), "redundant_connection"),
            (1, Close::Dropped(drop)) => {
                assert_eq!(drop.code.to_string(), "redundant_connection");
                let peer = world.nodes[0].endpoint.own_id();
                let other = world.nodes[1].endpoint.connection_with(peer);
                assert!(other.is_some(), "the responder must take it for success");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A connection that is not established is gone on both sides.
#[track_caller]
fn nothing_hangs(world: &World) {
    for endpoint in [0, 1] {
        let open: Vec<ConnId> = world.nodes[endpoint].open_connections().collect();
        assert_eq!(open, world.established[endpoint], "{world:#?}");
        let ours = &world.nodes[endpoint].endpoint;
        let connections: Vec<ConnId> = ours.peers().map(|(_, conn)| conn).collect();
        assert_eq!(connections, world.established[endpoint], "{world:#?}");
        let peer = world.nodes[1 - endpoint].endpoint.own_id();
        assert_eq!(ours.connection_with(peer), open.first().copied(), "{world:#?}");
    }
}

#[test]
fn of_two_simultaneous_connections_exactly_one_survives() {
    for openers in [[0, 1], [0, 0], [1, 1]] {
        let (worlds, quiet) = explore(world(&openers, 0), one_connection_survives);
        assert!(worlds > 50, "{worlds} worlds for {openers:?}");
        assert!(quiet > 1, "{quiet} ends for {openers:?}");
    }
}

#[test]
fn of_three_simultaneous_connections_exactly_one_survives() {
    let (worlds, _) = explore(world(&[0, 1, 0], 0), one_connection_survives);
    assert!(worlds > 500, "{worlds} worlds");
}

#[test]
fn a_connection_that_fails_at_any_time_leaves_nothing_hanging() {
    for openers in [[0, 1], [0, 0], [1, 1]] {
        let (worlds, _) = explore(world(&openers, 1), |world| {
            assert_eq!(world.established[0], world.established[1], "{world:#?}");
            assert!(world.established[0].len() <= 1, "{world:#?}");
            nothing_hangs(world);
        });
        assert!(worlds > 50, "{worlds} worlds for {openers:?}");
    }
}
