use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{ordered::Ordered, reserved, value::Data};

/// Zeek's `set[T]`: sorted, without duplicates.
///
/// A set of [`Data`] that was decoded in another order is encoded in that order again, until it is changed. Nothing else
/// shows it: it is iterated over, compared and written as JSON like any other.
///
/// serde has no word for sets; to Broker data this is a set, to any other serde format a sequence.
#[derive(Clone)]
pub struct Set<T>(Ordered<T>);

impl<T> Set<T> {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Ordered::Ascending(Vec::new()))
    }

    /// The elements, ascending.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.as_slice().iter()
    }

    /// The elements, ascending.
    pub fn as_slice(&self) -> &[T] {
        self.0.as_slice()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T: Ord> Set<T> {
    /// Adds an element; false if it was there already.
    pub fn insert(&mut self, element: T) -> bool {
        match self.as_slice().binary_search(&element) {
            Ok(_) => false,
            Err(at) => {
                self.0.make_mut().insert(at, element);
                true
            }
        }
    }

    /// Takes an element out; false if it was not there.
    pub fn remove(&mut self, element: &T) -> bool {
        match self.as_slice().binary_search(element) {
            Ok(at) => {
                self.0.make_mut().remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the element is there.
    pub fn contains(&self, element: &T) -> bool {
        self.as_slice().binary_search(element).is_ok()
    }
}

impl Set<Data> {
    /// A set as a peer sends it: in any order, which is kept, without duplicates.
    ///
    /// What counts as a duplicate is Broker's rule: neither is less than the other. See [`super::Real`] for the one
    /// place where that is more than equality.
    pub(crate) fn from_wire(elements: Vec<Data>) -> Result<Self, DuplicateError> {
        if elements.is_sorted_by(Data::is_less) {
            return Ok(Self(Ordered::Ascending(elements)));
        }
        let set = Ordered::from_sent(elements, Ord::cmp);
        if set.as_slice().is_sorted_by(Data::is_less) {
            Ok(Self(set))
        } else {
            Err(DuplicateError)
        }
    }

    /// In the order of the message that it came in.
    pub(crate) fn iter_as_sent(&self) -> impl Iterator<Item = &Data> {
        self.0.iter_as_sent()
    }
}

/// In any order, which is forgotten; without duplicates as Broker understands them.
impl TryFrom<Vec<Data>> for Set<Data> {
    type Error = DuplicateError;

    fn try_from(mut elements: Vec<Data>) -> Result<Self, DuplicateError> {
        if !elements.is_sorted_by(Data::is_less) {
            elements.sort_unstable();
            if !elements.is_sorted_by(Data::is_less) {
                return Err(DuplicateError);
            }
        }
        Ok(Self(Ordered::Ascending(elements)))
    }
}

impl<T: fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for Set<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq> Eq for Set<T> {}

impl<T: PartialOrd> PartialOrd for Set<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<T: Ord> Ord for Set<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl<T: Hash> Hash for Set<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
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
        Self(Ordered::Ascending(elements))
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Set<T> {
    fn from(elements: [T; N]) -> Self {
        Self::from_iter(elements)
    }
}

impl<T: Ord> Extend<T> for Set<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        let all = self.0.make_mut();
        all.extend(elements);
        all.sort_unstable();
        all.dedup();
    }
}

impl<T> IntoIterator for Set<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Serialize> Serialize for Set<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(reserved::SET, self.as_slice())
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
///
/// One that was decoded in another order is encoded in that order again, as a [`Set`].
#[derive(Clone)]
pub struct Table(Ordered<(Data, Data)>);

impl Table {
    /// A table as a peer sends it: in any order, which is kept, without duplicate keys as Broker understands them.
    pub(crate) fn from_wire(entries: Vec<(Data, Data)>) -> Result<Self, DuplicateError> {
        if entries.is_sorted_by(key_is_less) {
            return Ok(Self(Ordered::Ascending(entries)));
        }
        let table = Self(Ordered::from_sent(entries, |left, right| left.0.cmp(&right.0)));
        if table.as_slice().is_sorted_by(key_is_less) {
            Ok(table)
        } else {
            Err(DuplicateError)
        }
    }

    /// In the order of the message that it came in.
    pub(crate) fn iter_as_sent(&self) -> impl Iterator<Item = &(Data, Data)> {
        self.0.iter_as_sent()
    }

    /// The entries, ascending by key.
    pub fn iter(&self) -> std::slice::Iter<'_, (Data, Data)> {
        self.as_slice().iter()
    }

    /// The entries, ascending by key.
    pub fn as_slice(&self) -> &[(Data, Data)] {
        self.0.as_slice()
    }

    /// The value of a key.
    pub fn get(&self, key: &Data) -> Option<&Data> {
        let entries = self.as_slice();
        let at = entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        entries.get(at).map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

fn key_is_less((left, _): &(Data, Data), (right, _): &(Data, Data)) -> bool {
    left.is_less(right)
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

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Table {}

impl PartialOrd for Table {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Table {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for Table {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

/// In any order, which is forgotten; without duplicate keys as Broker understands them.
impl TryFrom<Vec<(Data, Data)>> for Table {
    type Error = DuplicateError;

    fn try_from(mut entries: Vec<(Data, Data)>) -> Result<Self, DuplicateError> {
        if !entries.is_sorted_by(key_is_less) {
            entries.sort_unstable_by(|left, right| left.0.cmp(&right.0));
            if !entries.is_sorted_by(key_is_less) {
                return Err(DuplicateError);
            }
        }
        Ok(Self(Ordered::Ascending(entries)))
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
            serializer.serialize_newtype_struct(reserved::TABLE, self.as_slice())
        } else {
            serializer.serialize_newtype_struct(reserved::TABLE, &AsMap(self.as_slice()))
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
