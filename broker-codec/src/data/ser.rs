//! From Rust types to [`Data`]: the writing half of the serde bridge.

use serde::ser::{self, Serialize};

use super::{
    error::{DataError, DataErrorKind},
    kind::Kind,
    leaf::{EnumValue, Real},
    leaf_serde, reserved,
    set::Set,
    string::ZeekString,
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
    value.serialize(Serializer { is_event: false })
}

/// The name and the arguments of the event that a variant of an event enum stands for.
pub(crate) fn to_event<T: Serialize + ?Sized>(value: &T) -> Result<(ZeekString, Vec<Data>), DataError> {
    let written = match value.serialize(Serializer { is_event: true })? {
        Data::EnumValue(EnumValue(name)) => return Ok((name, Vec::new())),
        Data::Vector(written) => <[Data; 2]>::try_from(written).ok(),
        _ => None,
    };
    match written {
        Some([Data::EnumValue(EnumValue(name)), Data::Vector(arguments)]) => Ok((name, arguments)),
        _ => unsupported("an event type that is not an enum"),
    }
}

#[derive(Clone, Copy)]
struct Serializer {
    /// Whether an enum with fields, which no value is, stands for an event: it becomes a list of name and arguments.
    is_event: bool,
}

impl Serializer {
    fn arguments(self, name: &'static str, len: usize) -> Result<Elements, DataError> {
        if !self.is_event {
            return unsupported("an enum with fields");
        }
        Ok(Elements {
            event: Some(name),
            values: Vec::with_capacity(len),
        })
    }
}

fn unsupported<T>(what: &'static str) -> Result<T, DataError> {
    Err(DataError::new(DataErrorKind::Unsupported(what)))
}

macro_rules! refuse {
    ($($method:ident($type:ty) => $what:literal),* $(,)?) => {
        $(
            fn $method(self, _value: $type) -> Result<Data, DataError> {
                unsupported($what)
            }
        )*
    };
}

impl ser::Serializer for Serializer {
    type Ok = Data;
    type Error = DataError;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = ser::Impossible<Data, DataError>;
    type SerializeTupleVariant = Elements;
    type SerializeMap = Entries;
    type SerializeStruct = Elements;
    type SerializeStructVariant = Elements;

    refuse! {
        serialize_i8(i8) => "i8",
        serialize_i16(i16) => "i16",
        serialize_i32(i32) => "i32",
        serialize_u8(u8) => "u8",
        serialize_u16(u16) => "u16",
        serialize_u32(u32) => "u32",
        serialize_f32(f32) => "f32",
        serialize_char(char) => "char",
        serialize_unit_struct(&'static str) => "a struct without fields",
    }

    fn serialize_bool(self, value: bool) -> Result<Data, DataError> {
        Ok(Data::Boolean(value))
    }

    fn serialize_i64(self, value: i64) -> Result<Data, DataError> {
        Ok(Data::Integer(value))
    }

    fn serialize_u64(self, value: u64) -> Result<Data, DataError> {
        Ok(Data::Count(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Data, DataError> {
        Ok(Data::Real(Real(value)))
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
        variant: &'static str,
        value: &T,
    ) -> Result<Data, DataError> {
        if name == reserved::DATA {
            return value.serialize(self);
        }
        let mut arguments = self.arguments(variant, 1)?;
        ser::SerializeTupleVariant::serialize_field(&mut arguments, value)?;
        ser::SerializeTupleVariant::end(arguments)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len.unwrap_or_default()))
    }

    fn serialize_tuple(self, len: usize) -> Result<Elements, DataError> {
        Ok(Elements::with_capacity(len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, DataError> {
        unsupported("a struct without names of fields")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements, DataError> {
        self.arguments(variant, len)
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
        variant: &'static str,
        len: usize,
    ) -> Result<Elements, DataError> {
        self.arguments(variant, len)
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
struct Elements {
    /// The name of the event whose arguments these are.
    event: Option<&'static str>,
    values: Vec<Data>,
}

impl Elements {
    fn with_capacity(len: usize) -> Self {
        Self {
            event: None,
            values: Vec::with_capacity(len),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, field: Option<&str>, value: &T) -> Result<(), DataError> {
        let value = to_data(value).map_err(|error| {
            let error = match field {
                Some(name) => error.in_field(name),
                None => error.in_element(self.values.len()),
            };
            match self.event {
                Some(name) => error.in_field(name),
                None => error,
            }
        });
        self.values.push(value?);
        Ok(())
    }
}

/// The traits of what consists of elements, whose fields have no names, or have.
macro_rules! elements {
    ($($trait:ident::$method:ident($($name:ident: $key:ty)?) => $field:expr;)*) => {
        $(impl ser::$trait for Elements {
            type Ok = Data;
            type Error = DataError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $key,)? value: &T) -> Result<(), DataError> {
                self.push($field, value)
            }

            $(fn skip_field(&mut self, _: $key) -> Result<(), DataError> {
                self.values.push(Data::None);
                Ok(())
            })?

            fn end(self) -> Result<Data, DataError> {
                let values = Data::Vector(self.values);
                Ok(match self.event {
                    Some(name) => Data::Vector(vec![Data::EnumValue(EnumValue(name.into())), values]),
                    None => values,
                })
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element() => None;
    SerializeTuple::serialize_element() => None;
    SerializeTupleVariant::serialize_field() => None;
    SerializeStruct::serialize_field(name: &'static str) => Some(name);
    SerializeStructVariant::serialize_field(name: &'static str) => Some(name);
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
