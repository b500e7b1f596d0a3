use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A port at which no process answers while this exists, and which the system gives to none that asks for any port. A listener that asks
/// for this one and allows its reuse, as all listeners here and Zeek's do, gets it.
#[derive(Debug)]
pub struct ReservedPort(Socket);

impl ReservedPort {
    pub fn new(host: &str) -> Self {
        Self::at(SocketAddr::new(host.parse().expect("an address"), 0)).expect("bound")
    }

    /// One for a manager, and the two that follow it, by which it forwards for `ZeroMQ`.
    pub fn for_manager(host: &str) -> [Self; 3] {
        loop {
            let first = Self::new(host);
            let next = |distance| {
                let mut address = first.address();
                address.set_port(first.port().checked_add(distance)?);
                Self::at(address).ok()
            };
            if let (Some(second), Some(third)) = (next(1), next(2)) {
                return [first, second, third];
            }
        }
    }

    fn at(address: SocketAddr) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_reuse_address(true).expect("set");
        // Bound, it keeps the port; it never listens.
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    pub fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("it is bound");
        address.as_socket().expect("an address of the internet")
    }

    pub fn port(&self) -> u16 {
        self.address().port()
    }
}
