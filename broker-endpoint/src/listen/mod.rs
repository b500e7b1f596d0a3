//! Listening and accepting.

mod accept;
pub(crate) mod handshakes;
pub(crate) mod incoming;
pub mod pending;

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};
use tracing::debug;

pub(crate) use accept::run;

use crate::error::{EndpointError, with_causes};

/// Connections that the system may complete before we accept them; the most that it allows by default.
const BACKLOG: i32 = 4096;

/// So many ports are tried where the system may choose one for several addresses: what is free at one of them may be taken at
/// another.
const PORTS_TRIED: usize = 16;

/// Listens as `Broker::listen` does.
///
/// The empty host is every address, IPv6 and IPv4 on one socket, or only IPv4 where the system has no IPv6; `::` is the same
/// without the fallback, and `0.0.0.0` is IPv4 only. The name of an interface, or of a host, is listened on at each of its
/// addresses that can be.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, EndpointError> {
    let address = match host {
        "" => match bind_address(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(listener) => return Ok(vec![listener]),
            // The port may be taken only there.
            Err(error) if is_taken(&error) => return Err(error),
            Err(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        },
        host => match host.parse() {
            Ok(address) => address,
            Err(_) => return bind_name(host, port).await,
        },
    };
    Ok(vec![bind_address(SocketAddr::new(address, port))?])
}

async fn bind_name(host: &str, port: u16) -> Result<Vec<TcpListener>, EndpointError> {
    let unknown = |source| EndpointError::Resolve {
        host: host.to_owned(),
        source,
    };
    let interface = interface_addresses(host, port).map_err(unknown)?;
    let addresses = if interface.is_empty() {
        lookup_host((host, port)).await.map_err(unknown)?.collect()
    } else {
        interface
    };
    match bind_all(&addresses, bind_address) {
        (listeners, _) if !listeners.is_empty() => Ok(listeners),
        (_, Some(error)) => Err(error),
        (_, None) => Err(unknown(io::Error::new(
            io::ErrorKind::NotFound,
            "name has no address",
        ))),
    }
}

/// The addresses of the interface with this name, IPv6 first; none if there is no such interface.
fn interface_addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.name == name)
        .map(|interface| match interface.ip() {
            // Where a link-local address is, only the interface tells.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddrV6::new(ip, port, 0, interface.index.unwrap_or(0)).into()
            }
            ip => SocketAddr::new(ip, port),
        })
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv4);
    Ok(addresses)
}

/// DIFFERENCE(listen-on-all-addresses-of-a-name): Broker binds the first one that works, which is `::1` alone for `localhost`.
fn bind_all(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> Result<TcpListener, EndpointError>,
) -> (Vec<TcpListener>, Option<EndpointError>) {
    let is_ours_to_choose = addresses.iter().all(|address| address.port() == 0);
    for _ in 1..PORTS_TRIED {
        let (listeners, failure) = bind_each(addresses, &mut bind);
        if !(is_ours_to_choose && failure.as_ref().is_some_and(is_taken)) {
            return (listeners, failure);
        }
    }
    bind_each(addresses, &mut bind)
}

/// Whether the port is in use.
fn is_taken(error: &EndpointError) -> bool {
    matches!(error, EndpointError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

/// Listens on those that can be, at one port. Of several failures, that the port is taken is the one that counts.
fn bind_each(
    addresses: &[SocketAddr],
    bind: &mut impl FnMut(SocketAddr) -> Result<TcpListener, EndpointError>,
) -> (Vec<TcpListener>, Option<EndpointError>) {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut failure = None;
    let mut tried = HashSet::new();
    for &(mut address) in addresses {
        if !tried.insert(address.ip()) {
            continue;
        }
        // All get the port that the system chose for the first.
        if let Some(first) = listeners.first().and_then(|first| first.local_addr().ok()) {
            address.set_port(first.port());
        }
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                debug!(%address, error = with_causes(&error), "an address of a name cannot be listened on");
                failure = Some(failure.filter(is_taken).unwrap_or(error));
            }
        }
    }
    (listeners, failure)
}

fn bind_address(address: SocketAddr) -> Result<TcpListener, EndpointError> {
    open(address, false).map_err(|source| EndpointError::Listen { address, source })
}

/// Listens on an address; `only_v6` is whether an IPv6 address takes no IPv4.
pub(crate) fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use testkit::ReservedPort;

    use super::*;

    #[tokio::test]
    async fn all_addresses_of_a_name_are_listened_on_at_one_port() {
        let [v4, v6, elsewhere] =
            ["127.0.0.1:0", "[::1]:0", "192.0.2.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let (listeners, failure) = bind_all(&[v4, elsewhere, v6, v4], bind_address);
        let addresses: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
        assert_eq!(ips, [v4.ip(), v6.ip()]);
        assert_eq!(addresses[0].port(), addresses[1].port());
        assert!(
            matches!(failure, Some(EndpointError::Listen { .. })),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_port_that_is_taken_at_one_address_is_not_the_one_that_is_chosen() {
        // Another process listens where the system's first choice leads.
        let taken = |address| {
            let source = io::ErrorKind::AddrInUse.into();
            Err(EndpointError::Listen { address, source })
        };
        let mut others = 1;
        let mut chosen = Vec::new();
        let bind = |address: SocketAddr| {
            if address.is_ipv6() && others > 0 {
                others -= 1;
                chosen.push(address.port());
                return taken(address);
            }
            bind_address(address)
        };
        let [v4, v6] = ["127.0.0.1:0", "[::1]:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let (listeners, failure) = bind_all(&[v4, v6], bind);
        assert_eq!((listeners.len(), failure.is_some()), (2, false), "{failure:?}");
        assert_ne!(chosen, [0], "the port that was chosen at the first address");

        // Always, or with a port that was asked for: what can be listened on.
        let never = |address: SocketAddr| {
            if address.is_ipv6() {
                taken(address)
            } else {
                bind_address(address)
            }
        };
        let (listeners, failure) = bind_all(&[v4, v6], never);
        assert_eq!(listeners.len(), 1);
        assert!(failure.as_ref().is_some_and(is_taken), "{failure:?}");
        drop(listeners);
        let port = ReservedPort::new("127.0.0.1").port();
        let mut attempts = 0;
        let asked = [v4, v6].map(|address| SocketAddr::new(address.ip(), port));
        let (_, failure) = bind_all(&asked, |address| {
            attempts += 1;
            taken(address)
        });
        assert_eq!(attempts, 2);
        assert!(failure.as_ref().is_some_and(is_taken), "{failure:?}");
    }
}
