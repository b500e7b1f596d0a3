//! How a [`Data`] gets through serde in one piece.
//!
//! serde's data model has no word for it, and taking it apart to build it again costs more than all else. So our own
//! deserializer leaves it here, and `Data`, which is asked for next on the same thread, takes it.

use std::cell::Cell;

use serde::de::{Error, Visitor};

use super::value::Data;

thread_local! {
    static HANDED: Cell<Option<Data>> = const { Cell::new(None) };
}

/// Hands a value over to `Data`'s visitor.
pub(super) fn over<'de, V: Visitor<'de>, E: Error>(data: Data, visitor: V) -> Result<V::Value, E> {
    HANDED.set(Some(data));
    visitor.visit_unit()
}

/// Takes the value.
pub(super) fn taken<E: Error>() -> Result<Data, E> {
    HANDED.take().ok_or_else(|| E::custom("no value was handed over"))
}
