//! Bodies of fuzz targets, and a mutator that drives them where no coverage-guided fuzzer is at hand.
//!
//! Each body takes any bytes, and panics if a promise of the crate is broken. Only compiled with the feature `testing`.

mod body;
mod mutator;

pub use body::{json, value};
pub use mutator::Mutator;
