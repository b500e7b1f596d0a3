//! TCP segments of a packet capture in the pcap format, as tcpdump writes it, or the pcapng format, as Wireshark does.

mod ng;

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use pcap_file::{
    DataLink, PcapError, TsResolution,
    pcap::{PcapReader, RawPcapPacket},
};

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "these are TCP's own flags")]
pub struct Segment {
    /// When it was captured, since the Unix epoch.
    pub time: Duration,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// The sequence number of its first byte, or of its SYN.
    pub sequence: u32,
    /// Opens a connection, or answers that.
    pub syn: bool,
    /// Has an acknowledgement; with `syn` it comes from the server.
    pub ack: bool,
    /// The sender has nothing more to say.
    pub fin: bool,
    pub rst: bool,
    /// The bytes, as far as they were captured.
    pub payload: Bytes,
}

/// Packets that are no TCP segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Fragments of IP packets, which are not put together.
    pub fragments: u64,
    /// Packets too short for what they claim to be.
    pub malformed: u64,
}

/// A capture cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Not a capture at all.
    #[error("not a packet capture in pcap or pcapng format")]
    NotPcap(#[source] PcapError),
    /// Captured from an interface of a kind that we cannot read.
    #[error("link type {0:?} is not supported")]
    LinkType(DataLink),
    /// The file ends within a packet or is damaged.
    #[error("packet {number} cannot be read")]
    Packet {
        /// The packet's number, from 1.
        number: u64,
        #[source]
        source: PcapError,
    },
    /// The same of a file in pcapng format, whose blocks are not all packets.
    #[error("block {number} cannot be read")]
    Block {
        /// The block's number, from 1.
        number: u64,
        #[source]
        source: PcapError,
    },
}

/// The TCP segments of a capture, in its order.
#[derive(Debug)]
pub struct Segments<R: Read> {
    format: Format<Input<R>>,
    /// What is read of the packet.
    data: Vec<u8>,
    packets: u64,
    skipped: Skipped,
    failed: bool,
}

/// The bytes that tell the formats apart, and the rest.
type Input<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

#[derive(Debug)]
enum Format<R: Read> {
    Pcap(Classic<R>),
    PcapNg(ng::Reader<R>),
}

/// A packet, but for its content.
struct Packet {
    link: Link,
    time: Duration,
}

impl<R: Read> Segments<R> {
    /// Reads the header of a capture.
    pub fn new(mut input: R) -> Result<Self, CaptureError> {
        let mut magic = Vec::new();
        let len = u64::try_from(ng::MAGIC.len()).unwrap_or_default();
        input
            .by_ref()
            .take(len)
            .read_to_end(&mut magic)
            .map_err(|error| CaptureError::NotPcap(PcapError::IoError(error)))?;
        let is_ng = magic == ng::MAGIC;
        let input = io::Cursor::new(magic).chain(input);
        Ok(Self {
            format: if is_ng {
                Format::PcapNg(ng::Reader::new(input)?)
            } else {
                Format::Pcap(Classic::new(input)?)
            },
            data: Vec::new(),
            packets: 0,
            skipped: Skipped::default(),
            failed: false,
        })
    }

    /// The number of the packet that was read last, from 1, as Wireshark counts them.
    pub const fn packet(&self) -> u64 {
        self.packets
    }

    /// What was passed over so far.
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }
}

impl<R: Read> Iterator for Segments<R> {
    type Item = Result<Segment, CaptureError>;

    /// After an error nothing follows.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            self.packets += 1;
            let packet = match &mut self.format {
                Format::Pcap(reader) => reader.next(self.packets, &mut self.data)?,
                Format::PcapNg(reader) => reader.next(&mut self.data)?,
            };
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            match segment(packet.link, packet.time, &self.data) {
                Ok(segment) => return Some(Ok(segment)),
                Err(NoSegment::OtherProtocol) => {}
                Err(NoSegment::Fragment) => self.skipped.fragments += 1,
                Err(NoSegment::Malformed) => self.skipped.malformed += 1,
            }
        }
        None
    }
}

/// Packets of a capture in pcap format.
#[derive(Debug)]
struct Classic<R: Read> {
    reader: PcapReader<R>,
    link: Link,
    nanoseconds: bool,
}

impl<R: Read> Classic<R> {
    fn new(input: R) -> Result<Self, CaptureError> {
        let reader = PcapReader::new(input).map_err(CaptureError::NotPcap)?;
        let header = reader.header();
        Ok(Self {
            link: Link::new(header.datalink).ok_or(CaptureError::LinkType(header.datalink))?,
            nanoseconds: header.ts_resolution == TsResolution::NanoSecond,
            reader,
        })
    }

    /// The next packet, whose number is given, in `data`.
    fn next(&mut self, number: u64, data: &mut Vec<u8>) -> Option<Result<Packet, CaptureError>> {
        let packet = match self.reader.next_raw_packet()? {
            Ok(packet) => packet,
            Err(source) => return Some(Err(CaptureError::Packet { number, source })),
        };
        data.clear();
        data.extend_from_slice(&packet.data);
        Some(Ok(Packet {
            link: self.link,
            time: time(&packet, self.nanoseconds),
        }))
    }
}

fn time(packet: &RawPcapPacket<'_>, nanoseconds: bool) -> Duration {
    let fraction = u64::from(packet.ts_frac);
    let fraction = if nanoseconds {
        Duration::from_nanos(fraction)
    } else {
        Duration::from_micros(fraction)
    };
    Duration::from_secs(u64::from(packet.ts_sec)) + fraction
}

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Ethernet,
    /// An address family of four bytes, as on the loopback interface of BSD and macOS.
    Family,
    /// Linux' "any" interface.
    Cooked,
    /// Its successor.
    Cooked2,
    /// Nothing.
    Raw,
}

impl Link {
    const fn new(link: DataLink) -> Option<Self> {
        match link {
            DataLink::ETHERNET => Some(Self::Ethernet),
            DataLink::NULL | DataLink::LOOP => Some(Self::Family),
            DataLink::LINUX_SLL => Some(Self::Cooked),
            DataLink::LINUX_SLL2 => Some(Self::Cooked2),
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 | DataLink::Unknown(12 | 14) => Some(Self::Raw),
            _ => None,
        }
    }
}

enum NoSegment {
    OtherProtocol,
    Fragment,
    Malformed,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const PROTOCOL_TCP: u8 = 6;

fn segment(link: Link, time: Duration, packet: &[u8]) -> Result<Segment, NoSegment> {
    let mut packet = Cursor(packet);
    let ethertype = match link {
        Link::Ethernet => {
            packet.skip(12)?;
            let mut ethertype = packet.u16()?;
            while ETHERTYPES_VLAN.contains(&ethertype) {
                packet.skip(2)?;
                ethertype = packet.u16()?;
            }
            Some(ethertype)
        }
        Link::Cooked => {
            packet.skip(14)?;
            Some(packet.u16()?)
        }
        Link::Cooked2 => {
            let protocol = packet.u16()?;
            packet.skip(18)?;
            Some(protocol)
        }
        Link::Family => {
            packet.skip(4)?;
            None
        }
        Link::Raw => None,
    };
    let version = packet.0.first().map(|first| first >> 4);
    match (ethertype, version) {
        (Some(ETHERTYPE_IPV4) | None, Some(4)) => ipv4(time, packet),
        (Some(ETHERTYPE_IPV6) | None, Some(6)) => ipv6(time, packet),
        (Some(ETHERTYPE_IPV4 | ETHERTYPE_IPV6), _) => Err(NoSegment::Malformed),
        _ => Err(NoSegment::OtherProtocol),
    }
}

fn ipv4(time: Duration, mut packet: Cursor<'_>) -> Result<Segment, NoSegment> {
    let whole = packet.0.len();
    let [first, _] = packet.array()?;
    let header_len = usize::from(first & 0x0f) * 4;
    let total_len = usize::from(packet.u16()?);
    packet.skip(2)?;
    let fragment = packet.u16()?;
    let [_, protocol] = packet.array()?;
    packet.skip(2)?;
    let source = Ipv4Addr::from(packet.array::<4>()?);
    let destination = Ipv4Addr::from(packet.array::<4>()?);
    packet.skip(header_len.checked_sub(20).ok_or(NoSegment::Malformed)?)?;
    // Flag "more fragments" and offset.
    if fragment & 0x3fff != 0 {
        return Err(NoSegment::Fragment);
    }
    if protocol != PROTOCOL_TCP {
        return Err(NoSegment::OtherProtocol);
    }
    // What exceeds the total is padding. Segments that the network card cuts up later have no total.
    if total_len != 0 {
        packet.cut(total_len.min(whole).saturating_sub(header_len));
    }
    tcp(time, source.into(), destination.into(), packet)
}

fn ipv6(time: Duration, mut packet: Cursor<'_>) -> Result<Segment, NoSegment> {
    packet.skip(4)?;
    let payload_len = usize::from(packet.u16()?);
    let [mut next, _hop_limit] = packet.array()?;
    let source = Ipv6Addr::from(packet.array::<16>()?);
    let destination = Ipv6Addr::from(packet.array::<16>()?);
    if payload_len != 0 {
        packet.cut(payload_len);
    }
    loop {
        match next {
            PROTOCOL_TCP => return tcp(time, source.into(), destination.into(), packet),
            // Hop-by-hop, routing and destination options; the authentication header counts in other units.
            0 | 43 | 60 | 51 => {
                let [following, len] = packet.array()?;
                let len = usize::from(len);
                packet.skip(if next == 51 { len * 4 + 6 } else { len * 8 + 6 })?;
                next = following;
            }
            44 => return Err(NoSegment::Fragment),
            _ => return Err(NoSegment::OtherProtocol),
        }
    }
}

fn tcp(
    time: Duration,
    source: IpAddr,
    destination: IpAddr,
    mut packet: Cursor<'_>,
) -> Result<Segment, NoSegment> {
    let source = SocketAddr::new(source, packet.u16()?);
    let destination = SocketAddr::new(destination, packet.u16()?);
    let sequence = u32::from_be_bytes(packet.array()?);
    packet.skip(4)?;
    let [offset, flags] = packet.array()?;
    packet.skip(6)?;
    let options = (usize::from(offset >> 4) * 4)
        .checked_sub(20)
        .ok_or(NoSegment::Malformed)?;
    packet.skip(options)?;
    Ok(Segment {
        time,
        source,
        destination,
        sequence,
        fin: flags & 0x01 != 0,
        syn: flags & 0x02 != 0,
        rst: flags & 0x04 != 0,
        ack: flags & 0x10 != 0,
        payload: Bytes::copy_from_slice(packet.0),
    })
}

/// What is left of a packet.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoSegment> {
        let (array, rest) = self.0.split_first_chunk().ok_or(NoSegment::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u16(&mut self) -> Result<u16, NoSegment> {
        self.array().map(u16::from_be_bytes)
    }

    fn skip(&mut self, len: usize) -> Result<(), NoSegment> {
        self.0 = self.0.get(len..).ok_or(NoSegment::Malformed)?;
        Ok(())
    }

    fn cut(&mut self, len: usize) {
        self.0 = self.0.get(..len).unwrap_or(self.0);
    }
}

#[cfg(test)]
mod tests;
