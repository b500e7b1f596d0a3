//! What is within a value, one after the other.

use std::{iter::Enumerate, slice, vec::IntoIter};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess};

use super::{
    super::{
        error::{DataError, DataErrorKind},
        table::Table,
        value::Data,
    },
    Deserializer,
};

/// The elements of a vector or set, or the arguments of an event, each with its name or else its index in errors.
pub(super) struct Elements {
    names: &'static [&'static str],
    rest: Enumerate<IntoIter<Data>>,
}

impl Elements {
    pub(super) fn new(
        names: &'static [&'static str],
        elements: impl IntoIterator<IntoIter = IntoIter<Data>>,
    ) -> Self {
        Self {
            names,
            rest: elements.into_iter().enumerate(),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = DataError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DataError> {
        let Some((index, element)) = self.rest.next() else {
            return Ok(None);
        };
        let value = seed.deserialize(Deserializer(element));
        value.map(Some).map_err(|error| match self.names.get(index) {
            Some(name) => error.in_field(name),
            None => error.in_element(index),
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The entries of a table, each with its key in errors.
pub(super) struct Entries {
    rest: IntoIter<(Data, Data)>,
    /// The entry whose key was asked for last.
    entry: Option<(Data, Data)>,
}

impl Entries {
    pub(super) fn new(table: Table) -> Self {
        Self {
            rest: table.into_iter(),
            entry: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = DataError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DataError> {
        self.entry = self.rest.next();
        let Some((key, _)) = &self.entry else {
            return Ok(None);
        };
        let read = seed.deserialize(Deserializer(key.clone()));
        read.map(Some).map_err(|error| error.in_entry(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DataError> {
        let Some((key, value)) = self.entry.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let read = seed.deserialize(Deserializer(value));
        read.map_err(|error| error.in_entry(&key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The fields of a record.
///
/// serde's derive asks for one element per field and takes "no more elements" as leave to fill in that one field's
/// default; it asks again for the next field. So an unset field in the middle is answered that way, too, once its type
/// has refused `none`. If there is no default, the derive gives up at once, and what it reports is replaced by
/// what we know.
pub(super) struct Fields {
    pub(super) names: slice::Iter<'static, &'static str>,
    pub(super) values: IntoIter<Data>,
    /// Why the field asked for last has no value.
    pub(super) unset: Option<DataError>,
}

impl<'de> SeqAccess<'de> for &mut Fields {
    type Error = DataError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DataError> {
        self.unset = None;
        let name = self.names.next().copied().unwrap_or_default();
        let Some(value) = self.values.next() else {
            self.unset = Some(DataError::new(DataErrorKind::MissingField).in_field(name));
            return Ok(None);
        };
        let is_none = matches!(value, Data::None);
        match seed.deserialize(Deserializer(value)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_none && error.path.is_empty() => {
                self.unset = Some(error.in_field(name));
                Ok(None)
            }
            Err(error) => Err(error.in_field(name)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}
