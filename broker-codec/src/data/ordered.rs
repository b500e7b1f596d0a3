use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    ops::Deref,
};

/// Two elements of a set or two keys of a table are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("duplicate element or key")]
pub struct DuplicateError;

/// What a set or table consists of: in Broker's order, and, if it came in another one, that one, too.
///
/// C++ sends what it keeps in order, so only others' messages have another order; and CAF's packing of subnormal reals
/// makes other numbers of them, after C++ has put them in order (see `binary/real.rs`). Both must be written again as
/// they came. Nothing else shows that order.
#[derive(Clone, Debug)]
pub(super) enum Ordered<E> {
    /// Ascending, as on the wire.
    Ascending(Vec<E>),
    /// Seldom, and therefore out of the way: the other variant needs no more space than a vector.
    AsSent(Box<AsSent<E>>),
}

/// See [`Ordered`].
#[derive(Clone, Debug)]
pub(super) struct AsSent<E> {
    ascending: Vec<E>,
    /// Where the first, second, … on the wire stands in `ascending`.
    sent: Vec<u32>,
}

/// An element of a set or an entry of a table, of which only the key counts.
pub(super) trait Element {
    /// The order of Broker's tags and values, as far as that is one.
    fn compare(&self, other: &Self) -> Ordering;

    /// Whether Broker has this before the other. Two of which neither is less are the same to it.
    fn is_less(&self, other: &Self) -> bool;
}

impl<E: Element> Ordered<E> {
    /// As a peer sends it: in any order, which is kept, without duplicates.
    ///
    /// What counts as a duplicate is Broker's rule: neither is less than the other. See [`super::Real`] for the one
    /// place where that is more than equality.
    pub(super) fn from_sent(elements: Vec<E>) -> Result<Self, DuplicateError> {
        if is_ascending(&elements) {
            return Ok(Self::Ascending(elements));
        }
        let ordered = Self::arranged(elements);
        is_ascending(&ordered).then_some(ordered).ok_or(DuplicateError)
    }

    /// In any order, which is forgotten, without duplicates as a Broker understands them.
    pub(super) fn sorted(mut elements: Vec<E>) -> Result<Self, DuplicateError> {
        if !is_ascending(&elements) {
            elements.sort_unstable_by(E::compare);
        }
        let ascending = is_ascending(&elements).then_some(elements);
        ascending.map(Self::Ascending).ok_or(DuplicateError)
    }

    /// Puts the elements in order, and remembers how they came.
    fn arranged(mut elements: Vec<E>) -> Self {
        let Ok(len) = u32::try_from(elements.len()) else {
            // More than any message holds (`VALUES_MAX`).
            elements.sort_unstable_by(E::compare);
            return Self::Ascending(elements);
        };
        let at = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
        let mut ranks: Vec<u32> = (0..len).collect();
        ranks.sort_by(|left, right| {
            let elements = elements.get(at(*left)).zip(elements.get(at(*right)));
            elements.map_or(Ordering::Equal, |(left, right)| left.compare(right))
        });
        let mut sent = vec![0; elements.len()];
        for (rank, index) in (0..).zip(&ranks) {
            if let Some(place) = sent.get_mut(at(*index)) {
                *place = rank;
            }
        }
        // Each swap brings one element to its place; the ranks are no longer needed and follow.
        ranks.copy_from_slice(&sent);
        for index in 0..elements.len() {
            while let Some(rank) = ranks.get(index).copied().map(at)
                && rank != index
                && rank < elements.len()
            {
                elements.swap(index, rank);
                ranks.swap(index, rank);
            }
        }
        Self::AsSent(Box::new(AsSent {
            ascending: elements,
            sent,
        }))
    }
}

fn is_ascending<E: Element>(elements: &[E]) -> bool {
    elements.is_sorted_by(E::is_less)
}

impl<E> Ordered<E> {
    /// In the order of the wire.
    pub(super) fn iter_as_sent(&self) -> impl Iterator<Item = &E> {
        let (ascending, sent) = match self {
            Self::Ascending(elements) => (elements.as_slice(), &[][..]),
            Self::AsSent(as_sent) => (&[][..], as_sent.sent.as_slice()),
        };
        let by_rank = move |rank: &u32| self.get(usize::try_from(*rank).ok()?);
        ascending.iter().chain(sent.iter().filter_map(by_rank))
    }

    pub(super) fn into_vec(self) -> Vec<E> {
        match self {
            Self::Ascending(elements) => elements,
            Self::AsSent(as_sent) => as_sent.ascending,
        }
    }
}

/// The elements, ascending.
impl<E> Deref for Ordered<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        match self {
            Self::Ascending(elements) => elements,
            Self::AsSent(as_sent) => &as_sent.ascending,
        }
    }
}

impl<E: PartialEq> PartialEq for Ordered<E> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<E: Eq> Eq for Ordered<E> {}

impl<E: PartialOrd> PartialOrd for Ordered<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<E: Ord> Ord for Ordered<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<E: Hash> Hash for Ordered<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
