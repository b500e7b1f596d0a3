//! `Broker::NetworkInfo`, as settings have it: `[$address="127.0.0.1", $bound_port=2150/tcp]`.

use broker_codec::data::Port;
use broker_endpoint::PeerAddress;
use mgmt_daemon::config::{Notation, Value, ValueError, record};

/// The address that says that the controller connects to the agent.
pub(super) const NO_CONTROLLER: &str = "0.0.0.0";

/// Where a process listens: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkInfo {
    pub(super) address: String,
    pub(super) bound_port: Port,
}

impl Value for NetworkInfo {
    const EXPECTED: &'static str =
        "an address and a port, as in [$address=\"127.0.0.1\", $bound_port=2150/tcp]";

    fn read(text: &str, _: Notation) -> Option<Self> {
        let (mut address, mut bound_port) = (None, None);
        for (name, value) in record(text, "Broker::NetworkInfo")? {
            match name {
                "address" => address = Some(String::read(value, Notation::Script)?),
                "bound_port" => bound_port = Some(Port::read(value, Notation::Script)?),
                _ => return None,
            }
        }
        Some(Self {
            address: address?,
            bound_port: bound_port?,
        })
    }

    fn show(&self) -> String {
        let (address, port) = (self.address.show(), self.bound_port.show());
        format!("[$address={address}, $bound_port={port}]")
    }
}

impl NetworkInfo {
    /// What an option says, `HOST:PORT` or `off`, as the setting has it.
    pub(super) fn of_option(text: &str) -> Result<String, ValueError> {
        let (address, port) = match text {
            "off" => (NO_CONTROLLER.to_owned(), 0),
            _ => peer(text).map(|peer| (peer.host, peer.port))?,
        };
        let bound_port = Port::tcp(port);
        Ok(Self { address, bound_port }.show())
    }
}

pub(super) fn peer(text: &str) -> Result<PeerAddress, ValueError> {
    text.parse().map_err(|_| ValueError {
        text: text.to_owned(),
        expected: "a host with a port, as in controller.example:2150 or [::1]:2150",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_in_each_of_its_forms() {
        let expected = NetworkInfo {
            address: "a.example".into(),
            bound_port: Port::tcp(1),
        };
        for text in [
            "[$address=\"a.example\", $bound_port=1/tcp]",
            "[ $bound_port = 1/tcp , $address = \"a.example\" ]",
            "Broker::NetworkInfo($address=\"a.example\", $bound_port=1/tcp)",
        ] {
            assert_eq!(NetworkInfo::parse(text, Notation::Script).as_ref(), Ok(&expected));
        }
        assert_eq!(
            NetworkInfo::read(&expected.show(), Notation::Bare),
            Some(expected)
        );
        for wrong in [
            "",
            "[]",
            "a.example:1",
            "[$address=\"a\"]",
            "[$address=a, $bound_port=1/tcp]",
            "[$address=\"a\", $bound_port=1]",
            "[$address=\"a\", $bound_port=1/tcp, $x=1]",
        ] {
            assert_eq!(NetworkInfo::read(wrong, Notation::Bare), None, "{wrong}");
        }
    }

    #[test]
    fn options_are_off_or_a_host_with_a_port() {
        let off = "[$address=\"0.0.0.0\", $bound_port=0/tcp]";
        assert_eq!(NetworkInfo::of_option("off").as_deref(), Ok(off));
        let at = "[$address=\"::1\", $bound_port=2150/tcp]";
        assert_eq!(NetworkInfo::of_option("[::1]:2150").as_deref(), Ok(at));
        assert!(NetworkInfo::of_option("::1").is_err());
    }
}
