//! Where a daemon listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use broker_codec::data::{Port, Protocol};
use broker_endpoint::PeerAddress;

use super::{
    effective::Origin,
    resolver::Resolver,
    value::{Notation, Value, ValueError},
};

/// Where to listen, or not to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Nothing listens.
    Off,
    /// An address of this machine, the name of an interface, or the name of a host; port 0 lets the system choose. What a
    /// name stands for is looked up when listening begins.
    At(PeerAddress),
}

impl Listener {
    /// What `ADDRESS:PORT` in one option sets: an address and a port.
    pub fn sets(
        text: &str,
        address: &'static str,
        port: &'static str,
    ) -> Result<Vec<(&'static str, String)>, ValueError> {
        Ok(match text.parse()? {
            Self::Off => vec![(port, String::from("0/unknown"))],
            Self::At(at) => vec![(address, at.host), (port, format!("{}/tcp", at.port))],
        })
    }
}

/// What can be listened on is found out by trying; this finds what never can be.
fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]\"".contains(c))
}

impl FromStr for Listener {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().ok();
        let address = address.filter(|address: &PeerAddress| is_host(&address.host));
        address.map(Self::At).ok_or_else(|| ValueError {
            text: text.to_owned(),
            expected: "off, or an address or a name with a port, as in 127.0.0.1:2150, [::1]:2150 or eth0:2150",
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// The settings of a listener: an address, a port as a text, and the port's default (`network_info`).
type Place = [&'static str; 3];

impl Resolver<'_> {
    /// Where to listen for Broker peers.
    pub fn listener(&mut self, place: Place) -> Listener {
        const EXPECTED: &str = "an address, an interface or a host, as in 0.0.0.0, ::1 or eth0";
        let host = |text: &str| is_host(text).then(|| text.to_owned());
        match self.place(place, host, EXPECTED) {
            Some((host, port)) => Listener::At(PeerAddress::new(host, port)),
            None => Listener::Off,
        }
    }

    /// Likewise where it must be an address, as Zeek has it for WebSocket clients (`Cluster::WebSocketServerOptions`).
    pub fn address_listener(&mut self, place: Place) -> Option<SocketAddr> {
        const EXPECTED: &str = "an IP address, as in 0.0.0.0 or ::1";
        let address = |text: &str| text.parse::<IpAddr>().ok();
        self.place(place, address, EXPECTED).map(SocketAddr::from)
    }

    /// A host, read by a function that knows what is expected, and a port; none if nothing is to listen, or there is a
    /// problem.
    fn place<T>(
        &mut self,
        [address_key, port_key, default_key]: Place,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &'static str,
    ) -> Option<(T, u16)> {
        let (text, origin) = match self.given_text(address_key) {
            Some(address) => (address, self.origin(address_key)),
            None => (self.read("default_address"), self.origin("default_address")),
        };
        self.show_from(address_key, &text, origin);
        let host = read(&text);
        if host.is_none() {
            self.wrong(address_key, ValueError { text, expected });
        }
        let (port, origin) = self.port(port_key, default_key);
        // Zeek has it as a text, for its environment variable.
        self.show_from(port_key, &port.show(), origin);
        match port.protocol {
            Protocol::Tcp => host.map(|host| (host, port.number)),
            Protocol::Unknown if port.number == 0 => None,
            _ => {
                let default: Port = self.default(default_key);
                let reason = format!(
                    "cannot listen on {}; use a port as in {default}, or 0/unknown for no listener",
                    port.show()
                );
                self.refuse(port_key, reason);
                None
            }
        }
    }

    /// The port as text, for which Zeek has environment variables, else the default as a port; not shown.
    pub fn port(&mut self, key: &str, default_key: &str) -> (Port, Origin) {
        let Some(text) = self.given_text(key) else {
            return (self.read(default_key), self.origin(default_key));
        };
        match Port::parse(&text, Notation::Bare) {
            Ok(port) => (port, self.origin(key)),
            // DIFFERENCE(malformed-port): Zeek's to_port() complains and yields 0/unknown, which silently means no listener.
            Err(problem) => {
                self.wrong(key, problem);
                (self.default(default_key), Origin::Default)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_addresses_or_names_or_off() {
        let at = |host, port| Ok(Listener::At(PeerAddress::new(host, port)));
        assert_eq!("off".parse(), Ok(Listener::Off));
        for (text, host, port) in [
            ("127.0.0.1:2150", "127.0.0.1", 2150),
            ("[::1]:0", "::1", 0),
            ("eth0:2150", "eth0", 2150),
            ("controller.example:65535", "controller.example", 65_535),
        ] {
            assert_eq!(text.parse(), at(host, port));
            let shown = at(host, port).map(|listener: Listener| listener.to_string());
            assert_eq!(shown, Ok(text.into()));
        }
        for wrong in [
            "2149",
            ":2149",
            "::1:2149",
            "a:65536",
            "a b:1",
            "a/b:1",
            "[[::1]]:1",
            "on",
            "",
        ] {
            assert_eq!(
                wrong.parse::<Listener>().unwrap_err().to_string(),
                format!(
                    "{wrong:?} is not off, or an address or a name with a port, as in 127.0.0.1:2150, [::1]:2150 or eth0:2150"
                )
            );
        }
    }
}
