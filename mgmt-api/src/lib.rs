//! mgmt-api.
