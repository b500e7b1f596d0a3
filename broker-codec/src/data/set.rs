use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::{
    ordered::{DuplicateError, Ordered},
    reserved,
    value::Data,
};

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
