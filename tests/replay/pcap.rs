//! Writes captures: the reverse of what `replay` reads, so that it can be given recordings that never happened.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use broker_codec::frame::{OPERATION_FRAME_MAX, put_header};
use bytes::{BufMut, Bytes, BytesMut};
use tools::{
    replay::capture::{Capture, Content},
    tcp::Speaker,
};

/// The most that goes into one packet.
const SEGMENT_MAX: usize = 60_000;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

/// A capture of the same messages on the same connections, one or more packets each.
pub(super) fn written(capture: &Capture) -> Vec<u8> {
    let mut out = BytesMut::new();
    // The header of a pcap file: magic number, version 2.4, zone, precision, longest packet, raw IP.
    out.put_u32_le(0xa1b2_c3d4);
    out.put_u16_le(2);
    out.put_u16_le(4);
    out.put_slice(&[0; 8]);
    out.put_u32_le(262_144);
    out.put_u32_le(101);
    // The next sequence number of each side of each connection.
    let mut next = vec![[1_u32, 1]; capture.connections.len()];
    for message in &capture.messages {
        let addresses = capture.connections[message.connection].addresses;
        let (own, other) = (addresses.of(message.from), addresses.of(message.from.other()));
        let side = usize::from(message.from == Speaker::Server);
        let sequence = &mut next[message.connection][side];
        let (flags, bytes) = match &message.content {
            Content::Opened => {
                *sequence = 0;
                (SYN, Bytes::new())
            }
            Content::Closed => (FIN | ACK, Bytes::new()),
            Content::Handshake(frame) => (ACK, framed(frame)),
            Content::Envelope(envelope) => {
                let mut frame = BytesMut::new();
                envelope.encode_frame(&mut frame).unwrap();
                (ACK, frame.freeze())
            }
            Content::Head(head) => (ACK, head.clone()),
            Content::Text(text) => (ACK, websocket(text)),
            Content::Control => continue,
        };
        let mut chunks = bytes.chunks(SEGMENT_MAX).peekable();
        if chunks.peek().is_none() {
            packet(&mut out, message.time, [own, other], *sequence, flags, &[]);
        }
        for chunk in chunks {
            packet(&mut out, message.time, [own, other], *sequence, flags, chunk);
            *sequence = sequence.wrapping_add(u32::try_from(chunk.len()).unwrap());
        }
        if flags & (SYN | FIN) != 0 {
            *sequence = sequence.wrapping_add(1);
        }
    }
    out.to_vec()
}

fn packet(
    out: &mut BytesMut,
    time: Duration,
    [from, to]: [SocketAddr; 2],
    sequence: u32,
    flags: u8,
    payload: &[u8],
) {
    let len = u16::try_from(40 + payload.len()).unwrap();
    out.put_u32_le(u32::try_from(time.as_secs()).unwrap());
    out.put_u32_le(time.subsec_micros());
    out.put_u32_le(len.into());
    out.put_u32_le(len.into());
    out.put_u8(0x45);
    out.put_u8(0);
    out.put_u16(len);
    out.put_slice(&[0, 0, 0, 0, 64, 6, 0, 0]);
    for address in [from, to] {
        out.put_u32(v4(address).to_bits());
    }
    out.put_u16(from.port());
    out.put_u16(to.port());
    out.put_u32(sequence);
    out.put_u32(0);
    out.put_u8(0x50);
    out.put_u8(flags);
    out.put_slice(&[0; 6]);
    out.put_slice(payload);
}

fn v4(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} in a capture of 127.0.0.1"),
    }
}

fn framed(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_header(content.len(), OPERATION_FRAME_MAX, &mut out).unwrap();
    out.put_slice(content);
    out.freeze()
}

/// A text message in one frame without a mask.
fn websocket(text: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0x81);
    match text.len() {
        len @ 0..=125 => out.put_u8(u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(u16::try_from(len).unwrap());
        }
        len => {
            out.put_u8(127);
            out.put_u64(u64::try_from(len).unwrap());
        }
    }
    out.put_slice(text);
    out.freeze()
}
