//! What the tests of several packages share. Production code does not depend on it.
#![expect(clippy::missing_panics_doc, reason = "a test fails by a panic")]

mod agent;
mod dice;
pub mod transcript;

pub use agent::{FakeAgent, with_results};
pub use dice::Dice;
