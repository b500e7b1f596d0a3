//! Ports where who connects is not asked who it is.

use std::net::SocketAddr;

/// Warns of ports that other hosts can reach and that ask for nothing, and says of which. Each comes with what it is for, and whether it asks for certificates.
pub fn warn_of_open_ports<'a>(ports: impl IntoIterator<Item = (&'a str, SocketAddr, bool)>) -> Vec<String> {
    let ports = ports.into_iter();
    let open = ports.filter_map(|(what, address, asks)| open_port(what, address, asks));
    open.inspect(|warning| tracing::warn!("{warning}")).collect()
}

fn open_port(what: &str, address: SocketAddr, asks_for_certificates: bool) -> Option<String> {
    let is_open = !asks_for_certificates && !address.ip().is_loopback();
    is_open.then(|| {
        format!(
            "the {what} port {address} asks for nothing: each program that can connect may request everything; ask for certificates, or keep \
             it to a network of its own (SECURITY.md)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_other_hosts_can_reach_and_asks_for_nothing_is_told() {
        for (address, asks, expected) in [
            ("127.0.0.1:2149", false, false),
            ("[::1]:2149", false, false),
            ("0.0.0.0:2149", false, true),
            ("[::]:2149", false, true),
            ("0.0.0.0:2149", true, false),
        ] {
            let told = open_port("Broker", address.parse().unwrap(), asks);
            assert_eq!(told.is_some(), expected, "{address}: {told:?}");
        }
    }
}
