//! Broker's `operator<` for values (`variant_data.cc`, `data.hh`).

use std::cmp::Ordering;

use super::{Data, Table};

/// Whether `left` stands before `right` in Broker's sets and tables. Two values of which neither is less are the same
/// element to Broker.
///
/// This is the derived order of [`Data`] but for NaN, which is neither less nor greater than any real.
pub(crate) fn is_less(left: &Data, right: &Data) -> bool {
    broker_cmp(left, right).is_lt()
}

fn broker_cmp(left: &Data, right: &Data) -> Ordering {
    match (left, right) {
        (Data::Real(left), Data::Real(right)) => cmp_reals(left.0, right.0),
        (Data::Set(left), Data::Set(right)) => cmp_each(left, right),
        (Data::Vector(left), Data::Vector(right)) => cmp_each(left, right),
        (Data::Table(left), Data::Table(right)) => cmp_each(keys_and_values(left), keys_and_values(right)),
        _ => left.cmp(right),
    }
}

/// The order of reals as `<` has it: -0.0 is 0.0, and NaN is equivalent to every real.
pub(crate) fn cmp_reals(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or(Ordering::Equal)
}

fn keys_and_values(table: &Table) -> impl Iterator<Item = &Data> {
    table.iter().flat_map(|(key, value)| [key, value])
}

fn cmp_each<'a>(
    left: impl IntoIterator<Item = &'a Data>,
    right: impl IntoIterator<Item = &'a Data>,
) -> Ordering {
    let mut right = right.into_iter();
    for left in left {
        match right.next().map(|right| broker_cmp(left, right)) {
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
