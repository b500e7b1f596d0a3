//! Packets of a capture in the pcapng format, as Wireshark, dumpcap and tshark write it.
//!
//! The crate finds the blocks and reads the descriptions of the interfaces. Packets are read here: of their options, which the
//! crate insists on understanding, none matters.

use std::{fmt, io::Read, time::Duration};

use pcap_file::{
    Endianness, PcapError,
    pcapng::{
        PcapNgReader,
        blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
    },
};

use super::{CaptureError, Link, Packet};

/// What every section of a file begins with.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Types of blocks.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// Where units of time are not said to be others.
const MICROSECONDS: u8 = 6;

pub(super) struct Reader<R: Read> {
    input: PcapNgReader<R>,
    /// Of the packet before, for those without a time.
    time: Duration,
    blocks: u64,
}

/// The crate's reader has none.
impl<R: Read> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("time", &self.time)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Result<Self, CaptureError> {
        Ok(Self {
            input: PcapNgReader::new(input).map_err(CaptureError::NotPcap)?,
            time: Duration::ZERO,
            blocks: 1,
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, CaptureError>> {
        loop {
            let order = self.input.section().endianness;
            let number = self.blocks + 1;
            let block = match self.input.next_raw_block()? {
                Ok(block) => block,
                Err(source) => return Some(Err(CaptureError::Block { number, source })),
            };
            self.blocks = number;
            let contents = match block.type_ {
                ENHANCED_PACKET | PACKET => Contents::read(&block.body, order, block.type_ == PACKET),
                SIMPLE_PACKET => Contents::read_simple(&block.body, order),
                _ => continue,
            };
            let damaged = |what| {
                let source = PcapError::InvalidField(what);
                Some(Err(CaptureError::Block { number, source }))
            };
            let Some(mut contents) = contents else {
                return damaged("the packet is longer than its block");
            };
            let interface = usize::try_from(contents.interface)
                .ok()
                .and_then(|interface| self.input.interfaces().get(interface));
            let Some(interface) = interface else {
                return damaged("the packet's interface is not described");
            };
            if let Some(units) = contents.time {
                self.time = time(interface, units);
            } else if interface.snaplen > 0 {
                // A packet without a header of its own does not say how much of it was kept.
                contents
                    .data
                    .truncate(usize::try_from(interface.snaplen).unwrap_or(usize::MAX));
            }
            let time = self.time;
            let link = Link::new(interface.linktype);
            let data = contents.data;
            return Some(link.map(|link| Packet { link, time, data }));
        }
    }
}

/// What a block says of its packet.
struct Contents {
    interface: u32,
    /// In the units of the interface.
    time: Option<u64>,
    data: Vec<u8>,
}

impl Contents {
    /// Of an enhanced packet block, or of an old packet block, which counts lost packets beside the interface.
    fn read(body: &[u8], order: Endianness, old: bool) -> Option<Self> {
        let number = |at| u32_at(body, at, order);
        let interface = match (order, number(0)?) {
            (Endianness::Big, both) if old => both >> 16,
            (Endianness::Little, both) if old => both & 0xffff,
            (_, interface) => interface,
        };
        let captured = usize::try_from(number(12)?).ok()?;
        Some(Self {
            interface,
            time: Some(u64::from(number(4)?) << 32 | u64::from(number(8)?)),
            data: body.get(20..)?.get(..captured)?.to_vec(),
        })
    }

    /// Of a simple packet block: the block's end may be padding.
    fn read_simple(body: &[u8], order: Endianness) -> Option<Self> {
        let len = usize::try_from(u32_at(body, 0, order)?).ok()?;
        let rest = body.get(4..)?;
        Some(Self {
            interface: 0,
            time: None,
            data: rest.get(..len).unwrap_or(rest).to_vec(),
        })
    }
}

fn u32_at(body: &[u8], at: usize, order: Endianness) -> Option<u32> {
    let bytes = *body.get(at..)?.first_chunk()?;
    Some(match order {
        Endianness::Big => u32::from_be_bytes(bytes),
        Endianness::Little => u32::from_le_bytes(bytes),
    })
}

/// Since the Unix epoch. Zero if the interface counts in units that are too small for a second to be counted.
fn time(interface: &InterfaceDescriptionBlock<'_>, units: u64) -> Duration {
    let (mut resolution, mut offset) = (MICROSECONDS, 0);
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
            InterfaceDescriptionOption::IfTsOffset(seconds) => offset = seconds.cast_signed(),
            _ => {}
        }
    }
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    let Some(per_second) = base.checked_pow(u32::from(resolution & 0x7f)) else {
        return Duration::ZERO;
    };
    let units = u128::from(units);
    let seconds = u64::try_from(units / per_second).unwrap_or(u64::MAX);
    // Units are below 2^64: this does not overflow.
    let nanos = u32::try_from(units % per_second * NANOS_PER_SEC / per_second).unwrap_or_default();
    Duration::new(seconds.saturating_add_signed(offset), nanos)
}
