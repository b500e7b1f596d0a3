use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

use super::{
    ordered::{DuplicateError, Ordered},
    reserved,
    value::Data,
};

/// Zeek's `set[T]`: sorted, without duplicates.
///
/// A set of [`Data`] that was decoded in another order is encoded in that order again. Nothing else shows it: it is iterated
/// over, compared and written as JSON like any other.
///
/// serde has no word for sets; to Broker data this is a set, to any other serde format a sequence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set<T>(Ordered<T>);

impl<T> Set<T> {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Ordered::Ascending(Vec::new()))
    }

    /// The elements, ascending.
    pub fn as_slice(&self) -> &[T] {
        self
    }
}

impl<T: Ord> Set<T> {
    pub fn contains(&self, element: &T) -> bool {
        self.binary_search(element).is_ok()
    }
}

impl Set<Data> {
    /// A set as a peer sends it: in any order, which is kept, without duplicates.
    pub(crate) fn from_wire(elements: Vec<Data>) -> Result<Self, DuplicateError> {
        Ordered::from_sent(elements).map(Self)
    }

    /// In the order of the message that it came in.
    pub(crate) fn iter_as_sent(&self) -> impl Iterator<Item = &Data> {
        self.0.iter_as_sent()
    }
}

/// The elements, ascending.
impl<T> Deref for Set<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// In any order, which is forgotten; without duplicates as Broker understands them.
impl TryFrom<Vec<Data>> for Set<Data> {
    type Error = DuplicateError;

    fn try_from(elements: Vec<Data>) -> Result<Self, DuplicateError> {
        Ordered::sorted(elements).map(Self)
    }
}

impl<T: fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
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
        }

        deserializer.deserialize_newtype_struct(reserved::SET, SetVisitor(PhantomData))
    }
}
