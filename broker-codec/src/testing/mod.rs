//! Bodies of fuzz targets, a mutator that drives them where no coverage-guided fuzzer is at hand, and chance by a seed.
//!
//! Each body takes any bytes, and panics if a promise of the crate is broken. Only compiled with the feature `testing`.

#![expect(clippy::expect_used, reason = "panicking is how the bodies report")]

mod body;
mod dice;
mod mutator;
mod wire;

pub use body::{json, value};
pub use dice::Dice;
pub use mutator::Mutator;
pub use wire::{delivery, envelope, frame, handshakes};
