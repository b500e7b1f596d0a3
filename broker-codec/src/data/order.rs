//! Broker's `operator<` for values (`variant_data.cc`, `data.hh`).

use std::cmp::Ordering;

use super::{Data, Real};

/// Whether `left` stands before `right` in Broker's sets and tables. Two values of which neither is less are the same
/// element to Broker.
///
/// This is the order of [`Data`] but for NaN, which is neither less nor greater than any real.
pub(crate) fn is_less(left: &Data, right: &Data) -> bool {
    cmp(left, right).is_lt()
}

fn cmp(left: &Data, right: &Data) -> Ordering {
    match (left, right) {
        (Data::Real(Real(left)), Data::Real(Real(right))) => {
            left.partial_cmp(right).unwrap_or(Ordering::Equal)
        }
        (Data::Set(left), Data::Set(right)) => cmp_each(left.iter(), right.iter()),
        (Data::Vector(left), Data::Vector(right)) => cmp_each(left.iter(), right.iter()),
        (Data::Table(left), Data::Table(right)) => {
            cmp_each(left.iter().flat_map(flat), right.iter().flat_map(flat))
        }
        _ => left.cmp(right),
    }
}

fn cmp_each<'a>(left: impl Iterator<Item = &'a Data>, mut right: impl Iterator<Item = &'a Data>) -> Ordering {
    for left in left {
        match right.next().map(|right| cmp(left, right)) {
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

fn flat((key, value): &(Data, Data)) -> [&Data; 2] {
    [key, value]
}
