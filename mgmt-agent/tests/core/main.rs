//! The agent's core, seen from outside: transcripts, properties.

mod limits;
mod own;
mod peers;
mod properties;
mod supervisor;
mod transcript;
mod zeek_properties;

use testkit::transcript::check_all;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core");

#[test]
fn transcripts() {
    check_all::<transcript::Run>(format!("{FOLDER}/transcripts"), 54);
}

#[test]
fn transcripts_with_peers() {
    check_all::<peers::Run>(format!("{FOLDER}/peers"), 11);
}

#[test]
fn transcripts_with_zeeks_supervisor() {
    check_all::<supervisor::Run>(format!("{FOLDER}/supervisor"), 12);
}
