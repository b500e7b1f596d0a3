//! The real endpoint on loopback, against scripts that speak bytes.

mod captured;
mod conversations;
mod releases;
mod script;
mod world;
