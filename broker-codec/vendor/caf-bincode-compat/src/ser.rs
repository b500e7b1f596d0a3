use bytes::{BufMut, BytesMut};
use serde::ser::{self, Impossible, Serialize};

use crate::{Error, ErrorKind, varbyte};

pub(crate) struct Serializer<'a>(pub(crate) &'a mut BytesMut);

impl Serializer<'_> {
    fn put_len(&mut self, len: Option<usize>) -> Result<(), Error> {
        let Some(len) = len else {
            return unsupported("a sequence of unknown length");
        };
        let len = u32::try_from(len).map_err(|_| Error::somewhere(ErrorKind::TooLong(len)))?;
        varbyte::encode(len, self.0);
        Ok(())
    }
}

fn unsupported<T>(what: &'static str) -> Result<T, Error> {
    Err(Error::somewhere(ErrorKind::Unsupported(what)))
}

macro_rules! fixed_size {
    ($($method:ident $type:ty: $put:ident;)*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            self.0.$put(value);
            Ok(())
        })*
    };
}

macro_rules! unsupported {
    ($($method:ident $type:ty: $what:literal;)*) => {
        $(fn $method(self, _: $type) -> Result<(), Error> {
            unsupported($what)
        })*
    };
}

impl ser::Serializer for &mut Serializer<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), Error>;

    fixed_size! {
        serialize_u8 u8: put_u8;
        serialize_u16 u16: put_u16;
        serialize_u32 u32: put_u32;
        serialize_u64 u64: put_u64;
        serialize_i64 i64: put_i64;
    }

    unsupported! {
        serialize_i8 i8: "i8";
        serialize_i16 i16: "i16";
        serialize_i32 i32: "i32";
        serialize_f32 f32: "f32";
        serialize_f64 f64: "f64";
        serialize_char char: "char";
        serialize_str &str: "text";
        serialize_unit_struct &'static str: "a struct without fields";
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.serialize_u8(value.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.put_len(Some(bytes.len()))?;
        self.0.put_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_bool(false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.0.put_u8(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
        unsupported("an enum")
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Error> {
        unsupported("a struct without names of fields")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        unsupported("an enum")
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Error> {
        self.put_len(len)?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        unsupported("a struct without names of fields")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        unsupported("an enum")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        unsupported("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        unsupported("an enum")
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident($($ignored:ty)?))*) => {
        $(impl ser::$trait for &mut Serializer<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $ignored,)? value: &T) -> Result<(), Error> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element()
    SerializeTuple::serialize_element()
    SerializeStruct::serialize_field(&'static str)
}
