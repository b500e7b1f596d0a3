//! Where the controller and the Supervisor are, and how long the latter may be silent.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use broker_codec::data::{Port, Protocol};
use broker_endpoint::PeerAddress;
use mgmt_daemon::config::{Resolver, Sourced, Value};

use super::{ConfigError, Listener, NO_CONTROLLER, NetworkInfo, Origin, is_loopback, names};
use crate::cli::SettingArgs;

pub(super) const SUPERVISOR_PATIENCE: &str = "supervisor patience";

/// How long a Supervisor of ours may be silent. Its nodes go on meanwhile, and end with it: longer than it takes a busy
/// machine to start Zeek.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// A Supervisor that is busy with the start of its nodes needs so long. One that has less is killed, started, and killed again.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// The controller that the agent connects to, by default on this host at the port that its settings say
/// (`agent/config.zeek`, `Management::Agent::controller`).
pub(super) fn controller(resolver: &mut Resolver<'_>) -> Option<PeerAddress> {
    let controller = resolver.given(names::CONTROLLER).unwrap_or_else(|| {
        let port = resolver.port(
            names::CONTROLLER_LISTEN_PORT,
            names::CONTROLLER_DEFAULT_PORT,
            Port::tcp(2150),
        );
        Sourced {
            value: NetworkInfo {
                address: "127.0.0.1".into(),
                bound_port: port.value,
            },
            origin: port.origin,
        }
    });
    resolver.show(
        names::CONTROLLER,
        controller.value.show(),
        controller.origin.clone(),
    );
    let NetworkInfo { address, bound_port } = controller.value;
    if address == NO_CONTROLLER {
        resolver.annotate(names::CONTROLLER, "the controller connects to the agent");
        return None;
    }
    if address.is_empty() || bound_port.protocol != Protocol::Tcp || bound_port.number == 0 {
        resolver.problems.push(ConfigError::Unusable {
            origin: controller.origin,
            name: names::CONTROLLER,
            reason: format!(
                "cannot connect to {address:?} at {}; name a host and a port as in 2150/tcp, or the address {NO_CONTROLLER} to be \
                 connected to",
                bound_port.show()
            ),
        });
    }
    Some(PeerAddress::new(address, bound_port.number))
}

/// A peer must not be where the agent itself listens. What other names stand for is not known here.
pub(super) fn refuse_itself(
    resolver: &mut Resolver<'_>,
    name: &'static str,
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
    if peer.port == 0 || peer.port != listen.port || !same {
        return;
    }
    let mut shown = resolver.effective.iter();
    let origin = shown.rfind(|shown| shown.name == name);
    resolver.problems.push(ConfigError::Unusable {
        origin: origin.map_or(Origin::Default, |shown| shown.origin.clone()),
        name,
        reason: format!(
            "the agent itself listens on {peer}, by {}; choose another port for one of them",
            names::LISTEN_PORT
        ),
    });
}

/// How long a Supervisor of ours may be silent; none for ever.
pub(super) fn patience(resolver: &mut Resolver<'_>) -> Option<Duration> {
    let patience = resolver.take(SUPERVISOR_PATIENCE, DEFAULT_PATIENCE);
    if !patience.value.is_zero() && patience.value < LEAST_PATIENCE {
        resolver.problems.push(ConfigError::Unusable {
            origin: patience.origin,
            name: SUPERVISOR_PATIENCE,
            reason: "a Supervisor needs a second at least to answer; or 0sec, to wait for ever".to_owned(),
        });
    }
    Some(patience.value).filter(|patience| !patience.is_zero())
}

/// Where the Supervisor listens, as Zeek's agent finds it (`agent/main.zeek`, `zeek_init`).
pub(super) fn supervisor(resolver: &mut Resolver<'_>, args: &SettingArgs) -> PeerAddress {
    let option = "--supervisor";
    match args.supervisor.as_deref().map(str::parse::<PeerAddress>) {
        None => {}
        Some(Ok(PeerAddress { host, port })) => {
            resolver.flag(names::SUPERVISOR_ADDRESS, Some(&host), option);
            resolver.flag(names::SUPERVISOR_PORT, Some(&Port::tcp(port).show()), option);
        }
        Some(Err(error)) => resolver.problems.push(ConfigError::Unusable {
            origin: Origin::Flag(option),
            name: "supervisor",
            reason: error.to_string(),
        }),
    }
    let address = resolver
        .take_text(names::SUPERVISOR_ADDRESS)
        .unwrap_or_else(|| Sourced {
            value: "127.0.0.1".into(),
            origin: Origin::Default,
        });
    // The variable is for the other processes of Zeek on the host, its nodes included. Zeek's own Supervisor of an agent does not obey it
    // either (`agent/boot.zeek`).
    let environment = matches!(address.origin, Origin::Environment(_));
    let address = if args.starts_supervisor() && environment && !is_loopback(&address.value) {
        Sourced {
            value: "127.0.0.1".into(),
            origin: Origin::Default,
        }
    } else {
        address
    };
    resolver.show(names::SUPERVISOR_ADDRESS, address.value.show(), address.origin);
    // No other program looks for a simulated Supervisor, so any free port will do.
    let default = if args.simulate { 0 } else { 9999 };
    let port = resolver.take(names::SUPERVISOR_PORT, Port::tcp(default));
    if port.value.protocol != Protocol::Tcp || (port.value.number == 0 && !args.starts_supervisor()) {
        resolver.problems.push(ConfigError::Unusable {
            origin: port.origin,
            name: names::SUPERVISOR_PORT,
            reason: format!(
                "cannot connect to the Supervisor at {}; name a port as in 9999/tcp",
                port.value.show()
            ),
        });
    }
    PeerAddress::new(address.value, port.value.number)
}
