//! Where the controller and the Supervisor are, and how long the latter may be silent.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use broker_codec::data::{Port, Protocol};
use broker_endpoint::PeerAddress;
use mgmt_daemon::config::{Listener, Origin, Resolver, Value};

use super::{
    keeping::Keeping,
    network_info::{NO_CONTROLLER, NetworkInfo},
};

/// A Supervisor that is busy with the start of its nodes needs so long. One that has less is killed, started, and killed again.
const SUPERVISOR_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The controller that the agent connects to, by default on this host at the port that its settings say
/// (`agent/config.zeek`, `Management::Agent::controller`).
pub(super) fn controller(resolver: &mut Resolver<'_>) -> Option<PeerAddress> {
    let (controller, origin) = if let Some(controller) = resolver.given("controller") {
        (controller, resolver.origin("controller"))
    } else {
        let (bound_port, origin) = resolver.port("controller_port", "controller_default_port");
        let address = "127.0.0.1".to_owned();
        (NetworkInfo { address, bound_port }, origin)
    };
    resolver.show_from("controller", &controller, origin);
    let NetworkInfo { address, bound_port } = controller;
    if address == NO_CONTROLLER {
        resolver.annotate("controller", "the controller connects to the agent".to_owned());
        return None;
    }
    if address.is_empty() || bound_port.protocol != Protocol::Tcp || bound_port.number == 0 {
        let reason = format!(
            "cannot connect to {address:?} at {}; name a host and a port as in 2150/tcp, or the address {NO_CONTROLLER} to be \
             connected to",
            bound_port.show()
        );
        resolver.refuse("controller", reason);
    }
    Some(PeerAddress::new(address, bound_port.number))
}

/// A peer must not be where the agent itself listens. What other names stand for is not known here.
pub(super) fn refuse_itself(
    resolver: &mut Resolver<'_>,
    key: &str,
    peer: Option<&PeerAddress>,
    listen: &Listener,
) {
    let (Some(peer), Listener::At(listen)) = (peer, listen) else {
        return;
    };
    let address = |host: &str| match host {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => host.parse::<IpAddr>().ok(),
    };
    let same = match (address(&peer.host), address(&listen.host)) {
        (Some(peer), Some(listen)) => {
            peer == listen || {
                listen.is_unspecified() && peer.is_loopback() && (listen.is_ipv6() || peer.is_ipv4())
            }
        }
        _ => peer.host == listen.host,
    };
    if peer.port != 0 && peer.port == listen.port && same {
        let reason = format!(
            "the agent itself listens on {peer}, by Management::Agent::listen_port; choose another port for one of them"
        );
        resolver.refuse(key, reason);
    }
}

/// How long a Supervisor of ours may be silent; none for ever.
pub(super) fn supervisor_timeout(resolver: &mut Resolver<'_>) -> Option<Duration> {
    let timeout: Duration = resolver.take("supervisor_timeout");
    if !timeout.is_zero() && timeout < SUPERVISOR_TIMEOUT_MIN {
        resolver.refuse(
            "supervisor_timeout",
            "a Supervisor needs a second at least to answer; or 0sec, to wait for ever",
        );
    }
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

/// Where the Supervisor listens, as Zeek's agent finds it (`agent/main.zeek`, `zeek_init`).
pub(super) fn supervisor(resolver: &mut Resolver<'_>, keeping: Keeping) -> PeerAddress {
    let starts_it = keeping.starts_supervisor;
    let address = resolver.given_text("supervisor_address");
    // The variable is for the other processes of Zeek on the host, its nodes included. Zeek's own Supervisor of an agent does not obey it
    // either (`agent/boot.zeek`).
    let variable = matches!(resolver.origin("supervisor_address"), Origin::Environment(_));
    let address = address.filter(|address| !(starts_it && variable && !is_loopback(address)));
    let (address, origin) = match address {
        Some(address) => (address, resolver.origin("supervisor_address")),
        None => (resolver.default("supervisor_address"), Origin::Default),
    };
    resolver.show_from("supervisor_address", &address, origin);
    let port = match resolver.given("supervisor_port") {
        // No other program looks for a simulated Supervisor, so any free port will do.
        None if keeping.is_simulation => Port::tcp(0),
        None => resolver.default("supervisor_port"),
        Some(port) => port,
    };
    resolver.show("supervisor_port", &port);
    if port.protocol != Protocol::Tcp || (port.number == 0 && !starts_it) {
        let reason = format!(
            "cannot connect to the Supervisor at {}; name a port as in 9999/tcp",
            port.show()
        );
        resolver.refuse("supervisor_port", reason);
    }
    PeerAddress::new(address, port.number)
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
