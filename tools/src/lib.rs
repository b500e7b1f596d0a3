//! Tools around the Broker protocol.
