use std::cmp::Ordering;

/// Two elements of a set or two keys of a table are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("duplicate element or key")]
pub struct DuplicateError;

/// What a set or table consists of: in Broker's order, and, if it came in another one, that one, too.
///
/// C++ sends what it keeps in order, so only others' messages have another order; and CAF's packing of subnormal reals
/// makes other numbers of them, after C++ has put them in order (see `binary/real.rs`). Both must be written again as
/// they came.
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

impl<E> Ordered<E> {
    /// Puts what came in any order into that of `cmp`, and remembers how it came.
    pub(super) fn from_sent(mut elements: Vec<E>, cmp: impl Fn(&E, &E) -> Ordering) -> Self {
        if elements.is_sorted_by(|left, right| cmp(left, right).is_le()) {
            return Self::Ascending(elements);
        }
        let Ok(len) = u32::try_from(elements.len()) else {
            // More than any message holds (`VALUES_MAX`).
            elements.sort_unstable_by(cmp);
            return Self::Ascending(elements);
        };
        let at = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
        let mut ranks: Vec<u32> = (0..len).collect();
        ranks.sort_by(|left, right| {
            let elements = elements.get(at(*left)).zip(elements.get(at(*right)));
            elements.map_or(Ordering::Equal, |(left, right)| cmp(left, right))
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

    pub(super) fn as_slice(&self) -> &[E] {
        match self {
            Self::Ascending(elements) => elements,
            Self::AsSent(as_sent) => &as_sent.ascending,
        }
    }

    /// In the order of the wire.
    pub(super) fn iter_as_sent(&self) -> impl Iterator<Item = &E> {
        let (ascending, sent) = match self {
            Self::Ascending(elements) => (elements.as_slice(), &[][..]),
            Self::AsSent(as_sent) => (&[][..], as_sent.sent.as_slice()),
        };
        let all = self.as_slice();
        let by_rank = move |rank: &u32| all.get(usize::try_from(*rank).ok()?);
        ascending.iter().chain(sent.iter().filter_map(by_rank))
    }

    /// To change it: the order on the wire is forgotten.
    pub(super) fn make_mut(&mut self) -> &mut Vec<E> {
        if let Self::AsSent(as_sent) = self {
            *self = Self::Ascending(std::mem::take(&mut as_sent.ascending));
        }
        match self {
            Self::Ascending(elements) => elements,
            Self::AsSent(as_sent) => &mut as_sent.ascending,
        }
    }

    pub(super) fn into_vec(self) -> Vec<E> {
        match self {
            Self::Ascending(elements) => elements,
            Self::AsSent(as_sent) => as_sent.ascending,
        }
    }
}
