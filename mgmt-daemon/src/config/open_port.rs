//! Ports where who connects is not asked who it is.

use std::net::SocketAddr;

use mgmt_api::access::Grant;

use super::roles::{RoleLine, WITHOUT_CERTIFICATE};

/// Warns of ports that other hosts can reach and where each program may do everything, and says of which. Where roles are set there are none;
/// then it warns of ports where none may do anything. Each comes with what it is for, and whether it asks for certificates.
pub fn warn_of_open_ports<'a>(
    ports: impl IntoIterator<Item = (&'a str, SocketAddr, bool)>,
    roles: &[RoleLine],
) -> Vec<String> {
    let ports = ports.into_iter().filter(|(_, _, asks)| !asks);
    if roles.is_empty() {
        let open = ports.filter_map(|(what, address, _)| open_port(what, address));
        return open.inspect(|warning| tracing::warn!("{warning}")).collect();
    }
    if RoleLine::grant(roles, None) == Grant::default() {
        for (what, address, _) in ports {
            tracing::warn!(
                "the {what} port {address} asks for no certificates, and roles gives nothing to {WITHOUT_CERTIFICATE}: requests there are refused"
            );
        }
    }
    Vec::new()
}

fn open_port(what: &str, address: SocketAddr) -> Option<String> {
    (!address.ip().is_loopback()).then(|| {
        format!(
            "the {what} port {address} asks for nothing: each program that can connect may request everything; ask for certificates and set roles, or \
             keep it to a network of its own (docs/secure.md)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_other_hosts_can_reach_and_asks_for_nothing_is_told() {
        let role: RoleLine = "* admin".parse().unwrap();
        for (address, asks, roles, expected) in [
            ("127.0.0.1:2149", false, &[][..], false),
            ("[::1]:2149", false, &[], false),
            ("0.0.0.0:2149", false, &[], true),
            ("[::]:2149", false, &[], true),
            ("0.0.0.0:2149", true, &[], false),
            ("0.0.0.0:2149", false, &[role], false),
        ] {
            let told = warn_of_open_ports([("Broker", address.parse().unwrap(), asks)], roles);
            assert_eq!(!told.is_empty(), expected, "{address}: {told:?}");
        }
    }
}
