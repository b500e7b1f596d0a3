//! Broker's `operator<` for values (`variant_data.cc`, `data.hh`).

use std::cmp::Ordering;

use super::{DataRef, Real};

/// Whether `left` stands before `right` in Broker's sets and tables. Two values of which neither is less are the same
/// element to Broker.
///
/// This is the order of [`Data`](super::Data) but for NaN, which is neither less nor greater than any real.
pub(crate) fn is_less(left: DataRef<'_>, right: DataRef<'_>) -> bool {
    let reals = |left: Real, right: Real| left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal);
    cmp(left, right, reals).is_lt()
}

/// The order of [`Data`](super::Data).
pub(crate) fn total_cmp(left: DataRef<'_>, right: DataRef<'_>) -> Ordering {
    cmp(left, right, |left, right| left.cmp(&right))
}

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
