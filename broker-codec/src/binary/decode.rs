//! The binary decoder.
//!
//! A first pass walks over the bytes and checks all but duplicates, so that the second, which builds, knows how much
//! there is: nothing is allocated by a length or count that a peer merely claims.

use caf_bincode_compat::{ErrorKind, varbyte};

use crate::{
    Data,
    data::{
        Address, DEPTH_MAX, DataRef, DataTree, Extent, Kind, Node, Port, Protocol, Real, Set, Subnet, Table,
        Timespan, Timestamp, VALUES_MAX, is_less, total_cmp, value_at,
    },
};

use super::{DecodeError, DecodeErrorKind, real, tag};

/// Reads one value that must fill the input.
pub fn decode(input: &[u8]) -> Result<Data, DecodeError> {
    scan(input)?;
    Cursor::new(input).owned()
}

/// Reads the value that the input begins with, and returns what is behind it.
pub(crate) fn decode_prefix(input: &[u8]) -> Result<(Data, &[u8]), DecodeError> {
    Cursor::new(input).skip(0, &mut 0)?;
    let mut cursor = Cursor::new(input);
    let data = cursor.owned()?;
    Ok((data, cursor.rest))
}

/// Reads one value that must fill the input, borrowing from it.
pub fn decode_ref(input: &[u8]) -> Result<DataTree<'_>, DecodeError> {
    let values = scan(input)?;
    let mut nodes = Vec::with_capacity(values);
    Cursor::new(input).tree(&mut nodes)?;
    Ok(DataTree::new(nodes))
}

/// Checks everything but duplicates; how many values there are.
fn scan(input: &[u8]) -> Result<usize, DecodeError> {
    let mut cursor = Cursor::new(input);
    let mut values = 0;
    cursor.skip(0, &mut values)?;
    if cursor.rest.is_empty() {
        Ok(values)
    } else {
        Err(cursor.error(DecodeErrorKind::TrailingBytes))
    }
}

/// What a tag and the bytes behind it say.
enum Item<'a> {
    Leaf(Node<'a>),
    Container { kind: Kind, len: u32 },
}

/// What is left of an input.
pub(crate) struct Cursor<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self {
            len: input.len(),
            rest: input,
        }
    }

    /// A count, if that is what comes next.
    pub(crate) fn count(&mut self) -> Option<u64> {
        match self.item() {
            Ok(Item::Leaf(Node::Count(value))) => Some(value),
            _ => None,
        }
    }

    /// The bytes of a string, if that is what comes next.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        match self.item() {
            Ok(Item::Leaf(Node::String(bytes))) => Some(bytes),
            _ => None,
        }
    }

    /// How many elements a vector claims to have, if that is what comes next.
    pub(crate) fn vector(&mut self) -> Option<u32> {
        match self.item() {
            Ok(Item::Container {
                kind: Kind::Vector,
                len,
            }) => Some(len),
            _ => None,
        }
    }

    const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    const fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError {
            offset: self.offset(),
            kind,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error(DecodeErrorKind::UnexpectedEnd));
        };
        self.rest = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<u32, DecodeError> {
        let (length, rest) = varbyte::decode(self.rest).map_err(|kind| {
            self.error(match kind {
                ErrorKind::UnexpectedEnd => DecodeErrorKind::UnexpectedEnd,
                _ => DecodeErrorKind::Length,
            })
        })?;
        self.rest = rest;
        Ok(length)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let Some((bytes, rest)) = split else {
            return Err(self.error(DecodeErrorKind::LengthBeyondEnd(length)));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn item(&mut self) -> Result<Item<'a>, DecodeError> {
        let at = self.offset();
        let tag = self.u8()?;
        let container = |kind| move |len| Item::Container { kind, len };
        let leaf = match tag {
            tag::NONE => Node::None,
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
            tag::SET => return self.length().map(container(Kind::Set)),
            tag::TABLE => return self.length().map(container(Kind::Table)),
            tag::VECTOR => return self.length().map(container(Kind::Vector)),
            _ => {
                return Err(DecodeError {
                    offset: at,
                    kind: DecodeErrorKind::UnknownTag(tag),
                });
            }
        };
        Ok(Item::Leaf(leaf))
    }

    fn address(&mut self) -> Result<Address, DecodeError> {
        self.array().map(Address::from_bytes)
    }

    fn port(&mut self) -> Result<Port, DecodeError> {
        let number = u16::from_be_bytes(self.array()?);
        let code = self.u8()?;
        match Protocol::from_code(code) {
            Some(protocol) => Ok(Port { number, protocol }),
            None => Err(self.error(DecodeErrorKind::UnknownProtocol(code))),
        }
    }

    /// Walks over one value within `depth` containers and adds to `values` of how many it consists.
    fn skip(&mut self, depth: usize, values: &mut usize) -> Result<(), DecodeError> {
        *values += 1;
        if *values > VALUES_MAX {
            return Err(self.error(DecodeErrorKind::TooManyValues));
        }
        let Item::Container { kind, len } = self.item()? else {
            return Ok(());
        };
        if depth == DEPTH_MAX {
            return Err(self.error(DecodeErrorKind::TooDeep));
        }
        let elements = elements(kind, len);
        // An element takes one byte at least.
        if usize::try_from(elements).is_ok_and(|elements| elements > self.rest.len()) {
            return Err(self.error(DecodeErrorKind::CountBeyondEnd(len)));
        }
        for _ in 0..elements {
            self.skip(depth + 1, values)?;
        }
        Ok(())
    }

    /// Appends the nodes of one value that has been scanned.
    fn tree(&mut self, nodes: &mut Vec<Node<'a>>) -> Result<(), DecodeError> {
        let offset = self.offset();
        let (kind, len) = match self.item()? {
            Item::Leaf(leaf) => {
                nodes.push(leaf);
                return Ok(());
            }
            Item::Container { kind, len } => (kind, len),
        };
        let at = nodes.len();
        nodes.push(Node::None);
        let mut previous = None;
        let mut ascending = true;
        for _ in 0..len {
            let start = nodes.len();
            self.tree(nodes)?;
            if kind != Kind::Vector {
                let is_next = |previous| is_less(value_at(nodes, previous), value_at(nodes, start));
                ascending = ascending && previous.replace(start).is_none_or(is_next);
            }
            if kind == Kind::Table {
                self.tree(nodes)?;
            }
        }
        if !ascending && has_duplicates(nodes, at + 1, kind) {
            return Err(DecodeError {
                offset,
                kind: DecodeErrorKind::Duplicate(kind),
            });
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

    /// Builds one value that has been scanned.
    fn owned(&mut self) -> Result<Data, DecodeError> {
        let offset = self.offset();
        let duplicate = |kind| DecodeError {
            offset,
            kind: DecodeErrorKind::Duplicate(kind),
        };
        match self.item()? {
            Item::Leaf(leaf) => Ok(value_at(&[leaf], 0).to_data()),
            Item::Container {
                kind: Kind::Table,
                len,
            } => {
                let entries = self.collect(len, |cursor| Ok((cursor.owned()?, cursor.owned()?)))?;
                Table::try_from(entries)
                    .map(Data::Table)
                    .map_err(|_| duplicate(Kind::Table))
            }
            Item::Container { kind: Kind::Set, len } => Set::from_wire(self.collect(len, Self::owned)?)
                .map(Data::Set)
                .map_err(|_| duplicate(Kind::Set)),
            Item::Container { len, .. } => self.collect(len, Self::owned).map(Data::Vector),
        }
    }

    /// Builds as many elements as have been scanned.
    fn collect<T>(
        &mut self,
        len: u32,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut elements = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        for _ in 0..len {
            elements.push(element(self)?);
        }
        Ok(elements)
    }
}

/// How many values are directly in a container.
fn elements(kind: Kind, len: u32) -> u64 {
    u64::from(len) * if kind == Kind::Table { 2 } else { 1 }
}

/// Whether the set or table whose content is all from `first` on has an element or key twice, whatever the order.
fn has_duplicates(nodes: &[Node<'_>], first: usize, kind: Kind) -> bool {
    let behind = |at: usize| at + nodes.get(at).map_or(1, Node::span);
    let mut keys = Vec::new();
    let mut at = first;
    while let Ok(key) = u32::try_from(at)
        && at < nodes.len()
    {
        keys.push(key);
        at = behind(at);
        if kind == Kind::Table {
            at = behind(at);
        }
    }
    let value = |key: &u32| usize::try_from(*key).map_or(DataRef::None, |key| value_at(nodes, key));
    keys.sort_unstable_by(|left, right| total_cmp(value(left), value(right)));
    !keys.is_sorted_by(|left, right| is_less(value(left), value(right)))
}
