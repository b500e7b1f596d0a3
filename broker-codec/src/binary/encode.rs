use bytes::{BufMut, BytesMut};
use caf_bincode_compat::varbyte;

use crate::data::{DEPTH_MAX, Data, EncodeError, EnumValue, Kind};

use super::real;

/// Appends the bytes of a value. After an error `out` holds a part of them.
pub fn encode(data: &Data, out: &mut BytesMut) -> Result<(), EncodeError> {
    write(data, 0, out)
}

/// The same for a value that is an element of so many lists.
pub(crate) fn encode_within(data: &Data, depth: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    write(data, depth, out)
}

/// Appends the beginning of a list, whose elements follow, or of a text, whose bytes do.
pub(crate) fn begin(kind: Kind, len: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u8(kind.tag());
    write_length(kind, len, out)
}

fn write(data: &Data, depth: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    let kind = data.kind();
    out.put_u8(kind.tag());
    match data {
        Data::None => {}
        Data::Boolean(value) => out.put_u8((*value).into()),
        Data::Count(value) => out.put_u64(*value),
        Data::Integer(value) => out.put_i64(*value),
        Data::Real(value) => out.put_u64(real::pack(value.0)),
        Data::String(text) | Data::EnumValue(EnumValue(text)) => {
            write_length(kind, text.len(), out)?;
            out.put_slice(text.as_bytes());
        }
        Data::Address(address) => out.put_slice(address.as_bytes()),
        Data::Subnet(subnet) => {
            out.put_slice(subnet.address.as_bytes());
            out.put_u8(subnet.length);
        }
        Data::Port(port) => {
            out.put_u16(port.number);
            out.put_u8(port.protocol.code());
        }
        Data::Timestamp(timestamp) => out.put_i64(timestamp.0),
        Data::Timespan(timespan) => out.put_i64(timespan.0),
        Data::Vector(elements) => {
            write_container(kind, elements.len(), depth, out)?;
            write_each(elements.iter(), depth, out)?;
        }
        Data::Set(elements) => {
            write_container(kind, elements.len(), depth, out)?;
            write_each(elements.iter_as_sent(), depth, out)?;
        }
        Data::Table(entries) => {
            write_container(kind, entries.len(), depth, out)?;
            let flat = entries.iter_as_sent().flat_map(|(key, value)| [key, value]);
            write_each(flat, depth, out)?;
        }
    }
    Ok(())
}

fn write_each<'a>(
    mut values: impl Iterator<Item = &'a Data>,
    depth: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    values.try_for_each(|value| write(value, depth + 1, out))
}

fn write_container(kind: Kind, len: usize, depth: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    if depth == DEPTH_MAX {
        return Err(EncodeError::TooDeep);
    }
    write_length(kind, len, out)
}

pub(super) fn write_length(kind: Kind, length: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    let number = u32::try_from(length).map_err(|_| EncodeError::TooLong { kind, length })?;
    varbyte::encode(number, out);
    Ok(())
}
