use bytes::{BufMut, BytesMut};
use caf_bincode_compat::varbyte;

use crate::data::{DEPTH_MAX, DataRef, EncodeError, Kind};

use super::{real, tag};

/// Appends the bytes of a value. After an error `out` holds a part of them.
pub fn encode<'a>(data: impl Into<DataRef<'a>>, out: &mut BytesMut) -> Result<(), EncodeError> {
    write(data.into(), 0, out)
}

fn write(data: DataRef<'_>, depth: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    let kind = data.kind();
    out.put_u8(tag_of(kind));
    match data {
        DataRef::None => {}
        DataRef::Boolean(value) => out.put_u8(value.into()),
        DataRef::Count(value) => out.put_u64(value),
        DataRef::Integer(value) => out.put_i64(value),
        DataRef::Real(value) => out.put_u64(real::pack(value.0)),
        DataRef::String(bytes) | DataRef::EnumValue(bytes) => {
            write_length(kind, bytes.len(), out)?;
            out.put_slice(bytes);
        }
        DataRef::Address(address) => out.put_slice(address.as_bytes()),
        DataRef::Subnet(subnet) => {
            out.put_slice(subnet.address.as_bytes());
            out.put_u8(subnet.length);
        }
        DataRef::Port(port) => {
            out.put_u16(port.number);
            out.put_u8(port.protocol.code());
        }
        DataRef::Timestamp(timestamp) => out.put_i64(timestamp.0),
        DataRef::Timespan(timespan) => out.put_i64(timespan.0),
        DataRef::Set(elements) | DataRef::Vector(elements) => {
            write_container(kind, elements.len(), depth, out)?;
            match elements.as_sent() {
                None => elements
                    .into_iter()
                    .try_for_each(|element| write(element, depth + 1, out))?,
                Some(mut as_sent) => as_sent.try_for_each(|element| write(element, depth + 1, out))?,
            }
        }
        DataRef::Table(entries) => {
            write_container(kind, entries.len(), depth, out)?;
            let mut entry = |(key, value)| {
                write(key, depth + 1, out)?;
                write(value, depth + 1, out)
            };
            match entries.as_sent() {
                None => entries.into_iter().try_for_each(entry)?,
                Some(mut as_sent) => as_sent.try_for_each(&mut entry)?,
            }
        }
    }
    Ok(())
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

const fn tag_of(kind: Kind) -> u8 {
    match kind {
        Kind::None => tag::NONE,
        Kind::Boolean => tag::BOOLEAN,
        Kind::Count => tag::COUNT,
        Kind::Integer => tag::INTEGER,
        Kind::Real => tag::REAL,
        Kind::String => tag::STRING,
        Kind::Address => tag::ADDRESS,
        Kind::Subnet => tag::SUBNET,
        Kind::Port => tag::PORT,
        Kind::Timestamp => tag::TIMESTAMP,
        Kind::Timespan => tag::TIMESPAN,
        Kind::EnumValue => tag::ENUM_VALUE,
        Kind::Set => tag::SET,
        Kind::Table => tag::TABLE,
        Kind::Vector => tag::VECTOR,
    }
}
