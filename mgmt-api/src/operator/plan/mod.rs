//! What a deployment would do.

mod splits;

pub use splits::splits;
