use super::{
    Address, Data, EnumValue, Kind, Port, Real, Set, Subnet, Table, Timespan, Timestamp, ordered::AsSent,
};

/// A value that borrows: from a decoded message ([`DataTree::root`]) or from an owned [`Data`].
///
/// Everything that reads values, as the encoders and [`from_data`](super::from_data), reads these, so that there
/// is one logic for both.
#[derive(Clone, Copy, Debug)]
pub enum DataRef<'a> {
    /// See [`Data::None`].
    None,
    /// See [`Data::Boolean`].
    Boolean(bool),
    /// See [`Data::Count`].
    Count(u64),
    /// See [`Data::Integer`].
    Integer(i64),
    /// See [`Data::Real`].
    Real(Real),
    /// See [`Data::String`].
    String(&'a [u8]),
    /// See [`Data::Address`].
    Address(Address),
    /// See [`Data::Subnet`].
    Subnet(Subnet),
    /// See [`Data::Port`].
    Port(Port),
    /// See [`Data::Timestamp`].
    Timestamp(Timestamp),
    /// See [`Data::Timespan`].
    Timespan(Timespan),
    /// See [`Data::EnumValue`].
    EnumValue(&'a [u8]),
    /// See [`Data::Set`]. From a message in the order of the message.
    Set(Elements<'a>),
    /// See [`Data::Table`]. From a message in the order of the message.
    Table(Entries<'a>),
    /// See [`Data::Vector`].
    Vector(Elements<'a>),
}

impl DataRef<'_> {
    /// The kind of this value.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::None => Kind::None,
            Self::Boolean(_) => Kind::Boolean,
            Self::Count(_) => Kind::Count,
            Self::Integer(_) => Kind::Integer,
            Self::Real(_) => Kind::Real,
            Self::String(_) => Kind::String,
            Self::Address(_) => Kind::Address,
            Self::Subnet(_) => Kind::Subnet,
            Self::Port(_) => Kind::Port,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Timespan(_) => Kind::Timespan,
            Self::EnumValue(_) => Kind::EnumValue,
            Self::Set(_) => Kind::Set,
            Self::Table(_) => Kind::Table,
            Self::Vector(_) => Kind::Vector,
        }
    }

    /// A value of one's own. Sets and tables come into Broker's order, and remember the message's.
    pub fn to_data(self) -> Data {
        match self {
            Self::None => Data::None,
            Self::Boolean(value) => Data::Boolean(value),
            Self::Count(value) => Data::Count(value),
            Self::Integer(value) => Data::Integer(value),
            Self::Real(value) => Data::Real(value),
            Self::String(bytes) => Data::String(bytes.into()),
            Self::Address(value) => Data::Address(value),
            Self::Subnet(value) => Data::Subnet(value),
            Self::Port(value) => Data::Port(value),
            Self::Timestamp(value) => Data::Timestamp(value),
            Self::Timespan(value) => Data::Timespan(value),
            Self::EnumValue(name) => Data::EnumValue(EnumValue(name.into())),
            Self::Set(elements) => Data::Set(match elements.as_sent() {
                Some(as_sent) => Set::from_unique(as_sent.map(DataRef::to_data).collect()),
                None => Set::from_unique(elements.iter().map(DataRef::to_data).collect()),
            }),
            Self::Table(entries) => {
                let owned = |(key, value): (Self, Self)| (key.to_data(), value.to_data());
                Data::Table(match entries.as_sent() {
                    Some(as_sent) => Table::from_unique(as_sent.map(owned).collect()),
                    None => Table::from_unique(entries.iter().map(owned).collect()),
                })
            }
            Self::Vector(elements) => Data::Vector(elements.iter().map(DataRef::to_data).collect()),
        }
    }
}

impl<'a> From<&'a Data> for DataRef<'a> {
    fn from(data: &'a Data) -> Self {
        match data {
            Data::None => Self::None,
            Data::Boolean(value) => Self::Boolean(*value),
            Data::Count(value) => Self::Count(*value),
            Data::Integer(value) => Self::Integer(*value),
            Data::Real(value) => Self::Real(*value),
            Data::String(value) => Self::String(value.as_bytes()),
            Data::Address(value) => Self::Address(*value),
            Data::Subnet(value) => Self::Subnet(*value),
            Data::Port(value) => Self::Port(*value),
            Data::Timestamp(value) => Self::Timestamp(*value),
            Data::Timespan(value) => Self::Timespan(*value),
            Data::EnumValue(EnumValue(name)) => Self::EnumValue(name.as_bytes()),
            Data::Set(set) => Self::Set(set.into()),
            Data::Table(table) => Self::Table(table.into()),
            Data::Vector(elements) => Self::Vector(elements.as_slice().into()),
        }
    }
}

/// The elements of a set or vector.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    len: usize,
    values: Values<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Nodes(&'a [Node<'a>]),
    Data(&'a [Data]),
    /// Of a set that came in another than Broker's order.
    AsSent(&'a AsSent<Data>),
}

impl<'a> Elements<'a> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One after the other: those of an owned set ascending, those of a message in its order.
    pub const fn iter(self) -> ElementsIter<'a> {
        let len = self.len;
        let rest = match self.values {
            Values::Nodes(nodes) => Rest::Nodes(nodes),
            Values::Data(elements) => Rest::Data(elements),
            Values::AsSent(as_sent) => Rest::Data(as_sent.as_slice()),
        };
        ElementsIter { len, rest }
    }

    /// In the order of the message that an owned set came in, if [`Self::iter`] gives another one.
    pub(crate) fn as_sent(self) -> Option<impl Iterator<Item = DataRef<'a>>> {
        match self.values {
            Values::AsSent(as_sent) => Some(as_sent.iter().map(DataRef::from)),
            Values::Nodes(_) | Values::Data(_) => None,
        }
    }
}

impl<'a> From<&'a Set<Data>> for Elements<'a> {
    fn from(set: &'a Set<Data>) -> Self {
        Self {
            len: set.len(),
            values: set.as_sent().map_or(Values::Data(set.as_slice()), Values::AsSent),
        }
    }
}

impl<'a> From<&'a [Data]> for Elements<'a> {
    fn from(elements: &'a [Data]) -> Self {
        Self {
            len: elements.len(),
            values: Values::Data(elements),
        }
    }
}

impl<'a> IntoIterator for Elements<'a> {
    type Item = DataRef<'a>;
    type IntoIter = ElementsIter<'a>;

    fn into_iter(self) -> ElementsIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Elements`].
#[derive(Clone, Debug)]
pub struct ElementsIter<'a> {
    len: usize,
    rest: Rest<'a, Data>,
}

/// What an iterator has not passed yet.
#[derive(Clone, Debug)]
enum Rest<'a, T> {
    Nodes(&'a [Node<'a>]),
    Data(&'a [T]),
}

impl<'a> Iterator for ElementsIter<'a> {
    type Item = DataRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<DataRef<'a>> {
        let value = match &mut self.rest {
            Rest::Nodes(nodes) => take_value(nodes),
            Rest::Data(elements) => elements.split_off_first().map(DataRef::from),
        }?;
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for ElementsIter<'_> {}

/// The entries of a table.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    len: usize,
    values: Pairs<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Pairs<'a> {
    Nodes(&'a [Node<'a>]),
    Data(&'a [(Data, Data)]),
    /// As [`Values::AsSent`].
    AsSent(&'a AsSent<(Data, Data)>),
}

impl<'a> Entries<'a> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One after the other: those of an owned table ascending by key, those of a message in its order.
    pub const fn iter(self) -> EntriesIter<'a> {
        let len = self.len;
        let rest = match self.values {
            Pairs::Nodes(nodes) => Rest::Nodes(nodes),
            Pairs::Data(entries) => Rest::Data(entries),
            Pairs::AsSent(as_sent) => Rest::Data(as_sent.as_slice()),
        };
        EntriesIter { len, rest }
    }

    /// In the order of the message that an owned table came in, if [`Self::iter`] gives another one.
    pub(crate) fn as_sent(self) -> Option<impl Iterator<Item = (DataRef<'a>, DataRef<'a>)>> {
        match self.values {
            Pairs::AsSent(as_sent) => Some(as_sent.iter().map(|(key, value)| (key.into(), value.into()))),
            Pairs::Nodes(_) | Pairs::Data(_) => None,
        }
    }
}

impl<'a> From<&'a Table> for Entries<'a> {
    fn from(table: &'a Table) -> Self {
        Self {
            len: table.len(),
            values: table
                .as_sent()
                .map_or(Pairs::Data(table.as_slice()), Pairs::AsSent),
        }
    }
}

impl<'a> IntoIterator for Entries<'a> {
    type Item = (DataRef<'a>, DataRef<'a>);
    type IntoIter = EntriesIter<'a>;

    fn into_iter(self) -> EntriesIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Entries`].
#[derive(Clone, Debug)]
pub struct EntriesIter<'a> {
    len: usize,
    rest: Rest<'a, (Data, Data)>,
}

impl<'a> Iterator for EntriesIter<'a> {
    type Item = (DataRef<'a>, DataRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = match &mut self.rest {
            Rest::Nodes(nodes) => take_value(nodes).zip(take_value(nodes)),
            Rest::Data(entries) => entries
                .split_off_first()
                .map(|(key, value)| (DataRef::from(key), DataRef::from(value))),
        }?;
        self.len = self.len.saturating_sub(1);
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for EntriesIter<'_> {}

/// A decoded message: its values in the order of the bytes, each container before its elements, in one allocation.
///
/// Strings borrow from the message. See [`crate::binary::decode_ref`].
#[derive(Clone, Debug)]
pub struct DataTree<'a> {
    nodes: Vec<Node<'a>>,
}

/// One value of a [`DataTree`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node<'a> {
    None,
    Boolean(bool),
    Count(u64),
    Integer(i64),
    Real(Real),
    String(&'a [u8]),
    Address(Address),
    Subnet(Subnet),
    Port(Port),
    Timestamp(Timestamp),
    Timespan(Timespan),
    EnumValue(&'a [u8]),
    Set(Extent),
    Table(Extent),
    Vector(Extent),
}

/// How much follows the node of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// How many elements or entries there are.
    pub(crate) len: u32,
    /// How many nodes they take, with all that is in them.
    pub(crate) nodes: u32,
}

impl<'a> DataTree<'a> {
    /// `nodes` must be a whole value.
    pub(crate) const fn new(nodes: Vec<Node<'a>>) -> Self {
        Self { nodes }
    }

    /// The value that the message consists of.
    pub fn root(&self) -> DataRef<'_> {
        value_at(&self.nodes, 0)
    }

    /// How many values there are, containers included.
    pub fn values(&self) -> usize {
        self.nodes.len()
    }
}

impl Node<'_> {
    /// How many nodes the value takes that begins with this one.
    pub(crate) fn span(&self) -> usize {
        match self {
            Self::Set(extent) | Self::Table(extent) | Self::Vector(extent) => {
                usize::try_from(extent.nodes).map_or(usize::MAX, |nodes| nodes.saturating_add(1))
            }
            _ => 1,
        }
    }
}

/// The value that begins with the node at `index`.
#[inline]
pub(crate) fn value_at<'a>(nodes: &'a [Node<'a>], index: usize) -> DataRef<'a> {
    let mut nodes = nodes.get(index..).unwrap_or_default();
    take_value(&mut nodes).unwrap_or(DataRef::None)
}

/// Takes one value, with all that is in it, off the front.
#[expect(
    clippy::inline_always,
    reason = "otherwise the value is copied just after it was written, which takes longer than all the rest"
)]
#[inline(always)]
fn take_value<'a>(nodes: &mut &'a [Node<'a>]) -> Option<DataRef<'a>> {
    let node = nodes.split_off_first()?;
    let mut content = |extent: &Extent| {
        let content = nodes.split_off(..usize::try_from(extent.nodes).ok()?)?;
        Some((usize::try_from(extent.len).ok()?, content))
    };
    let mut elements = |extent| {
        content(extent).map(|(len, nodes)| Elements {
            len,
            values: Values::Nodes(nodes),
        })
    };
    Some(match node {
        Node::None => DataRef::None,
        Node::Boolean(value) => DataRef::Boolean(*value),
        Node::Count(value) => DataRef::Count(*value),
        Node::Integer(value) => DataRef::Integer(*value),
        Node::Real(value) => DataRef::Real(*value),
        Node::String(bytes) => DataRef::String(bytes),
        Node::Address(address) => DataRef::Address(*address),
        Node::Subnet(value) => DataRef::Subnet(*value),
        Node::Port(value) => DataRef::Port(*value),
        Node::Timestamp(value) => DataRef::Timestamp(*value),
        Node::Timespan(value) => DataRef::Timespan(*value),
        Node::EnumValue(name) => DataRef::EnumValue(name),
        Node::Set(extent) => DataRef::Set(elements(extent)?),
        Node::Vector(extent) => DataRef::Vector(elements(extent)?),
        Node::Table(extent) => {
            let (len, nodes) = content(extent)?;
            DataRef::Table(Entries {
                len,
                values: Pairs::Nodes(nodes),
            })
        }
    })
}
