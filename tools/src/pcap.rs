//! TCP segments of a packet capture in the pcap format, as tcpdump writes it, or the pcapng format, as Wireshark does.

mod ng;

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use etherparse::{
    EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice,
    err::{LenError, ip::LaxHeaderSliceError},
};
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

fn segment(link: Link, time: Duration, packet: &[u8]) -> Result<Segment, NoSegment> {
    let mut packet = Cursor(packet);
    let layers = match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(packet.0)?,
        Link::Cooked => {
            packet.skip(14)?;
            let ethertype = packet.u16()?;
            LaxSlicedPacket::from_ether_type(EtherType(ethertype), packet.0)
        }
        Link::Cooked2 => {
            let ethertype = packet.u16()?;
            packet.skip(18)?;
            LaxSlicedPacket::from_ether_type(EtherType(ethertype), packet.0)
        }
        Link::Family => {
            packet.skip(4)?;
            LaxSlicedPacket::from_ip(packet.0)?
        }
        Link::Raw => LaxSlicedPacket::from_ip(packet.0)?,
    };
    let missing = match layers.stop_err {
        Some(_) => NoSegment::Malformed,
        None => NoSegment::OtherProtocol,
    };
    let (source, destination): (IpAddr, IpAddr) = match &layers.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        Some(LaxNetSlice::Arp(_)) | None => return Err(missing),
    };
    let payload = layers.net.as_ref().and_then(LaxNetSlice::ip_payload_ref);
    if payload.is_some_and(|payload| payload.fragmented) {
        return Err(NoSegment::Fragment);
    }
    let Some(TransportSlice::Tcp(tcp)) = layers.transport else {
        return Err(missing);
    };
    Ok(Segment {
        time,
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        fin: tcp.fin(),
        syn: tcp.syn(),
        rst: tcp.rst(),
        ack: tcp.ack(),
        payload: Bytes::copy_from_slice(tcp.payload()),
    })
}

impl From<LenError> for NoSegment {
    fn from(_: LenError) -> Self {
        Self::Malformed
    }
}

impl From<LaxHeaderSliceError> for NoSegment {
    fn from(_: LaxHeaderSliceError) -> Self {
        Self::Malformed
    }
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
}

#[cfg(test)]
mod tests;
