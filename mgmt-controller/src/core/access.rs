//! What a client may ask for.

use mgmt_api::{ClientRequest, Principal};

/// Whether a client may make a request, whichever door it came by. Whoever can connect may ask for everything: certificates, addresses
/// and the firewall say who that is.
pub(super) const fn permits(_: &Principal, _: &ClientRequest) -> bool {
    true
}
