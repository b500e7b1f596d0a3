use super::*;

/// The pieces of a packet, from the outside in.
fn packet(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ipv4_header(payload: usize, fragment: u16, protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&u16::try_from(20 + payload).unwrap().to_be_bytes());
    header.extend_from_slice(&[0, 1]);
    header.extend_from_slice(&fragment.to_be_bytes());
    header.extend_from_slice(&[64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header
}

fn ipv6_header(payload: usize, next: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
    header.extend_from_slice(&[next, 64]);
    header.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    header
}

/// From port 2150 to 40000, sequence number 7, with a timestamp option and three bytes.
const TCP: &[u8] =
    b"\x08\x66\x9c\x40\0\0\0\x07\0\0\0\x09\x80\x18\0\0\0\0\0\0\x01\x01\x08\x0a\0\0\0\x01\0\0\0\x02abc";
const PAYLOAD: &[u8] = b"abc";

fn capture(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0".to_vec();
    file.extend_from_slice(&link.to_le_bytes());
    for packet in packets {
        let len = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend_from_slice(&1_700_000_000_u32.to_le_bytes());
        file.extend_from_slice(&250_000_u32.to_le_bytes());
        file.extend_from_slice(&len);
        file.extend_from_slice(&len);
        file.extend_from_slice(packet);
    }
    file
}

fn read(file: &[u8]) -> (Vec<Segment>, Skipped) {
    let mut segments = Segments::new(file).unwrap();
    let all = segments.by_ref().collect::<Result<_, _>>().unwrap();
    (all, segments.skipped())
}

#[track_caller]
fn check(link: u32, packet: Vec<u8>, source: &str) {
    let (segments, skipped) = read(&capture(link, &[packet]));
    assert_eq!(skipped, Skipped::default());
    let [segment] = segments.as_slice() else {
        panic!("{segments:?}");
    };
    assert_eq!(segment.time, Duration::from_millis(1_700_000_000_250));
    assert_eq!(segment.source, source.parse().unwrap());
    assert_eq!(segment.destination.port(), 40_000);
    assert_eq!(segment.sequence, 7);
    assert_eq!(segment.payload, PAYLOAD);
    assert!(segment.ack && !segment.syn && !segment.fin && !segment.rst);
}

const V4: &str = "10.0.0.1:2150";
const V6: &str = "[fd00::1]:2150";

#[test]
fn every_link_type_is_read() {
    let v4 = ipv4_header(TCP.len(), 0x4000, 6);
    let v6 = ipv6_header(TCP.len(), 6);
    let macs = [2; 12];
    check(1, packet(&[&macs, b"\x08\0", &v4, TCP]), V4);
    check(1, packet(&[&macs, b"\x86\xdd", &v6, TCP]), V6);
    check(1, packet(&[&macs, b"\x81\0\0\x05\x08\0", &v4, TCP]), V4);
    check(
        1,
        packet(&[&macs, b"\x88\xa8\0\x05\x81\0\0\x06\x86\xdd", &v6, TCP]),
        V6,
    );
    check(0, packet(&[b"\x02\0\0\0", &v4, TCP]), V4);
    check(108, packet(&[b"\0\0\0\x18", &v6, TCP]), V6);
    check(101, packet(&[&v4, TCP]), V4);
    check(12, packet(&[&v4, TCP]), V4);
    check(229, packet(&[&v6, TCP]), V6);
    check(113, packet(&[&[0; 14], b"\x08\0", &v4, TCP]), V4);
    check(276, packet(&[b"\x86\xdd", &[0; 18], &v6, TCP]), V6);
}

#[test]
fn other_links_are_refused() {
    let error = Segments::new(&capture(147, &[])[..]).unwrap_err();
    assert!(error.to_string().ends_with("is not supported"), "{error}");
}

#[test]
fn padding_behind_the_packet_is_no_payload() {
    let v4 = ipv4_header(TCP.len(), 0, 6);
    check(1, packet(&[&[2; 12], b"\x08\0", &v4, TCP, &[0; 9]]), V4);
    let v6 = ipv6_header(TCP.len(), 6);
    check(1, packet(&[&[2; 12], b"\x86\xdd", &v6, TCP, &[0; 9]]), V6);
}

#[test]
fn a_packet_without_a_length_is_taken_whole() {
    let mut v4 = ipv4_header(TCP.len(), 0, 6);
    v4[2..4].fill(0);
    check(101, packet(&[&v4, TCP]), V4);
    check(101, packet(&[&ipv6_header(0, 6), TCP]), V6);
}

#[test]
fn extension_headers_of_ipv6_are_passed_over() {
    let hop_by_hop = b"\x3c\0\x05\x02\0\0\0\0";
    let destination = b"\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let v6 = ipv6_header(TCP.len() + 24, 0);
    check(101, packet(&[&v6, hop_by_hop, destination, TCP]), V6);
    let authentication = b"\x06\x01\0\0\0\0\0\0\0\0\0\0";
    let v6 = ipv6_header(TCP.len() + 12, 51);
    check(101, packet(&[&v6, authentication, TCP]), V6);
}

#[test]
fn what_is_cut_off_in_the_capture_is_missing_from_the_payload() {
    let v4 = ipv4_header(TCP.len(), 0, 6);
    let whole = packet(&[&v4, TCP]);
    let (segments, skipped) = read(&capture(101, &[whole[..whole.len() - 2].to_vec()]));
    assert_eq!(segments[0].payload, PAYLOAD[..1]);
    assert_eq!(skipped, Skipped::default());
}

#[test]
fn every_packet_cut_off_in_its_headers_is_counted() {
    let headers = packet(&[&ipv4_header(TCP.len(), 0, 6), &TCP[..32]]);
    let cut: Vec<Vec<u8>> = (0..headers.len()).map(|len| headers[..len].to_vec()).collect();
    let (segments, skipped) = read(&capture(101, &cut));
    assert_eq!(segments, []);
    assert_eq!(skipped.malformed, u64::try_from(cut.len()).unwrap());
}

#[test]
fn fragments_are_counted_and_other_protocols_are_not() {
    let (segments, skipped) = read(&capture(
        101,
        &[
            packet(&[&ipv4_header(TCP.len(), 0x2000, 6), TCP]),
            packet(&[&ipv4_header(TCP.len(), 0x0010, 6), TCP]),
            packet(&[&ipv6_header(TCP.len(), 44), TCP]),
            packet(&[&ipv4_header(TCP.len(), 0, 17), TCP]),
            packet(&[&ipv6_header(TCP.len(), 58), TCP]),
        ],
    ));
    assert_eq!(segments, []);
    let expected = Skipped {
        fragments: 3,
        malformed: 0,
    };
    assert_eq!(skipped, expected);
}

#[test]
fn a_packet_longer_than_what_was_kept_of_it_is_read() {
    let v4 = ipv4_header(TCP.len(), 0, 6);
    let mut file = capture(101, &[packet(&[&v4, TCP])]);
    // The file says that packets are kept up to 40 bytes, and that this one had 900.
    file[16..20].copy_from_slice(&40_u32.to_le_bytes());
    file[36..40].copy_from_slice(&900_u32.to_le_bytes());
    assert_eq!(read(&file).0.len(), 1);
}

#[test]
fn nanoseconds_and_the_other_byte_order_are_read() {
    let v4 = ipv4_header(TCP.len(), 0, 6);
    let whole = packet(&[&v4, TCP]);
    let mut file = b"\xa1\xb2\x3c\x4d\0\x02\0\x04\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\x65".to_vec();
    let len = u32::try_from(whole.len()).unwrap().to_be_bytes();
    for field in [
        1_700_000_000_u32.to_be_bytes(),
        250_000_001_u32.to_be_bytes(),
        len,
        len,
    ] {
        file.extend_from_slice(&field);
    }
    file.extend_from_slice(&whole);
    assert_eq!(read(&file).0[0].time, Duration::new(1_700_000_000, 250_000_001));
}

/// A file in pcapng format with numbers in one byte order.
struct Ng {
    file: Vec<u8>,
    big: bool,
}

impl Ng {
    fn new(big: bool) -> Self {
        let mut ng = Self {
            file: Vec::new(),
            big,
        };
        ng.section();
        ng
    }

    fn u32(&self, number: u32) -> [u8; 4] {
        if self.big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn u16(&self, number: u16) -> [u8; 2] {
        if self.big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn block(&mut self, kind: u32, parts: &[&[u8]]) {
        let mut body = parts.concat();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = self.u32(u32::try_from(body.len() + 12).unwrap());
        self.file
            .extend([&self.u32(kind)[..], &len, &body, &len].concat());
    }

    fn section(&mut self) {
        let (magic, version) = (self.u32(0x1a2b_3c4d), [self.u16(1), self.u16(0)].concat());
        self.block(0x0a0d_0d0a, &[&magic, &version, &[0xff; 8]]);
    }

    /// `options`: their codes and contents.
    fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) {
        let mut all = Vec::new();
        for (code, content) in options {
            all.extend(self.u16(*code));
            all.extend(self.u16(u16::try_from(content.len()).unwrap()));
            all.extend_from_slice(content);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            all.extend([0; 4]);
        }
        let (link, snaplen) = (self.u16(link), self.u32(snaplen));
        self.block(1, &[&link, &[0, 0], &snaplen, &all]);
    }

    fn packet(&mut self, interface: u32, time: u64, packet: &[u8]) {
        let [high, low] = [time >> 32, time & 0xffff_ffff].map(|half| self.u32(u32::try_from(half).unwrap()));
        let len = self.u32(u32::try_from(packet.len()).unwrap());
        let padding = vec![0; packet.len().next_multiple_of(4) - packet.len()];
        // With a comment that is no UTF-8.
        let options = [&self.u16(1)[..], &self.u16(1), &[0xff, 0, 0, 0], &[0; 4]].concat();
        let interface = self.u32(interface);
        self.block(
            6,
            &[&interface, &high, &low, &len, &len, packet, &padding, &options],
        );
    }
}

fn tcp_in_ipv4() -> Vec<u8> {
    packet(&[&ipv4_header(TCP.len(), 0, 6), TCP])
}

#[test]
fn pcapng_is_read_in_either_byte_order_and_unit_of_time() {
    let time = Duration::new(1_700_000_000, 250_000_000);
    for big in [false, true] {
        let offset: i64 = -1_000;
        let offset = if big {
            offset.to_be_bytes()
        } else {
            offset.to_le_bytes()
        };
        let mut ng = Ng::new(big);
        ng.interface(101, 0, &[]);
        ng.interface(1, 0, &[(2, b"eth0"), (9, &[9])]);
        ng.interface(276, 0x4_0000, &[(9, &[0x8a]), (14, &offset)]);
        // Name resolution, that is to say names of which the crate's own reader trusts the lengths.
        ng.block(4, &[b"\0\x01\xff\xff"]);
        ng.packet(0, 1_700_000_000_250_000, &tcp_in_ipv4());
        ng.packet(
            1,
            1_700_000_000_250_000_000,
            &packet(&[&[2; 12], b"\x08\0", &tcp_in_ipv4()]),
        );
        // An unknown block, and statistics.
        ng.block(0x0000_0bad, &[b"custom"]);
        ng.block(5, &[&[0; 4]]);
        ng.packet(
            2,
            1_700_001_000 * 1024 + 256,
            &packet(&[b"\x08\0", &[0; 18], &tcp_in_ipv4()]),
        );
        // Without a time and a length of its own; one byte is padding.
        let simple = tcp_in_ipv4();
        let len = ng.u32(u32::try_from(simple.len()).unwrap());
        ng.block(3, &[&len, &simple]);
        // Interfaces are counted anew in each section.
        ng.section();
        ng.interface(101, 0, &[(9, &[3])]);
        ng.packet(0, 1_700_000_000_250, &tcp_in_ipv4());
        let (segments, skipped) = read(&ng.file);
        assert_eq!(skipped, Skipped::default());
        assert_eq!(segments.len(), 5);
        for segment in segments {
            assert_eq!(segment.time, time);
            assert_eq!(segment.source, V4.parse().unwrap());
            assert_eq!(segment.payload, PAYLOAD);
        }
    }
}

#[test]
fn what_is_wrong_in_pcapng_is_said() {
    let error = |ng: &Ng| {
        let mut segments = Segments::new(&ng.file[..]).unwrap();
        let error = segments.find_map(Result::err).unwrap();
        assert!(segments.next().is_none(), "nothing follows");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let mut ng = Ng::new(false);
    ng.packet(0, 0, &tcp_in_ipv4());
    assert!(error(&ng).contains("block 2 cannot be read"), "{}", error(&ng));
    assert!(
        error(&ng).contains("interface is not described"),
        "{}",
        error(&ng)
    );
    let mut ng = Ng::new(true);
    ng.interface(105, 0, &[]);
    ng.packet(0, 0, &tcp_in_ipv4());
    assert!(error(&ng).starts_with("link type"), "{}", error(&ng));
    for damage in [0_u32, 4_000_000_000] {
        let mut ng = Ng::new(false);
        ng.interface(101, 0, &[]);
        let at = ng.file.len();
        ng.packet(0, 0, &tcp_in_ipv4());
        // What the packet claims to have.
        ng.file[at + 20..at + 24].copy_from_slice(&damage.to_le_bytes());
        let mut segments = Segments::new(&ng.file[..]).unwrap();
        let refused = segments.find_map(Result::err).is_some();
        assert_eq!(refused, damage > 0);
    }
    // Cut anywhere or changed in any place: an end, no panic.
    let mut ng = Ng::new(false);
    ng.interface(101, 0, &[(9, &[9])]);
    ng.packet(0, 0, &tcp_in_ipv4());
    ng.block(3, &[&[1, 0, 0, 0]]);
    for at in 0..ng.file.len() {
        for file in [ng.file[..at].to_vec(), {
            let mut changed = ng.file.clone();
            changed[at] = 0xff;
            changed
        }] {
            if let Ok(segments) = Segments::new(&file[..]) {
                assert!(segments.count() < 4);
            }
        }
    }
}
