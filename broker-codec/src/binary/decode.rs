//! The binary decoder.
//!
//! A count or length is only what a peer claims. So either a scan over the bytes says how much there is before anything
//! is allocated for it, or, for the nodes of a tree, memory is taken for a usual message of this length, and the scan only
//! made if that is not enough.

use caf_bincode_compat::{ErrorKind, varbyte};

use crate::{
    Data,
    data::{
        Address, DEPTH_MAX, DataTree, Extent, Kind, Node, Orders, Port, Protocol, Real, Set, Subnet, Table,
        Timespan, Timestamp, VALUES_MAX, behind, is_less, value_at,
    },
};

use super::{DecodeError, DecodeErrorKind, real, tag};

/// Reads one value that must fill the input.
pub fn decode(input: &[u8]) -> Result<Data, DecodeError> {
    scan(input)?;
    let mut cursor = Cursor::new(input);
    cursor.owned().map_err(|kind| cursor.error(kind))
}

/// Reads the value that the input begins with, and returns what is behind it.
pub(crate) fn decode_prefix(input: &[u8]) -> Result<(Data, &[u8]), DecodeError> {
    let mut cursor = Cursor::new(input);
    cursor.skip(0, &mut 0).map_err(|kind| cursor.error(kind))?;
    let mut cursor = Cursor::new(input);
    let data = cursor.owned().map_err(|kind| cursor.error(kind))?;
    Ok((data, cursor.rest))
}

/// How many bytes a value of a usual message takes, at least.
const VALUE_LEN_USUAL: usize = 6;

/// Reads one value that must fill the input, borrowing from it.
pub fn decode_ref(input: &[u8]) -> Result<DataTree<'_>, DecodeError> {
    let mut cursor = Cursor::new(input);
    let mut nodes = Vec::with_capacity((input.len() / VALUE_LEN_USUAL + 1).min(VALUES_MAX));
    match cursor.tree(0, &mut nodes, &mut Keys::default()) {
        Ok(()) if cursor.rest.is_empty() => Ok(DataTree::new(nodes)),
        Ok(()) => Err(cursor.error(DecodeErrorKind::TrailingBytes)),
        // What else is wrong comes first, as in the owned decoder.
        Err(kind) => scan(input).and(Err(cursor.error(kind))),
    }
}

/// What [`decode_ref`] remembers of elements of sets and keys of tables.
#[derive(Default)]
struct Keys {
    /// The order of what is in them.
    orders: Orders,
    /// In how many of them the value is that comes next.
    depth: usize,
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
        (self.tag().ok()? == tag::COUNT).then_some(())?;
        self.array().ok().map(u64::from_be_bytes)
    }

    /// The bytes of a string, if that is what comes next.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        (self.tag().ok()? == tag::STRING).then_some(())?;
        self.bytes().ok()
    }

    /// How many elements a vector claims to have, if that is what comes next.
    pub(crate) fn vector(&mut self) -> Option<u32> {
        (self.tag().ok()? == tag::VECTOR).then_some(())?;
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
    fn tag(&mut self) -> Result<u8, DecodeErrorKind> {
        match self.rest.split_first() {
            Some((&tag, rest)) if tag <= tag::MAX => {
                self.rest = rest;
                Ok(tag)
            }
            Some((&tag, _)) => Err(DecodeErrorKind::UnknownTag(tag)),
            None => Err(DecodeErrorKind::UnexpectedEnd),
        }
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

    #[inline]
    fn leaf(&mut self, tag: u8) -> Result<Node<'a>, DecodeErrorKind> {
        Ok(match tag {
            tag::BOOLEAN => Node::Boolean(self.u8()? != 0),
            tag::COUNT => Node::Count(u64::from_be_bytes(self.array()?)),
            tag::INTEGER => Node::Integer(i64::from_be_bytes(self.array()?)),
            tag::REAL => Node::Real(Real(real::unpack(u64::from_be_bytes(self.array()?)))),
            tag::STRING => Node::String(self.bytes()?),
            tag::ADDRESS => Node::Address(self.address()?),
            tag::SUBNET => Node::Subnet(Subnet {
                address: self.address()?,
                length: self.u8()?,
            }),
            tag::PORT => Node::Port(self.port()?),
            tag::TIMESTAMP => Node::Timestamp(Timestamp(i64::from_be_bytes(self.array()?))),
            tag::TIMESPAN => Node::Timespan(Timespan(i64::from_be_bytes(self.array()?))),
            tag::ENUM_VALUE => Node::EnumValue(self.bytes()?),
            _ => Node::None,
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
        let tag = self.tag()?;
        let Some(kind) = container(tag) else {
            return match tag {
                tag::BOOLEAN => self.pass(1),
                tag::COUNT | tag::INTEGER | tag::REAL | tag::TIMESTAMP | tag::TIMESPAN => self.pass(8),
                tag::STRING | tag::ENUM_VALUE => self.bytes().map(drop),
                tag::ADDRESS => self.pass(16),
                tag::SUBNET => self.pass(17),
                tag::PORT => self.port().map(drop),
                _ => Ok(()),
            };
        };
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

    /// Appends the nodes of one value within `depth` containers.
    fn tree(
        &mut self,
        depth: usize,
        nodes: &mut Vec<Node<'a>>,
        keys: &mut Keys,
    ) -> Result<(), DecodeErrorKind> {
        if nodes.len() == nodes.capacity() {
            // After this there is room for all, and nothing is scanned twice.
            let values = scan(self.input).map_err(|error| error.kind)?;
            nodes.reserve_exact(values.saturating_sub(nodes.len()));
        }
        let start = self.rest;
        let tag = self.tag()?;
        let Some(kind) = container(tag) else {
            nodes.push(self.leaf(tag)?);
            return Ok(());
        };
        let len = self.elements(kind)?;
        if depth == DEPTH_MAX {
            return Err(DecodeErrorKind::TooDeep);
        }
        let at = nodes.len();
        nodes.push(Node::None);
        if kind == Kind::Vector {
            for _ in 0..len {
                self.tree(depth + 1, nodes, keys)?;
            }
        } else if self.keys_are_duplicate(kind, len, depth, nodes, keys)? {
            self.rest = start;
            return Err(DecodeErrorKind::Duplicate(kind));
        }
        let inner = u32::try_from(nodes.len() - at - 1);
        if let (Some(node), Ok(inner)) = (nodes.get_mut(at), inner) {
            let extent = Extent { len, nodes: inner };
            *node = match kind {
                Kind::Set => Node::Set(extent),
                Kind::Table => Node::Table(extent),
                _ => Node::Vector(extent),
            };
        }
        Ok(())
    }

    /// Appends the nodes of what is in a set or table; whether an element or key is there twice.
    fn keys_are_duplicate(
        &mut self,
        kind: Kind,
        len: u32,
        depth: usize,
        nodes: &mut Vec<Node<'a>>,
        keys: &mut Keys,
    ) -> Result<bool, DecodeErrorKind> {
        let first = nodes.len();
        let unordered = keys.orders.len();
        let mut previous = None;
        let mut ascending = true;
        for _ in 0..len {
            let start = nodes.len();
            keys.depth += 1;
            self.tree(depth + 1, nodes, keys)?;
            keys.depth -= 1;
            let is_next = |previous| is_less(value_at(nodes, previous), value_at(nodes, start));
            ascending = ascending && previous.replace(start).is_none_or(is_next);
            if kind == Kind::Table {
                self.tree(depth + 1, nodes, keys)?;
            }
        }
        if ascending && keys.orders.len() == unordered {
            return Ok(false);
        }
        Ok(keys.are_duplicate(nodes, first, len, kind))
    }

    /// Builds one value that has been scanned.
    fn owned(&mut self) -> Result<Data, DecodeErrorKind> {
        let start = self.rest;
        let tag = self.tag()?;
        let Some(kind) = container(tag) else {
            return Ok(value_at(&[self.leaf(tag)?], 0).to_data());
        };
        let len = self.elements(kind)?;
        let unique = match kind {
            Kind::Set => Set::from_wire(self.collect(len, Self::owned)?).map(Data::Set),
            Kind::Table => {
                let entries = self.collect(len, |cursor| Ok((cursor.owned()?, cursor.owned()?)))?;
                Table::from_wire(entries).map(Data::Table)
            }
            _ => return self.collect(len, Self::owned).map(Data::Vector),
        };
        unique.map_err(|_| {
            self.rest = start;
            DecodeErrorKind::Duplicate(kind)
        })
    }

    /// Builds as many elements as have been scanned.
    fn collect<T>(
        &mut self,
        len: u32,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeErrorKind>,
    ) -> Result<Vec<T>, DecodeErrorKind> {
        let mut elements = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        for _ in 0..len {
            elements.push(element(self)?);
        }
        Ok(elements)
    }
}

/// The kind of container that a tag stands for.
const fn container(tag: u8) -> Option<Kind> {
    match tag {
        tag::SET => Some(Kind::Set),
        tag::TABLE => Some(Kind::Table),
        tag::VECTOR => Some(Kind::Vector),
        _ => None,
    }
}

impl Keys {
    /// Whether the set or table whose content is all from `first` on has an element or key twice, whatever the order.
    #[cold]
    #[inline(never)]
    fn are_duplicate(&mut self, nodes: &[Node<'_>], first: usize, len: u32, kind: Kind) -> bool {
        let (Ok(first), Ok(end)) = (u32::try_from(first), u32::try_from(nodes.len())) else {
            // More than `VALUES_MAX` values are not read.
            return true;
        };
        let mut keys = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        let mut at = first;
        while at < end {
            keys.push(at);
            at = behind(nodes, at);
            if kind == Kind::Table {
                at = behind(nodes, at);
            }
        }
        let unique = self.orders.sort(nodes, &mut keys);
        if unique && self.depth > 0 && !keys.is_sorted() {
            self.orders.insert(first.saturating_sub(1), keys);
        }
        !unique
    }
}
