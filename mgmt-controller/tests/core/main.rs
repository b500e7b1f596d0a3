//! The controller's core, seen from outside: transcripts, properties of names and ports, a simulated world.

mod clusters;
mod limits;
mod membership;
mod ports;
mod roles;
mod transcript;
mod words;
mod world;

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/transcripts");
    testkit::transcript::check_all::<transcript::Run>(folder, 108);
}
