//! From [`Data`](super::Data) to Rust types: the reading half of the serde bridge.

mod event;

use std::{iter::Enumerate, slice, vec::IntoIter};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{BytesDeserializer, SeqAccessDeserializer, StrDeserializer},
};

use super::{
    error::{DataError, DataErrorKind},
    handed,
    kind::Kind,
    leaf::EnumValue,
    leaf_serde, reserved,
    table::Table,
    value::Data,
};
use event::Variant;

/// Converts Broker data into a Rust value with a serde derive; the reverse of [`to_data`](super::to_data). Strings and
/// [`Data`](super::Data) in it are moved, but for keys of tables, which are copied.
///
/// Kinds are strict: an `int` is not a `count`. Errors carry the path to the offending field. Surplus trailing
/// elements of a record are ignored, as Zeek does (`src/broker/Data.cc`, `val_converter`); surplus event arguments
/// are refused by [`crate::zeek::Event::parse`].
///
/// A record field that is `none` or that the record ends before reads as `None` where its type is an `Option`, as
/// `none` where it is a [`Data`](super::Data), and as its default where it carries `#[serde(default)]` (an `Option` needs that
/// attribute, too, if the record may end before it). Elsewhere it is an error.
pub fn from_data<T: DeserializeOwned>(data: Data) -> Result<T, DataError> {
    T::deserialize(Deserializer(data))
}

/// Reads an event enum: the variant is the event's name, its fields are the arguments.
pub(crate) fn from_event<T: DeserializeOwned>(name: &[u8], args: Vec<Data>) -> Result<T, DataError> {
    T::deserialize(Variant { name, args })
}

/// Presents one value to serde.
struct Deserializer(Data);

impl Deserializer {
    fn mismatch<T>(&self, expected: Kind) -> Result<T, DataError> {
        Err(DataError::mismatch(expected, self.0.kind()))
    }

    fn string(self) -> Result<Vec<u8>, DataError> {
        match self.0 {
            Data::String(bytes) => Ok(bytes.into_bytes()),
            _ => self.mismatch(Kind::String),
        }
    }

    fn vector(self) -> Result<Vec<Data>, DataError> {
        match self.0 {
            Data::Vector(elements) => Ok(elements),
            _ => self.mismatch(Kind::Vector),
        }
    }

    fn leaf<'de, V: Visitor<'de>>(self, expected: Kind, visitor: V) -> Result<V::Value, DataError> {
        match (expected, self.0) {
            (Kind::Address, Data::Address(address)) => compact(visitor, address.as_bytes()),
            (Kind::Subnet, Data::Subnet(subnet)) => compact(visitor, &leaf_serde::subnet_bytes(subnet)),
            (Kind::Port, Data::Port(port)) => compact(visitor, &leaf_serde::port_bytes(port)),
            (Kind::Timestamp, Data::Timestamp(timestamp)) => compact(visitor, &timestamp.0.to_be_bytes()),
            (Kind::Timespan, Data::Timespan(timespan)) => compact(visitor, &timespan.0.to_be_bytes()),
            (Kind::EnumValue, Data::EnumValue(EnumValue(name))) => compact(visitor, name.as_bytes()),
            (Kind::Set, Data::Set(elements)) => {
                let elements = Elements::new(&[], elements);
                visitor.visit_newtype_struct(SeqAccessDeserializer::new(elements))
            }
            (Kind::Table, Data::Table(table)) => visitor.visit_map(Entries::new(table)),
            (_, other) => Self(other).mismatch(expected),
        }
    }
}

/// Hands a leaf to its visitor as the bytes of Broker's binary format.
fn compact<'de, V: Visitor<'de>>(visitor: V, bytes: &[u8]) -> Result<V::Value, DataError> {
    visitor.visit_newtype_struct(BytesDeserializer::new(bytes))
}

impl<'de> de::Deserializer<'de> for Deserializer {
    type Error = DataError;

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u128 f32 char unit unit_struct tuple_struct identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DataError> {
        Err(DataError::new(DataErrorKind::Unsupported("the Rust type")))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::Boolean(value) => visitor.visit_bool(value),
            _ => self.mismatch(Kind::Boolean),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::Count(value) => visitor.visit_u64(value),
            _ => self.mismatch(Kind::Count),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::Integer(value) => visitor.visit_i64(value),
            _ => self.mismatch(Kind::Integer),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::Real(value) => visitor.visit_f64(value.0),
            _ => self.mismatch(Kind::Real),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        let text = String::from_utf8(self.string()?).map_err(|_| DataError::new(DataErrorKind::NotUtf8))?;
        visitor.visit_string(text)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        visitor.visit_byte_buf(self.string()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        match reserved::kind(name) {
            Some(kind) => self.leaf(kind, visitor),
            None if name == reserved::DATA => handed::pass(self.0, visitor),
            None => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        visitor.visit_seq(Elements::new(&[], self.vector()?))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DataError> {
        let elements = self.vector()?;
        if elements.len() != len {
            return Err(DataError::new(DataErrorKind::WrongLength {
                expected: len,
                found: elements.len(),
            }));
        }
        visitor.visit_seq(Elements::new(&[], elements))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Data::Table(table) => visitor.visit_map(Entries::new(table)),
            _ => self.mismatch(Kind::Table),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        let mut fields = Fields {
            names: fields.iter(),
            values: self.vector()?.into_iter(),
            unset: None,
        };
        let read = visitor.visit_seq(&mut fields);
        read.map_err(|error| fields.unset.take().unwrap_or(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        let Data::EnumValue(EnumValue(name)) = &self.0 else {
            return self.mismatch(Kind::EnumValue);
        };
        let name = name.as_str().ok_or(DataError::new(DataErrorKind::NotUtf8))?;
        visitor.visit_enum(name.into_deserializer() as StrDeserializer<'_, DataError>)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a vector or set, or the arguments of an event, each with its name or else its index in errors.
struct Elements {
    names: &'static [&'static str],
    rest: Enumerate<IntoIter<Data>>,
}

impl Elements {
    fn new(names: &'static [&'static str], elements: impl IntoIterator<IntoIter = IntoIter<Data>>) -> Self {
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
struct Entries {
    rest: IntoIter<(Data, Data)>,
    /// The entry whose key was asked for last.
    entry: Option<(Data, Data)>,
}

impl Entries {
    fn new(table: Table) -> Self {
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
        // An error about the value names it.
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
struct Fields {
    names: slice::Iter<'static, &'static str>,
    values: IntoIter<Data>,
    /// Why the field asked for last has no value.
    unset: Option<DataError>,
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
