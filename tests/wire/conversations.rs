//! Raw-byte conversations with a script in the role of the peers: `tests/transcripts/handshake/`, which `over_tcp` has with the real
//! endpoint, too, and `handshake-machine/`. Here without I/O.
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
//! Ids are written as one letter, which stands for 16 of it. Among hexadecimal digits, text in quotes stands for its bytes.
//! `UPDATE_EXPECT=1` writes the expected actions anew.

use std::{fmt::Write as _, time::Duration};

use broker_codec::{
    ConnId, Topic,
    endpoint::Output,
    handshake::{Message, Role},
};
use bytes::BytesMut;
use testkit::transcript::{Machine, check_all, letter, peer_id};

use super::node::{Action, Node, bytes};
use crate::support::workspace_root;

#[test]
fn conversations_are_as_written() {
    let root = workspace_root();
    check_all::<Conversation>(root.join("tests/transcripts/handshake"), 7);
    // What waits, what time does, and what shutting down refuses: here, only the machine tells all.
    check_all::<Conversation>(root.join("tests/transcripts/handshake-machine"), 3);
}

#[derive(Default)]
struct Conversation(Option<Node>);

impl Machine for Conversation {
    fn input(&mut self, input: &str, out: &mut String) {
        for action in self.apply(input) {
            writeln!(out, "< {}", shown(&action)).unwrap();
        }
    }
}

impl Conversation {
    fn apply(&mut self, input: &str) -> Vec<Action> {
        let words: Vec<&str> = input.split_whitespace().collect();
        if let ["endpoint", name, topics @ ..] = words.as_slice() {
            let topics: Vec<Topic> = topics.iter().map(|topic| Topic::new(topic).unwrap()).collect();
            self.0 = Some(Node::new(peer_id(name), &topics));
            return Vec::new();
        }
        let node = self.0.as_mut().expect("an endpoint comes first");
        let conn = |number: &str| ConnId(number.parse().unwrap());
        match words.as_slice() {
            ["open", number, "connector"] => node.open(conn(number), Role::Connector),
            ["open", number, "acceptor"] => node.open(conn(number), Role::Acceptor),
            ["lost", number] => node.lose(conn(number)),
            ["subscribe", topic] => node.subscribe(Topic::new(topic).unwrap()),
            ["shut", "down"] => node.shut_down(),
            [time] if time.starts_with('+') => {
                node.pass_time(Duration::from_secs(time[1..].parse().unwrap()))
            }
            [number, words @ ..] => node.receive(conn(number), &spelled(words)),
            [] => panic!("an empty input"),
        }
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
            let mut frame = BytesMut::new();
            envelope.encode_frame(&mut frame).unwrap();
            format!("{conn} {} ({})", hex(&frame), envelope.kind.name())
        }
    }
}

pub(super) fn describe(message: &Message) -> String {
    match message {
        Message::DropConn(drop) => format!("drop_conn {}: {}", drop.code.0, drop.description),
        other => other.name().to_owned(),
    }
}

/// What hexadecimal digits, ids and quoted text stand for.
pub(super) fn spelled(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        if let Some(text) = word.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            bytes.extend_from_slice(text.as_bytes());
        } else if word.len() == 1 {
            bytes.extend_from_slice(peer_id(word).as_bytes());
        } else {
            bytes.extend(hex::decode(word).unwrap_or_else(|error| panic!("{word}: {error}")));
        }
    }
    bytes
}

/// The length, the first byte of the content, the rest with ids as letters.
pub(super) fn hex(frame: &[u8]) -> String {
    let digits = hex::encode(frame);
    let (length, content) = digits.split_at(8);
    let mut text = content.to_owned();
    for letter in ["A", "B", "C"] {
        text = text.replace(&hex::encode(peer_id(letter).as_bytes()), &format!(" {letter} "));
    }
    let text: Vec<&str> = text.split_whitespace().collect();
    format!("{length} {}", text.join(" "))
}
