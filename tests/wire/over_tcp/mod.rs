//! The real endpoint on loopback, against scripts that speak bytes.

pub(super) mod captured;
mod conversations;
mod script;
mod world;
