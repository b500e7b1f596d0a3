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

    /// One, and the one that follows it.
    pub fn pair(host: &str) -> [Self; 2] {
        loop {
            let first = Self::new(host);
            let mut next = first.address();
            next.set_port(first.port().wrapping_add(1).max(1024));
            if let Ok(next) = Self::at(next) {
                return [first, next];
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
