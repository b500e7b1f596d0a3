use super::*;

#[test]
fn text_of_addresses_and_subnets() {
    for (text, shown) in [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::", "::"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }
    for bad in ["", "10.0.0", "10.0.0.01", "1::2::3", "fe80::1%eth0", "10.0.0.1 "] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
    for (text, shown, raw) in [
        ("10.1.2.3/8", "10.0.0.0/8", 104),
        ("0.0.0.0/0", "0.0.0.0/0", 96),
        ("2001:db8::1/32", "2001:db8::/32", 32),
        ("::/128", "::/128", 128),
    ] {
        let subnet: Subnet = text.parse().unwrap();
        assert_eq!((subnet.to_string().as_str(), subnet.length), (shown, raw));
    }
    for bad in [
        "10.0.0.0",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "x/8",
        "10.0.0.0/8 ",
    ] {
        assert!(bad.parse::<Subnet>().is_err(), "{bad}");
    }
}

#[test]
fn text_of_ports() {
    for (text, shown) in [
        ("80/tcp", "80/tcp"),
        ("80", "80/tcp"),
        ("53/udp", "53/udp"),
        ("0/icmp", "0/icmp"),
        ("65535/?", "65535/?"),
        ("1/unknown", "1/?"),
        ("1/tcpx", "1/?"),
    ] {
        assert_eq!(text.parse::<Port>().unwrap().to_string(), shown);
    }
    for bad in ["", "/tcp", "65536/tcp", "-1/tcp", "+1/tcp", "0x1/tcp", " 1/tcp"] {
        assert!(bad.parse::<Port>().is_err(), "{bad}");
    }
}

#[test]
fn text_of_timestamps() {
    for (text, nanos, shown) in [
        ("1970-01-01T00:00:00", 0, "1970-01-01T00:00:00"),
        ("1970-01-01T00:00:00.5Z", 500_000_000, "1970-01-01T00:00:00.5"),
        (
            "2026-03-07T16:07:46.868390665",
            1_772_899_666_868_390_665,
            "2026-03-07T16:07:46.868390665",
        ),
        ("1970-01-01T02:00:00+02:00", 0, "1970-01-01T00:00:00"),
        ("1970-01-01T02:30:00+0230", 0, "1970-01-01T00:00:00"),
        ("1969-12-31T23:00:00-01", 0, "1970-01-01T00:00:00"),
        (
            "1969-12-31T23:59:59.999999999",
            -1,
            "1969-12-31T23:59:59.999999999",
        ),
        (
            "2262-04-11T23:47:16.854775807",
            i64::MAX,
            "2262-04-11T23:47:16.854775807",
        ),
        (
            "1677-09-21T00:12:43.145224192",
            i64::MIN,
            "1677-09-21T00:12:43.145224192",
        ),
    ] {
        let timestamp: Timestamp = text.parse().unwrap();
        assert_eq!((timestamp.0, timestamp.to_string().as_str()), (nanos, shown));
        assert_eq!(shown.parse(), Ok(timestamp));
    }
    for bad in [
        "1970-01-01",
        "1970-01-01 00:00:00",
        "1970-02-29T00:00:00",
        "1970-01-01T24:00:00",
        "1970-01-01T00:00:60",
        "1970-01-01T00:00:00.",
        "1970-01-01T00:00:00.1234567890",
        "1970-01-01T00:00:00z",
        "2262-04-11T23:47:16.854775808",
        "9999-01-01T00:00:00",
        "+970-01-01T00:00:00",
    ] {
        assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
    }
}

#[test]
fn text_of_timespans() {
    for (text, nanos, shown) in [
        ("0s", 0, "0s"),
        ("5s", 5_000_000_000, "5s"),
        ("1500ms", 1_500_000_000, "1500ms"),
        ("-7us", -7_000, "-7us"),
        ("1ns", 1, "1ns"),
        ("2min", 120_000_000_000, "120s"),
        ("1h", 3_600_000_000_000, "3600s"),
        ("1d", 86_400_000_000_000, "86400s"),
        ("-9223372036854775808ns", i64::MIN, "-9223372036854775808ns"),
    ] {
        let timespan: Timespan = text.parse().unwrap();
        assert_eq!((timespan.0, timespan.to_string().as_str()), (nanos, shown));
    }
    for bad in [
        "",
        "s",
        "1",
        "1.5s",
        "1 s",
        "1m",
        "+1s",
        "9223372036854775808ns",
        "9223372036854775807s",
    ] {
        assert!(bad.parse::<Timespan>().is_err(), "{bad}");
    }
}
