//! What a client may ask for.

use mgmt_api::{ClientRequest, Principal};

/// Whether a client may make a request. Every client that can connect may make all: certificates, addresses and the firewall say which
/// can.
pub(super) const fn permits(_: &Principal, _: &ClientRequest) -> bool {
    true
}
