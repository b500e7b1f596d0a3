//! Tools around the Broker protocol, and the parts that tests share with them.

pub mod conversation;
pub mod dump;
pub mod pcap;
pub mod replay;
pub mod tcp;
pub mod websocket;
