//! How a [`Data`] gets through serde in one piece.
//!
//! serde's data model has no word for it, and taking it apart to build it again costs more than all else. So our own
//! deserializer leaves it here for the visitor that it calls, which takes it before that call returns.

use std::cell::Cell;

use serde::de::{Error, Visitor};

use super::value::Data;

thread_local! {
    static PASSED: Cell<Option<Data>> = const { Cell::new(None) };
}

/// Passes a value to the visitor of `Data`.
pub(super) fn pass<'de, V: Visitor<'de>, E: Error>(data: Data, visitor: V) -> Result<V::Value, E> {
    PASSED.set(Some(data));
    let visited = visitor.visit_unit();
    // That of another type leaves it.
    PASSED.take();
    visited
}

/// The value that was passed.
pub(super) fn take<E: Error>() -> Result<Data, E> {
    PASSED.take().ok_or_else(|| E::custom("no value was passed"))
}
