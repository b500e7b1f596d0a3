//! Raw-byte conversations with a script in the role of the peers: `tests/transcripts/handshake/`. Here without I/O; `over_tcp`
//! has them with the real endpoint.
//!
//! A line that begins with `>` is an input, `<` an expected action, `#` a comment; an empty line ends nothing. Inputs:
//!
//! | input | meaning |
//! |---|---|
//! | `endpoint ID [TOPIC...]` | begin anew with an endpoint of this id and filter |
//! | `open N connector` or `acceptor` | connection N is established by TCP |
//! | `N HEX...` | bytes arrive on connection N |
//! | `lost N` | connection N is closed by the peer |
//! | `+SECONDS` | time passes |
//! | `subscribe TOPIC` | we want more |
//! | `shut down` | we end |
//!
//! Ids are written as one letter that stands for 16 bytes: `A` is 1111..., `B` is 7777..., `C` is eeee....
//! `UPDATE_EXPECT=1` writes the expected actions anew.

use std::{fmt::Write as _, time::Duration};

use broker_codec::{
    ConnId, EndpointId, Envelope, Topic,
    endpoint::Output,
    handshake::{Message, Role},
};
use bytes::BytesMut;
use expect_test::expect_file;

use super::node::{Action, Node, bytes};
use crate::support::workspace_root;

#[test]
fn roles() {
    check("roles");
}

#[test]
fn messages_that_are_refused() {
    check("refused-messages");
}

#[test]
fn messages_at_the_wrong_time() {
    check("wrong-time");
}

#[test]
fn redundant_connections() {
    check("redundant");
}

#[test]
fn messages_on_a_connection_that_waits() {
    check("waiting");
}

#[test]
fn connections_while_we_shut_down() {
    check("shutting-down");
}

#[test]
fn drop_conn_from_the_peer() {
    check("dropped");
}

#[test]
fn ids_that_cannot_be_peers() {
    check("unusable-ids");
}

#[test]
fn peers_that_say_nothing() {
    check("timeouts");
}

#[test]
fn filters_that_change_during_a_handshake() {
    check("filters");
}

pub(super) const IDS: [(char, u8); 3] = [('A', 0x11), ('B', 0x77), ('C', 0xee)];

pub(super) fn id(name: &str) -> EndpointId {
    let named = IDS.iter().find(|(letter, _)| name == letter.to_string());
    EndpointId::from_bytes([named.unwrap_or_else(|| panic!("unknown id {name}")).1; 16])
}

#[track_caller]
fn check(name: &str) {
    let expected = expect_file![workspace_root().join(format!("tests/transcripts/handshake/{name}.txt"))];
    let mut actual = String::new();
    let mut node = None;
    for line in expected.data().lines().filter(|line| !line.starts_with('<')) {
        writeln!(actual, "{line}").unwrap();
        if let Some(input) = line.strip_prefix("> ") {
            for action in apply(&mut node, input) {
                writeln!(actual, "< {}", shown(&action)).unwrap();
            }
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{name}: {line}");
        }
    }
    expected.assert_eq(&actual);
}

fn apply(node: &mut Option<Node>, input: &str) -> Vec<Action> {
    let words: Vec<&str> = input.split_whitespace().collect();
    if let ["endpoint", name, topics @ ..] = words.as_slice() {
        let topics: Vec<Topic> = topics.iter().map(|topic| Topic::new(topic).unwrap()).collect();
        *node = Some(Node::new(id(name), &topics));
        return Vec::new();
    }
    let node = node.as_mut().expect("an endpoint comes first");
    let conn = |number: &str| ConnId(number.parse().unwrap());
    match words.as_slice() {
        ["open", number, "connector"] => node.open(conn(number), Role::Connector),
        ["open", number, "acceptor"] => node.open(conn(number), Role::Acceptor),
        ["lost", number] => node.lose(conn(number)),
        ["subscribe", topic] => node.subscribe(Topic::new(topic).unwrap()),
        ["shut", "down"] => node.shut_down(),
        [time] if time.starts_with('+') => node.pass_time(Duration::from_secs(time[1..].parse().unwrap())),
        [number, hex @ ..] => {
            let mut digits = String::new();
            for word in hex {
                match IDS.iter().find(|(letter, _)| *word == letter.to_string()) {
                    Some((_, byte)) => digits.push_str(&format!("{byte:02x}").repeat(16)),
                    None => digits.push_str(word),
                }
            }
            node.receive(conn(number), &hex::decode(&digits).expect("bytes"))
        }
        [] => panic!("an empty input"),
    }
}

fn shown(action: &Action) -> String {
    let (conn, output) = match action {
        Action::Do(conn, output) => (conn.0, output),
        Action::PeerLost(conn, peer) => return format!("{} peer lost: {}", conn.0, letter(*peer)),
    };
    match output {
        Output::Handshake(message) => format!("{conn} {} ({})", hex(&bytes(message)), describe(message)),
        Output::Established { peer, side, filter } => {
            let (peer, filter) = (letter(*peer), filter.topics());
            format!(
                "{conn} established with {peer} as {side:?}, filter {filter:?}\n< {conn} peer added: {peer}"
            )
        }
        Output::Close(reason) => format!("{conn} closed: {reason}"),
        Output::Send(envelope) => {
            format!(
                "{conn} {} ({})",
                hex(&envelope_bytes(envelope)),
                envelope.kind.name()
            )
        }
    }
}

pub(super) fn describe(message: &Message) -> String {
    match message {
        Message::DropConn(drop) => format!("drop_conn {}: {}", drop.code.0, drop.description),
        other => other.name().to_owned(),
    }
}

pub(super) fn letter(id: EndpointId) -> char {
    let named = IDS
        .iter()
        .find(|(_, byte)| id == EndpointId::from_bytes([*byte; 16]));
    named.map_or('?', |(letter, _)| *letter)
}

fn envelope_bytes(envelope: &Envelope) -> BytesMut {
    let mut out = BytesMut::new();
    envelope.encode_frame(&mut out).unwrap();
    out
}

/// The length, the first byte of the content, the rest with ids as letters.
pub(super) fn hex(frame: &[u8]) -> String {
    let digits = hex::encode(frame);
    let (length, content) = digits.split_at(8);
    let mut text = content.to_owned();
    for (letter, byte) in IDS {
        text = text.replace(&format!("{byte:02x}").repeat(16), &format!(" {letter} "));
    }
    let text: Vec<&str> = text.split_whitespace().collect();
    format!("{length} {}", text.join(" "))
}
