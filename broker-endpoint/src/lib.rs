//! broker-endpoint.
