//! For tests that need a port of their own.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A port at which no process answers while this exists, and which the system gives to none that asks for any port. A listener that asks
/// for this one and allows its reuse, as all listeners here do, gets it.
pub(crate) struct ReservedPort {
    _socket: Socket,
    address: SocketAddr,
}

impl ReservedPort {
    pub(crate) fn new(host: &str) -> Self {
        let host: IpAddr = host.parse().expect("an address");
        let any = SocketAddr::new(host, 0);
        let socket =
            Socket::new(Domain::for_address(any), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_reuse_address(true).expect("set");
        // Bound, it keeps the port; it never listens.
        socket.bind(&any.into()).expect("bound");
        let address = socket.local_addr().expect("bound");
        Self {
            _socket: socket,
            address: address.as_socket().expect("an address of the internet"),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }
}
