//! The agent's core, seen from outside: transcripts, properties.

mod limits;
mod properties;
mod transcript;

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/transcripts");
    testkit::transcript::check_all::<transcript::Run>(folder, 32);
}
