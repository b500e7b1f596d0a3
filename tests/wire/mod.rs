//! The wire side of broker-codec, and `broker-dump`, against what Zeek and Broker really said.

mod conversations;
mod dump;
mod frames;
mod mutations;
mod node;
mod over_tcp;
mod simultaneous;
mod supervisor;
mod table;
