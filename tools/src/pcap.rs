//! TCP segments of a packet capture in the pcap format, as tcpdump writes it, or the pcapng format, as Wireshark does.

mod ng;

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
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
    packets: u64,
    skipped: Skipped,
    failed: bool,
}

/// The bytes that tell the formats apart, and the rest.
type Input<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

#[derive(Debug)]
enum Format<R: Read> {
    Pcap(PcapReader<R>),
    PcapNg(ng::Reader<R>),
}

struct Packet {
    link: Link,
    time: Duration,
    data: Vec<u8>,
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
        let format = if is_ng {
            Format::PcapNg(ng::Reader::new(input)?)
        } else {
            let reader = PcapReader::new(input).map_err(CaptureError::NotPcap)?;
            Link::new(reader.header().datalink)?;
            Format::Pcap(reader)
        };
        Ok(Self {
            format,
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
                Format::Pcap(reader) => next(reader, self.packets)?,
                Format::PcapNg(reader) => reader.next()?,
            };
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            match segment(&packet) {
                Ok(segment) => return Some(Ok(segment)),
                Err(NoSegment::OtherProtocol) => {}
                Err(NoSegment::Fragment) => self.skipped.fragments += 1,
                Err(NoSegment::Malformed) => self.skipped.malformed += 1,
            }
        }
        None
    }
}

/// The next packet of a capture in pcap format, whose number is given.
fn next<R: Read>(reader: &mut PcapReader<R>, number: u64) -> Option<Result<Packet, CaptureError>> {
    let header = reader.header();
    let packet = match reader.next_raw_packet()? {
        Ok(packet) => packet,
        Err(source) => return Some(Err(CaptureError::Packet { number, source })),
    };
    let time = time(&packet, header.ts_resolution == TsResolution::NanoSecond);
    Some(Link::new(header.datalink).map(|link| Packet {
        link,
        time,
        data: packet.data.into_owned(),
    }))
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
    /// So many bytes of no interest: none, or an address family, as on the loopback interface of BSD and macOS.
    Bytes(usize),
    /// A header of so many bytes with an `EtherType` in this place: Linux' "any" interface, and its successor.
    Cooked {
        ether_type: usize,
        len: usize,
    },
}

impl Link {
    const fn new(link: DataLink) -> Result<Self, CaptureError> {
        match link {
            DataLink::ETHERNET => Ok(Self::Ethernet),
            DataLink::NULL | DataLink::LOOP => Ok(Self::Bytes(4)),
            DataLink::LINUX_SLL => Ok(Self::Cooked {
                ether_type: 14,
                len: 16,
            }),
            DataLink::LINUX_SLL2 => Ok(Self::Cooked {
                ether_type: 0,
                len: 20,
            }),
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 | DataLink::Unknown(12 | 14) => {
                Ok(Self::Bytes(0))
            }
            _ => Err(CaptureError::LinkType(link)),
        }
    }

    /// What a packet consists of; `None` if it is cut off before its IP header.
    fn layers(self, packet: &[u8]) -> Option<LaxSlicedPacket<'_>> {
        match self {
            Self::Ethernet => LaxSlicedPacket::from_ethernet(packet).ok(),
            Self::Bytes(len) => LaxSlicedPacket::from_ip(packet.get(len..)?).ok(),
            Self::Cooked { ether_type, len } => {
                let ether_type = packet.get(ether_type..)?.first_chunk()?;
                let ether_type = EtherType(u16::from_be_bytes(*ether_type));
                Some(LaxSlicedPacket::from_ether_type(ether_type, packet.get(len..)?))
            }
        }
    }
}

enum NoSegment {
    OtherProtocol,
    Fragment,
    Malformed,
}

fn segment(packet: &Packet) -> Result<Segment, NoSegment> {
    let layers = packet.link.layers(&packet.data).ok_or(NoSegment::Malformed)?;
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
        time: packet.time,
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

#[cfg(test)]
mod tests;
