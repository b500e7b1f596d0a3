//! Which network device is behind what Zeek is to sniff.

use broker_codec::data::ZeekString;

/// How long the name of a network device may be, in bytes (`IFNAMSIZ`, without its NUL).
const DEVICE_BYTES_MAX: usize = 15;

/// With what names begin that libpcap knows, or may know, and the system does not.
const NO_DEVICES: [&str; 11] = [
    "any",
    "bluetooth",
    "dag",
    "dbus",
    "mlx",
    "nflog",
    "nfqueue",
    "rdma",
    "septel",
    "snf",
    "usbmon",
];

/// The network device that there must be, by its name for the system: `eth0` for `eth0`, `af_packet::eth0` and `netmap::eth0`. Other packet
/// sources may have none, as `napatech::0`, and names that need not be devices are left alone. Zeek sniffs one interface a process.
pub fn device(interface: &ZeekString) -> Option<&str> {
    let text = interface.as_str()?;
    let (source, device) = text.split_once("::").unwrap_or(("pcap", text));
    // What follows another character is netmap's: a ring, a pipe.
    let marks = if source == "netmap" { "._" } else { "._-" };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || marks.as_bytes().contains(&byte);
    let is_name = (1..=DEVICE_BYTES_MAX).contains(&device.len()) && device.bytes().all(is_plain);
    let may_be_none = match source {
        "af_packet" => false,
        "pcap" => NO_DEVICES.iter().any(|other| device.starts_with(other)),
        "netmap" => device.starts_with("vale"),
        _ => true,
    };
    (is_name && !may_be_none).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_be_a_device_is_one() {
        let devices = [
            ("eth0", Some("eth0")),
            ("veth-a.12", Some("veth-a.12")),
            ("af_packet::eth0", Some("eth0")),
            ("af_packet::any0", Some("any0")),
            ("netmap::eth0", Some("eth0")),
            ("netmap::eth0-1", None),
            ("netmap::eth0/R", None),
            ("netmap::vale0", None),
            ("napatech::0", None),
            ("udp::0.0.0.0:4789:vxlan", None),
            ("pfring::eth0", None),
            ("any", None),
            ("nflog:5", None),
            ("eth0 eth1", None),
            ("", None),
            ("af_packet::", None),
            ("a-name-that-is-too-long", None),
        ];
        for (interface, found) in devices {
            assert_eq!(device(&interface.into()), found, "{interface}");
        }
    }
}
