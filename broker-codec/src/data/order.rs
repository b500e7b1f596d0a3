//! Broker's `operator<` for values (`variant_data.cc`, `data.hh`).

use std::{cmp::Ordering, collections::BTreeMap};

use super::{DataRef, Node, Real, value_at};

/// Whether `left` stands before `right` in Broker's sets and tables. Two values of which neither is less are the same
/// element to Broker.
///
/// This is the order of [`Data`](super::Data) but for NaN, which is neither less nor greater than any real.
pub(crate) fn is_less(left: DataRef<'_>, right: DataRef<'_>) -> bool {
    cmp(left, right, partial_cmp).is_lt()
}

fn partial_cmp(left: Real, right: Real) -> Ordering {
    left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal)
}

/// Sets and tables in this must be in order: see [`Orders`].
fn cmp(left: DataRef<'_>, right: DataRef<'_>, reals: fn(Real, Real) -> Ordering) -> Ordering {
    match (left, right) {
        (DataRef::Boolean(left), DataRef::Boolean(right)) => left.cmp(&right),
        (DataRef::Count(left), DataRef::Count(right)) => left.cmp(&right),
        (DataRef::Integer(left), DataRef::Integer(right)) => left.cmp(&right),
        (DataRef::Real(left), DataRef::Real(right)) => reals(left, right),
        (DataRef::String(left), DataRef::String(right))
        | (DataRef::EnumValue(left), DataRef::EnumValue(right)) => left.cmp(right),
        (DataRef::Address(left), DataRef::Address(right)) => left.cmp(&right),
        (DataRef::Subnet(left), DataRef::Subnet(right)) => left.cmp(&right),
        (DataRef::Port(left), DataRef::Port(right)) => left.cmp(&right),
        (DataRef::Timestamp(left), DataRef::Timestamp(right)) => left.cmp(&right),
        (DataRef::Timespan(left), DataRef::Timespan(right)) => left.cmp(&right),
        (DataRef::Set(left), DataRef::Set(right)) | (DataRef::Vector(left), DataRef::Vector(right)) => {
            cmp_each(left, right, reals)
        }
        (DataRef::Table(left), DataRef::Table(right)) => {
            let flat = |(key, value)| [key, value];
            cmp_each(left.iter().flat_map(flat), right.iter().flat_map(flat), reals)
        }
        _ => left.kind().cmp(&right.kind()),
    }
}

fn cmp_each<'a>(
    left: impl IntoIterator<Item = DataRef<'a>>,
    right: impl IntoIterator<Item = DataRef<'a>>,
    reals: fn(Real, Real) -> Ordering,
) -> Ordering {
    let mut right = right.into_iter();
    for left in left {
        match right.next().map(|right| cmp(left, right, reals)) {
            None => return Ordering::Greater,
            Some(Ordering::Equal) => {}
            Some(unequal) => return unequal,
        }
    }
    if right.next().is_some() {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

/// The order of what is in a message whose sets and tables came in any order.
///
/// An element that holds a set is compared by what is in that set, not by how it was sent. To find that order anew for each
/// comparison would take long if sets are nested; so it is kept where it is not the message's.
#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<u32, Box<[u32]>>);

impl Orders {
    /// How many sets and tables there are that are not in order.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts the elements or keys, which are given by their nodes, in order. False if two are the same.
    pub(crate) fn sort(&self, nodes: &[Node<'_>], keys: &mut [u32]) -> bool {
        keys.sort_unstable_by(|left, right| self.cmp(nodes, *left, *right, |left, right| left.cmp(&right)));
        keys.is_sorted_by(|left, right| self.cmp(nodes, *left, *right, partial_cmp).is_lt())
    }

    /// Keeps the order of a set's elements or a table's keys.
    pub(crate) fn insert(&mut self, container: u32, keys: Vec<u32>) {
        self.0.insert(container, keys.into_boxed_slice());
    }

    fn cmp(&self, nodes: &[Node<'_>], left: u32, right: u32, reals: fn(Real, Real) -> Ordering) -> Ordering {
        match (node(nodes, left), node(nodes, right)) {
            (Some(Node::Set(_)), Some(Node::Set(_)))
            | (Some(Node::Table(_)), Some(Node::Table(_)))
            | (Some(Node::Vector(_)), Some(Node::Vector(_))) => {
                let mut right = self.inner(nodes, right);
                for left in self.inner(nodes, left) {
                    match right.next().map(|right| self.cmp(nodes, left, right, reals)) {
                        None => return Ordering::Greater,
                        Some(Ordering::Equal) => {}
                        Some(unequal) => return unequal,
                    }
                }
                if right.next().is_some() {
                    Ordering::Less
                } else {
                    Ordering::Equal
                }
            }
            _ => cmp(value(nodes, left), value(nodes, right), reals),
        }
    }

    /// The nodes of the values in a container, a table's keys each followed by its value.
    fn inner<'a>(&'a self, nodes: &'a [Node<'_>], container: u32) -> impl Iterator<Item = u32> + 'a {
        let sorted = self.0.get(&container);
        let end = behind(nodes, container);
        let is_table = matches!(node(nodes, container), Some(Node::Table(_)));
        let as_sent = std::iter::successors(container.checked_add(1), |at| Some(behind(nodes, *at)))
            .take_while(move |at| sorted.is_none() && *at < end);
        let sorted = sorted.into_iter().flatten().flat_map(move |key| {
            let value = is_table.then(|| behind(nodes, *key));
            [Some(*key), value].into_iter().flatten()
        });
        as_sent.chain(sorted)
    }
}

fn node<'a, 'n>(nodes: &'a [Node<'n>], at: u32) -> Option<&'a Node<'n>> {
    nodes.get(usize::try_from(at).ok()?)
}

fn value<'a>(nodes: &'a [Node<'a>], at: u32) -> DataRef<'a> {
    usize::try_from(at).map_or(DataRef::None, |at| value_at(nodes, at))
}

/// The node behind a value.
pub(crate) fn behind(nodes: &[Node<'_>], at: u32) -> u32 {
    let span = node(nodes, at).map_or(1, Node::span);
    at.saturating_add(u32::try_from(span).unwrap_or(u32::MAX))
}
