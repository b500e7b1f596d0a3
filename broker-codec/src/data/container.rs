use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{Data, order, reserved};

/// Zeek's `set[T]`: sorted, without duplicates.
///
/// serde has no word for sets; to Broker data this is a set, to any other serde format a sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename = "$broker::Set")]
pub struct Set<T>(Vec<T>);

// serde's attribute takes no constant.
const _: () = assert!(matches!(reserved::SET.as_bytes(), b"$broker::Set"));

impl<T> Set<T> {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The elements, ascending.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The elements, ascending.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Ord> Set<T> {
    /// Adds an element; false if it was there already.
    pub fn insert(&mut self, element: T) -> bool {
        match self.0.binary_search(&element) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, element);
                true
            }
        }
    }

    /// Takes an element out; false if it was not there.
    pub fn remove(&mut self, element: &T) -> bool {
        match self.0.binary_search(element) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the element is there.
    pub fn contains(&self, element: &T) -> bool {
        self.0.binary_search(element).is_ok()
    }
}

impl Set<Data> {
    /// A set as a peer sends it: in any order, without duplicates.
    ///
    /// What counts as a duplicate is Broker's rule: neither is less than the other. See [`super::Real`] for the one
    /// place where that is more than equality.
    pub(crate) fn from_wire(mut elements: Vec<Data>) -> Result<Self, DuplicateError> {
        let is_less = |left: &Data, right: &Data| order::is_less(left.into(), right.into());
        if !elements.is_sorted_by(is_less) {
            elements.sort_unstable();
            if !elements.is_sorted_by(is_less) {
                return Err(DuplicateError);
            }
        }
        Ok(Self(elements))
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Ord> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements: Vec<T> = elements.into_iter().collect();
        elements.sort_unstable();
        elements.dedup();
        Self(elements)
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Set<T> {
    fn from(elements: [T; N]) -> Self {
        Self::from_iter(elements)
    }
}

impl<T: Ord> Extend<T> for Set<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        self.0.extend(elements);
        self.0.sort_unstable();
        self.0.dedup();
    }
}

impl<T> IntoIterator for Set<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Set<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SetVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Ord> Visitor<'de> for SetVisitor<T> {
            type Value = Set<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Set<T>, D::Error> {
                Vec::deserialize(deserializer).map(Set::from_iter)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Set<T>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = access.next_element()? {
                    elements.push(element);
                }
                Ok(Set::from_iter(elements))
            }
        }

        deserializer.deserialize_newtype_struct(reserved::SET, SetVisitor(PhantomData))
    }
}

/// Two elements of a set or two keys of a table are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("duplicate element or key")]
pub struct DuplicateError;

/// Zeek's `table`: sorted by key, each key once. Typed records use a `BTreeMap` instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(Vec<(Data, Data)>);

impl Table {
    /// From entries of which it is known that no two have the same key.
    pub(crate) fn from_unique(mut entries: Vec<(Data, Data)>) -> Self {
        entries.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        Self(entries)
    }

    /// The entries, ascending by key.
    pub fn iter(&self) -> std::slice::Iter<'_, (Data, Data)> {
        self.0.iter()
    }

    /// The entries, ascending by key.
    pub fn as_slice(&self) -> &[(Data, Data)] {
        &self.0
    }

    /// The value of a key.
    pub fn get(&self, key: &Data) -> Option<&Data> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// In any order, without duplicate keys as Broker understands them.
impl TryFrom<Vec<(Data, Data)>> for Table {
    type Error = DuplicateError;

    fn try_from(mut entries: Vec<(Data, Data)>) -> Result<Self, DuplicateError> {
        let is_less =
            |left: &(Data, Data), right: &(Data, Data)| order::is_less((&left.0).into(), (&right.0).into());
        if !entries.is_sorted_by(is_less) {
            entries.sort_unstable_by(|left, right| left.0.cmp(&right.0));
            if !entries.is_sorted_by(is_less) {
                return Err(DuplicateError);
            }
        }
        Ok(Self(entries))
    }
}

impl IntoIterator for Table {
    type Item = (Data, Data);
    type IntoIter = std::vec::IntoIter<(Data, Data)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a (Data, Data);
    type IntoIter = std::slice::Iter<'a, (Data, Data)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
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
            serializer.serialize_newtype_struct(reserved::TABLE, &self.0)
        } else {
            serializer.serialize_newtype_struct(reserved::TABLE, &AsMap(&self.0))
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
