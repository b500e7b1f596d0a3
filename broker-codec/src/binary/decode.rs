//! The binary decoder.
//!
//! A count or length is only what a peer claims. So a scan over the bytes says how much there is before anything is
//! allocated for it.

use std::convert::identity;

use caf_bincode_compat::{ErrorKind, varbyte};

use crate::data::{
    Address, DEPTH_MAX, Data, EnumValue, Kind, Port, Protocol, Real, Set, Subnet, Table, Timespan, Timestamp,
    VALUES_MAX,
};

use super::{DecodeError, DecodeErrorKind, real};

/// Reads one value that must fill the input.
pub fn decode(input: &[u8]) -> Result<Data, DecodeError> {
    scan(input)?;
    let (data, _) = built(input)?;
    Ok(data)
}

/// Reads the value that the input begins with, and returns what is behind it.
pub fn decode_prefix(input: &[u8]) -> Result<(Data, &[u8]), DecodeError> {
    let mut cursor = Cursor::new(input);
    cursor.skip(0, &mut 0).map_err(|kind| cursor.error(kind))?;
    built(input)
}

/// Builds the value that the input begins with, which has been scanned.
fn built(input: &[u8]) -> Result<(Data, &[u8]), DecodeError> {
    let mut cursor = Cursor::new(input);
    let data = cursor.owned(identity).map_err(|kind| cursor.error(kind))?;
    Ok((data, cursor.rest))
}

/// Checks everything but duplicates; how many values there are.
fn scan(input: &[u8]) -> Result<usize, DecodeError> {
    let mut cursor = Cursor::new(input);
    let mut values = 0;
    match cursor.skip(0, &mut values) {
        Ok(()) if cursor.rest.is_empty() => Ok(values),
        Ok(()) => Err(cursor.error(DecodeErrorKind::TrailingBytes)),
        Err(kind) => Err(cursor.error(kind)),
    }
}

/// What is left of an input; after an error, from where it happened.
pub(crate) struct Cursor<'a> {
    input: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self { input, rest: input }
    }

    /// A count, if that is what comes next.
    pub(crate) fn count(&mut self) -> Option<u64> {
        (self.kind().ok()? == Kind::Count).then_some(())?;
        self.array().ok().map(u64::from_be_bytes)
    }

    /// The bytes of a string, if that is what comes next.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        (self.kind().ok()? == Kind::String).then_some(())?;
        self.bytes().ok()
    }

    /// How many elements a vector claims to have, if that is what comes next.
    pub(crate) fn vector(&mut self) -> Option<u32> {
        (self.kind().ok()? == Kind::Vector).then_some(())?;
        self.length().ok()
    }

    const fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError {
            offset: self.input.len() - self.rest.len(),
            kind,
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeErrorKind> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeErrorKind::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, DecodeErrorKind> {
        self.array().map(|[byte]| byte)
    }

    /// A tag; it stays where it is if there is no such.
    #[inline]
    fn kind(&mut self) -> Result<Kind, DecodeErrorKind> {
        let (&tag, rest) = self.rest.split_first().ok_or(DecodeErrorKind::UnexpectedEnd)?;
        let kind = Kind::from_tag(tag).ok_or(DecodeErrorKind::UnknownTag(tag))?;
        self.rest = rest;
        Ok(kind)
    }

    #[inline]
    fn length(&mut self) -> Result<u32, DecodeErrorKind> {
        // Most are below 128.
        if let Some((&length @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(length.into());
        }
        let (length, rest) = varbyte::decode(self.rest).map_err(|kind| match kind {
            ErrorKind::UnexpectedEnd => DecodeErrorKind::UnexpectedEnd,
            _ => DecodeErrorKind::Length,
        })?;
        self.rest = rest;
        Ok(length)
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], DecodeErrorKind> {
        let length = self.length()?;
        let (bytes, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(DecodeErrorKind::LengthBeyondEnd(length))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Goes over the content of a leaf.
    #[inline]
    fn pass(&mut self, length: usize) -> Result<(), DecodeErrorKind> {
        self.rest = self.rest.get(length..).ok_or(DecodeErrorKind::UnexpectedEnd)?;
        Ok(())
    }

    /// A container's count, checked against what is left: an element takes one byte at least.
    #[inline]
    fn elements(&mut self, kind: Kind) -> Result<u32, DecodeErrorKind> {
        let len = self.length()?;
        let values = u64::from(len) * if kind == Kind::Table { 2 } else { 1 };
        if usize::try_from(values).is_ok_and(|values| values <= self.rest.len()) {
            Ok(len)
        } else {
            Err(DecodeErrorKind::CountBeyondEnd(len))
        }
    }

    /// Builds a value that is no container.
    #[inline]
    fn leaf<R>(&mut self, kind: Kind, put: impl FnOnce(Data) -> R) -> Result<R, DecodeErrorKind> {
        Ok(match kind {
            Kind::Boolean => put(Data::Boolean(self.u8()? != 0)),
            Kind::Count => put(Data::Count(u64::from_be_bytes(self.array()?))),
            Kind::Integer => put(Data::Integer(i64::from_be_bytes(self.array()?))),
            Kind::Real => put(Data::Real(Real(real::unpack(u64::from_be_bytes(self.array()?))))),
            Kind::String => put(Data::String(self.bytes()?.into())),
            Kind::Address => put(Data::Address(self.address()?)),
            Kind::Subnet => put(Data::Subnet(Subnet {
                address: self.address()?,
                length: self.u8()?,
            })),
            Kind::Port => put(Data::Port(self.port()?)),
            Kind::Timestamp => put(Data::Timestamp(Timestamp(i64::from_be_bytes(self.array()?)))),
            Kind::Timespan => put(Data::Timespan(Timespan(i64::from_be_bytes(self.array()?)))),
            Kind::EnumValue => put(Data::EnumValue(EnumValue(self.bytes()?.into()))),
            Kind::None | Kind::Set | Kind::Table | Kind::Vector => put(Data::None),
        })
    }

    fn address(&mut self) -> Result<Address, DecodeErrorKind> {
        self.array().map(Address::from_bytes)
    }

    fn port(&mut self) -> Result<Port, DecodeErrorKind> {
        let number = u16::from_be_bytes(self.array()?);
        let Some((&code, rest)) = self.rest.split_first() else {
            return Err(DecodeErrorKind::UnexpectedEnd);
        };
        let protocol = Protocol::from_code(code).ok_or(DecodeErrorKind::UnknownProtocol(code))?;
        self.rest = rest;
        Ok(Port { number, protocol })
    }

    /// Walks over one value within `depth` containers and adds to `values` of how many it consists.
    fn skip(&mut self, depth: usize, values: &mut usize) -> Result<(), DecodeErrorKind> {
        *values += 1;
        if *values > VALUES_MAX {
            return Err(DecodeErrorKind::TooManyValues);
        }
        let kind = self.kind()?;
        match kind {
            Kind::None => return Ok(()),
            Kind::Boolean => return self.pass(1),
            Kind::Count | Kind::Integer | Kind::Real | Kind::Timestamp | Kind::Timespan => {
                return self.pass(8);
            }
            Kind::String | Kind::EnumValue => return self.bytes().map(drop),
            Kind::Address => return self.pass(16),
            Kind::Subnet => return self.pass(17),
            Kind::Port => return self.port().map(drop),
            Kind::Set | Kind::Table | Kind::Vector => {}
        }
        let len = self.elements(kind)?;
        if depth == DEPTH_MAX {
            return Err(DecodeErrorKind::TooDeep);
        }
        for _ in 0..len {
            self.skip(depth + 1, values)?;
            if kind == Kind::Table {
                self.skip(depth + 1, values)?;
            }
        }
        Ok(())
    }

    /// Builds one value that has been scanned, where it is to be: a value that is returned is copied, which costs more than reading it.
    fn owned<R>(&mut self, put: impl FnOnce(Data) -> R) -> Result<R, DecodeErrorKind> {
        let start = self.rest;
        let kind = self.kind()?;
        let unique = match kind {
            Kind::Set => Set::from_wire(self.list(kind)?).map(Data::Set),
            Kind::Table => Table::from_wire(self.entries(kind)?).map(Data::Table),
            Kind::Vector => Ok(Data::Vector(self.list(kind)?)),
            leaf => return self.leaf(leaf, put),
        };
        unique.map(put).map_err(|_| {
            self.rest = start;
            DecodeErrorKind::Duplicate(kind)
        })
    }

    /// Builds as many elements as have been scanned.
    fn list(&mut self, kind: Kind) -> Result<Vec<Data>, DecodeErrorKind> {
        let len = self.elements(kind)?;
        let mut elements = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        for _ in 0..len {
            self.owned(|element| elements.push(element))?;
        }
        Ok(elements)
    }

    /// Builds as many entries as have been scanned.
    fn entries(&mut self, kind: Kind) -> Result<Vec<(Data, Data)>, DecodeErrorKind> {
        let len = self.elements(kind)?;
        let mut entries = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        for _ in 0..len {
            entries.push((self.owned(identity)?, self.owned(identity)?));
        }
        Ok(entries)
    }
}
