use std::{fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::{
    ordered::{DuplicateError, Ordered},
    reserved,
    value::Data,
};

/// Zeek's `table`: sorted by key, each key once. Typed records use a `BTreeMap` instead.
///
/// One that was decoded in another order is encoded in that order again, as a [`Set`](super::Set).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(Ordered<(Data, Data)>);

impl Table {
    /// A table as a peer sends it: in any order, which is kept, without duplicate keys as Broker understands them.
    pub(crate) fn from_wire(entries: Vec<(Data, Data)>) -> Result<Self, DuplicateError> {
        Ordered::from_sent(entries).map(Self)
    }

    /// In the order of the message that it came in.
    pub(crate) fn iter_as_sent(&self) -> impl Iterator<Item = &(Data, Data)> {
        self.0.iter_as_sent()
    }

    pub fn get(&self, key: &Data) -> Option<&Data> {
        let at = self.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }
}

/// The entries, ascending by key.
impl Deref for Table {
    type Target = [(Data, Data)];

    fn deref(&self) -> &[(Data, Data)] {
        &self.0
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(key, value)| (key, value)))
            .finish()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self(Ordered::Ascending(Vec::new()))
    }
}

/// In any order, which is forgotten; without duplicate keys as Broker understands them.
impl TryFrom<Vec<(Data, Data)>> for Table {
    type Error = DuplicateError;

    fn try_from(entries: Vec<(Data, Data)>) -> Result<Self, DuplicateError> {
        Ordered::sorted(entries).map(Self)
    }
}

impl IntoIterator for Table {
    type Item = (Data, Data);
    type IntoIter = std::vec::IntoIter<(Data, Data)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a (Data, Data);
    type IntoIter = std::slice::Iter<'a, (Data, Data)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A sequence of pairs to human-readable formats, because there the keys of a map must be strings.
impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct AsMap<'a>(&'a [(Data, Data)]);

        impl Serialize for AsMap<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
            }
        }

        if serializer.is_human_readable() {
            serializer.serialize_newtype_struct(reserved::TABLE, &**self)
        } else {
            serializer.serialize_newtype_struct(reserved::TABLE, &AsMap(self))
        }
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor;

        impl<'de> Visitor<'de> for TableVisitor {
            type Value = Vec<(Data, Data)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                if deserializer.is_human_readable() {
                    Vec::deserialize(deserializer)
                } else {
                    deserializer.deserialize_map(self)
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        let entries = deserializer.deserialize_newtype_struct(reserved::TABLE, TableVisitor)?;
        Self::try_from(entries).map_err(serde::de::Error::custom)
    }
}
