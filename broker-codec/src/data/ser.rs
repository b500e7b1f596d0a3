//! From Rust types to [`Data`]: the writing half of the serde bridge.

use serde::ser::{self, Serialize};

use super::{
    error::{DataError, DataErrorKind},
    kind::Kind,
    leaf::{EnumValue, Real},
    leaf_serde, reserved,
    set::Set,
    table::Table,
    value::Data,
};

/// Converts a Rust value with a serde derive into Broker data.
///
/// A struct is a vector in field order, `Option` is `none` or the value, `Vec`, [`Set`] and `BTreeMap` are vector,
/// set and table, a fieldless enum is an enum value by its serde name, `u64`, `i64` and `f64` are count, integer and
/// real. Narrower integers are refused. Sets and tables come out in Broker's order, whatever the order of the Rust
/// type.
pub fn to_data<T: Serialize + ?Sized>(value: &T) -> Result<Data, DataError> {
    value.serialize(Serializer)
}

/// The name and the arguments of the event that a variant of an event enum stands for.
pub(crate) fn to_event<T: Serialize + ?Sized>(value: &T) -> Result<(&'static str, Vec<Data>), DataError> {
    value.serialize(EventSerializer)
}

struct Serializer;

fn unsupported<T>(what: &'static str) -> Result<T, DataError> {
    Err(DataError::new(DataErrorKind::Unsupported(what)))
}

impl ser::Serializer for Serializer {
    type Ok = Data;
    type Error = DataError;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Elements;
    type SerializeTupleVariant = ser::Impossible<Data, DataError>;
    type SerializeMap = Entries;
    type SerializeStruct = Elements;
    type SerializeStructVariant = ser::Impossible<Data, DataError>;

    fn serialize_bool(self, value: bool) -> Result<Data, DataError> {
        Ok(Data::Boolean(value))
    }

    fn serialize_i8(self, _value: i8) -> Result<Data, DataError> {
        unsupported("i8")
    }

    fn serialize_i16(self, _value: i16) -> Result<Data, DataError> {
        unsupported("i16")
    }

    fn serialize_i32(self, _value: i32) -> Result<Data, DataError> {
        unsupported("i32")
    }

    fn serialize_i64(self, value: i64) -> Result<Data, DataError> {
        Ok(Data::Integer(value))
    }

    fn serialize_u8(self, _value: u8) -> Result<Data, DataError> {
        unsupported("u8")
    }

    fn serialize_u16(self, _value: u16) -> Result<Data, DataError> {
        unsupported("u16")
    }

    fn serialize_u32(self, _value: u32) -> Result<Data, DataError> {
        unsupported("u32")
    }

    fn serialize_u64(self, value: u64) -> Result<Data, DataError> {
        Ok(Data::Count(value))
    }

    fn serialize_f32(self, _value: f32) -> Result<Data, DataError> {
        unsupported("f32")
    }

    fn serialize_f64(self, value: f64) -> Result<Data, DataError> {
        Ok(Data::Real(Real(value)))
    }

    fn serialize_char(self, _value: char) -> Result<Data, DataError> {
        unsupported("char")
    }

    fn serialize_str(self, text: &str) -> Result<Data, DataError> {
        Ok(Data::String(text.into()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Data, DataError> {
        Ok(Data::String(bytes.into()))
    }

    fn serialize_none(self) -> Result<Data, DataError> {
        Ok(Data::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Data, DataError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Data, DataError> {
        unsupported("()")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Data, DataError> {
        unsupported("a struct without fields")
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Data, DataError> {
        if name == reserved::DATA {
            return Ok(Data::None);
        }
        Ok(Data::EnumValue(EnumValue(variant.into())))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Data, DataError> {
        let content = value.serialize(self)?;
        match reserved::kind(name) {
            Some(kind) => leaf(kind, content),
            None => Ok(content),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<Data, DataError> {
        if name == reserved::DATA {
            return value.serialize(self);
        }
        unsupported("an enum with fields")
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len.unwrap_or_default()))
    }

    fn serialize_tuple(self, len: usize) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, DataError> {
        unsupported("an enum with fields")
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Entries, DataError> {
        Ok(Entries {
            entries: Vec::with_capacity(len.unwrap_or_default()),
            key: None,
        })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, DataError> {
        unsupported("an enum with fields")
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Turns the plain content of a newtype with a reserved name into what the name says.
fn leaf(kind: Kind, content: Data) -> Result<Data, DataError> {
    let found = content.kind();
    let data = match (kind, content) {
        (Kind::EnumValue, Data::String(name)) => Some(Data::EnumValue(EnumValue(name))),
        (Kind::Set, Data::Vector(elements)) => Some(Data::Set(Set::from_iter(elements))),
        (Kind::Table, Data::Table(table)) => Some(Data::Table(table)),
        (kind, Data::String(bytes)) => leaf_serde::from_compact(kind, bytes.as_bytes()),
        _ => None,
    };
    data.ok_or(DataError::mismatch(kind, found))
}

/// Collects a vector, a tuple, a record or the arguments of an event.
struct Elements(Vec<Data>);

impl Elements {
    fn with_capacity(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        let index = self.0.len();
        self.0
            .push(to_data(value).map_err(|error| error.in_element(index))?);
        Ok(())
    }

    fn push_field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), DataError> {
        self.0.push(to_data(value).map_err(|error| error.in_field(name))?);
        Ok(())
    }
}

impl ser::SerializeSeq for Elements {
    type Ok = Data;
    type Error = DataError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Data, DataError> {
        Ok(Data::Vector(self.0))
    }
}

impl ser::SerializeTuple for Elements {
    type Ok = Data;
    type Error = DataError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Data, DataError> {
        Ok(Data::Vector(self.0))
    }
}

impl ser::SerializeTupleStruct for Elements {
    type Ok = Data;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Data, DataError> {
        Ok(Data::Vector(self.0))
    }
}

impl ser::SerializeStruct for Elements {
    type Ok = Data;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), DataError> {
        self.push_field(name, value)
    }

    fn skip_field(&mut self, _name: &'static str) -> Result<(), DataError> {
        self.0.push(Data::None);
        Ok(())
    }

    fn end(self) -> Result<Data, DataError> {
        Ok(Data::Vector(self.0))
    }
}

/// Collects a table.
struct Entries {
    entries: Vec<(Data, Data)>,
    key: Option<Data>,
}

impl ser::SerializeMap for Entries {
    type Ok = Data;
    type Error = DataError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), DataError> {
        let index = self.entries.len();
        self.key = Some(to_data(key).map_err(|error| error.in_element(index))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        let Some(key) = self.key.take() else {
            return Err(ser::Error::custom("a value came before its key"));
        };
        let value = to_data(value).map_err(|error| error.in_entry(&key))?;
        self.entries.push((key, value));
        Ok(())
    }

    fn end(self) -> Result<Data, DataError> {
        Table::try_from(self.entries)
            .map(Data::Table)
            .map_err(|_| DataError::new(DataErrorKind::DuplicateKey))
    }
}

/// Takes an event enum apart.
struct EventSerializer;

const NOT_AN_EVENT: &str = "an event type that is not an enum";

macro_rules! refuse {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(
            fn $method(self, _value: $type) -> Result<Self::Ok, DataError> {
                unsupported(NOT_AN_EVENT)
            }
        )*
    };
}

impl ser::Serializer for EventSerializer {
    type Ok = (&'static str, Vec<Data>);
    type Error = DataError;
    type SerializeSeq = ser::Impossible<Self::Ok, DataError>;
    type SerializeTuple = ser::Impossible<Self::Ok, DataError>;
    type SerializeTupleStruct = ser::Impossible<Self::Ok, DataError>;
    type SerializeTupleVariant = Arguments;
    type SerializeMap = ser::Impossible<Self::Ok, DataError>;
    type SerializeStruct = ser::Impossible<Self::Ok, DataError>;
    type SerializeStructVariant = Arguments;

    refuse! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_f32(f32),
        serialize_f64(f64), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    fn serialize_none(self) -> Result<Self::Ok, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<Self::Ok, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_unit(self) -> Result<Self::Ok, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, DataError> {
        Ok((variant, Vec::new()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, DataError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, DataError> {
        let mut arguments = Arguments::new(variant, 1);
        ser::SerializeTupleVariant::serialize_field(&mut arguments, value)?;
        ser::SerializeTupleVariant::end(arguments)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Arguments, DataError> {
        Ok(Arguments::new(variant, len))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeStruct, DataError> {
        unsupported(NOT_AN_EVENT)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Arguments, DataError> {
        Ok(Arguments::new(variant, len))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Collects the arguments of an event.
struct Arguments {
    name: &'static str,
    values: Elements,
}

impl Arguments {
    fn new(name: &'static str, len: usize) -> Self {
        Self {
            name,
            values: Elements::with_capacity(len),
        }
    }
}

impl ser::SerializeTupleVariant for Arguments {
    type Ok = (&'static str, Vec<Data>);
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.values.push(value).map_err(|error| error.in_field(self.name))
    }

    fn end(self) -> Result<Self::Ok, DataError> {
        Ok((self.name, self.values.0))
    }
}

impl ser::SerializeStructVariant for Arguments {
    type Ok = (&'static str, Vec<Data>);
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), DataError> {
        self.values
            .push_field(name, value)
            .map_err(|error| error.in_field(self.name))
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), DataError> {
        ser::SerializeStruct::skip_field(&mut self.values, name)
    }

    fn end(self) -> Result<Self::Ok, DataError> {
        Ok((self.name, self.values.0))
    }
}
