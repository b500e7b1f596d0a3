//! Where nodes find the agent, and how those of a Supervisor that was found learn of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use broker_codec::data::Port;
use broker_endpoint::PeerAddress;
use mgmt_daemon::config::Value;

use crate::{config::is_loopback, core};

/// The environment variables by which Zeek's script for nodes finds its agent, and the port where it looks otherwise.
pub(crate) const AGENT_ADDRESS: &str = "ZEEK_AGENT_ADDR";
pub(crate) const AGENT_PORT: &str = "ZEEK_AGENT_PORT";
const DEFAULT_PORT: u16 = 2151;

/// Where nodes find the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coordinates {
    pub(crate) address: IpAddr,
    pub(crate) port: Port,
}

/// Where an agent that listens there can be reached from its own host.
pub(crate) fn local_address(listening: &[SocketAddr]) -> IpAddr {
    match (preferred(listening), listening.first()) {
        (Some(address), _) => address,
        (None, Some(first)) if first.is_ipv6() => IpAddr::from(Ipv6Addr::LOCALHOST),
        (None, _) => IpAddr::from(Ipv4Addr::LOCALHOST),
    }
}

/// The address to name where several are listened on, as those of an interface or a host are; none where it is any address.
/// One of IPv4, which every host can use, rather than IPv6; a link-local one last, as it means nothing without its interface.
pub(crate) fn preferred(listening: &[SocketAddr]) -> Option<IpAddr> {
    let named = listening
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    named.min_by_key(|ip| match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    })
}

/// Has nodes of a Supervisor that was found learn where the agent is: Zeek's script for nodes goes by two environment variables, and looks
/// at port 2151 of the own host where they are not set (`agent/config.zeek`). On another host it is for its operator to know
/// an address that leads here.
///
/// DIFFERENCE(node-coordinates): Zeek's agent leaves both variables to the Supervisor's environment.
pub(crate) fn tell_nodes(
    settings: &mut core::Settings,
    supervisor: &PeerAddress,
    listening: &[SocketAddr],
    agent: Coordinates,
) {
    let is_default = |at: &SocketAddr| {
        at.port() == DEFAULT_PORT && (at.ip().is_unspecified() || at.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST))
    };
    let (address, port) = (agent.address.to_string(), agent.port.show());
    if !is_loopback(&supervisor.host) {
        let address = preferred(listening).map_or("an address of the agent".to_owned(), |ip| ip.to_string());
        settings.supervisor_env = Some(format!("{AGENT_ADDRESS}={address} and {AGENT_PORT}={port}"));
    } else if !listening.is_empty() && !listening.iter().any(is_default) {
        let variables = [(AGENT_ADDRESS, address), (AGENT_PORT, port)];
        let bytes = |(name, value): (&str, String)| (name.into(), value.into());
        settings.node_env = variables.map(bytes).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_an_address_that_they_can_use() {
        let told = |listening: &[&str]| {
            let listening: Vec<SocketAddr> = listening.iter().map(|at| at.parse().unwrap()).collect();
            local_address(&listening).to_string()
        };
        assert_eq!(told(&[]), "127.0.0.1");
        assert_eq!(told(&["0.0.0.0:1"]), "127.0.0.1");
        assert_eq!(told(&["[::]:1"]), "::1");
        assert_eq!(told(&["10.0.0.1:1"]), "10.0.0.1");
        // As an interface may have them, and as `localhost` has.
        assert_eq!(told(&["[fe80::1%2]:1", "[2001:db8::1]:1"]), "2001:db8::1");
        assert_eq!(told(&["[::1]:1", "127.0.0.1:1"]), "127.0.0.1");
    }

    #[test]
    fn nodes_of_a_supervisor_that_was_found_are_told_where_the_agent_is() {
        let told = |supervisor: &str, listening: &str| {
            let at = [listening.parse::<SocketAddr>().unwrap()];
            let agent = Coordinates {
                address: local_address(&at),
                port: Port::tcp(at[0].port()),
            };
            let mut settings = core::Settings::default();
            tell_nodes(&mut settings, &PeerAddress::new(supervisor, 9999), &at, agent);
            let variables = settings
                .node_env
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            (variables.collect::<Vec<_>>().join(" "), settings.supervisor_env)
        };
        assert_eq!(told("127.0.0.1", "0.0.0.0:2151"), (String::new(), None));
        assert_eq!(told("127.0.0.1", "127.0.0.1:2151"), (String::new(), None));
        let variables = "ZEEK_AGENT_ADDR=127.0.0.1 ZEEK_AGENT_PORT=2152/tcp";
        assert_eq!(told("127.0.0.1", "0.0.0.0:2152"), (variables.into(), None));
        let variables = "ZEEK_AGENT_ADDR=10.0.0.1 ZEEK_AGENT_PORT=2151/tcp";
        assert_eq!(told("127.0.0.1", "10.0.0.1:2151"), (variables.into(), None));
        let needed = "ZEEK_AGENT_ADDR=10.0.0.1 and ZEEK_AGENT_PORT=2152/tcp";
        assert_eq!(
            told("10.0.0.2", "10.0.0.1:2152"),
            (String::new(), Some(needed.into()))
        );
        let needed = "ZEEK_AGENT_ADDR=an address of the agent and ZEEK_AGENT_PORT=2151/tcp";
        assert_eq!(
            told("10.0.0.2", "0.0.0.0:2151"),
            (String::new(), Some(needed.into()))
        );
    }
}
