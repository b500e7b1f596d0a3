//! The frames of the recorded conversations, with what Broker's own decoder made of them.

use std::{fs::File, io::Read, sync::OnceLock};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

use super::workspace_root;

/// Folders below `fixtures/` that hold one recording each.
pub(crate) const RECORDINGS: [&str; 20] = [
    "mixed/mixed-6-9",
    "mixed/mixed-9-6",
    "zeek-6.0.9/a2c",
    "zeek-6.0.9/c2a",
    "zeek-6.0.9/failing-node",
    "zeek-6.0.9/no-agents",
    "zeek-6.0.9/restart-controller",
    "zeek-6.0.9/two-instances",
    "zeek-6.0.9/validation",
    "zeek-9.0.0-rc1/a2c",
    "zeek-9.0.0-rc1/all-in-one",
    "zeek-9.0.0-rc1/c2a",
    "zeek-9.0.0-rc1/cluster-controller-api",
    "zeek-9.0.0-rc1/failing-node",
    "zeek-9.0.0-rc1/no-agents",
    "zeek-9.0.0-rc1/old-clients",
    "zeek-9.0.0-rc1/restart-controller",
    "zeek-9.0.0-rc1/seed-api",
    "zeek-9.0.0-rc1/two-instances",
    "zeek-9.0.0-rc1/validation",
];

/// How many frames all recordings have.
pub(crate) const FRAMES: usize = 10_561;

/// A line of `frames.jsonl.gz`.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame {
    /// The number of the connection.
    pub(crate) conn: u32,
    /// The port of the side that opened it.
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    pub(crate) from: Side,
    /// Whether the handshake was still going on.
    pub(crate) phase: Phase,
    /// The content, without the length before it.
    #[serde(rename = "hex", deserialize_with = "from_hex")]
    pub(crate) bytes: Vec<u8>,
    /// What Broker decoded.
    pub(crate) message: Option<Value>,
    /// What Broker decoded, where its JSON is not valid.
    #[serde(default, deserialize_with = "from_optional_hex")]
    pub(crate) message_json_hex: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Handshake,
    Operation,
}

/// Every frame of a recording, in order per connection. Read once for all tests.
pub(crate) fn frames(recording: &str) -> &'static [Frame] {
    static READ: [OnceLock<Vec<Frame>>; RECORDINGS.len()] = [const { OnceLock::new() }; RECORDINGS.len()];
    let number = RECORDINGS.iter().position(|known| *known == recording);
    READ[number.expect("a known recording")].get_or_init(|| read_frames(recording))
}

fn read_frames(recording: &str) -> Vec<Frame> {
    unpacked(&format!("{recording}/frames.jsonl.gz"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

/// The text of a compressed fixture.
fn unpacked(name: &str) -> String {
    let path = workspace_root().join("fixtures").join(name);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("compressed text");
    text
}

fn from_hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let digits = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    hex::decode(&*digits).map_err(serde::de::Error::custom)
}

fn from_optional_hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    from_hex(deserializer).map(Some)
}

/// The lines of `fixtures/bench/NAME.hex.gz`: an envelope each.
pub(crate) fn bench_lines(name: &str) -> Vec<String> {
    let text = unpacked(&format!("bench/{name}.hex.gz"));
    text.lines().map(str::to_owned).collect()
}
