//! A trace of which it is known how many connections it has.

use std::{fs, path::Path};

/// Writes one with so many connections, of a packet each, from 192.0.2.1 and at 100 per second.
pub(super) fn write(path: &Path, connections: u16) {
    // Written on a machine of this byte order.
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect::<Vec<_>>()
    };
    // pcap 2.4, Ethernet.
    let mut trace = words(&[0xa1b2_c3d4, 0, 0, 0, 65_535, 1]);
    trace[4..8].copy_from_slice(&[2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat());
    for number in 0..connections {
        let packet = packet(10_000 + number);
        let (length, at) = (u32::try_from(packet.len()).expect("short"), u32::from(number));
        trace.extend(words(&[
            1_700_000_000 + at / 100,
            at % 100 * 10_000,
            length,
            length,
        ]));
        trace.extend(packet);
    }
    fs::write(path, trace).expect("it can be written");
}

/// A UDP packet from this port, in an Ethernet frame.
fn packet(from: u16) -> Vec<u8> {
    const DATA: &[u8; 20] = b"one of a known count";
    let length = 8 + u16::try_from(DATA.len()).expect("short");
    let mut ip = vec![0x45, 0];
    ip.extend((20 + length).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    let sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from(folded).expect("small");
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    // Without a checksum of its own.
    let udp = [from, 9000, length, 0].map(u16::to_be_bytes).concat();
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    [&ethernet[..], &ip, &udp, DATA].concat()
}
