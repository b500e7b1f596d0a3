use bytes::{BufMut, BytesMut};
use serde::{Serialize, ser};

use crate::{DEPTH_MAX, Error, ErrorKind, varbyte};

pub(crate) struct Serializer<'a> {
    out: &'a mut BytesMut,
    depth: usize,
}

impl<'a> Serializer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, depth: 0 }
    }

    fn put_len(&mut self, len: usize) -> Result<(), Error> {
        let len = u32::try_from(len)
            .map_err(|_| Error::somewhere(ErrorKind::TooLong(u64::try_from(len).unwrap_or(u64::MAX))))?;
        varbyte::encode(len, self.out);
        Ok(())
    }

    fn put_variant(&mut self, index: u32) -> Result<(), Error> {
        let index =
            u8::try_from(index).map_err(|_| Error::somewhere(ErrorKind::TooLong(u64::from(index))))?;
        self.out.put_u8(index);
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::somewhere(ErrorKind::TooDeep));
        }
        self.depth += 1;
        Ok(())
    }

    fn nested<'s>(&'s mut self) -> Result<Nested<'s, 'a>, Error> {
        self.enter()?;
        Ok(Nested(self))
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }
}

fn unsupported<T>(what: &'static str) -> Result<T, Error> {
    Err(Error::somewhere(ErrorKind::Unsupported(what)))
}

macro_rules! fixed_size {
    ($($method:ident $type:ty: $put:ident;)*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            self.out.$put(value);
            Ok(())
        })*
    };
}

impl<'s, 'a> ser::Serializer for &'s mut Serializer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Nested<'s, 'a>;
    type SerializeTuple = Nested<'s, 'a>;
    type SerializeTupleStruct = Nested<'s, 'a>;
    type SerializeTupleVariant = Nested<'s, 'a>;
    type SerializeMap = Nested<'s, 'a>;
    type SerializeStruct = Nested<'s, 'a>;
    type SerializeStructVariant = Nested<'s, 'a>;

    fixed_size! {
        serialize_u8 u8: put_u8;
        serialize_u16 u16: put_u16;
        serialize_u32 u32: put_u32;
        serialize_u64 u64: put_u64;
        serialize_i8 i8: put_i8;
        serialize_i16 i16: put_i16;
        serialize_i32 i32: put_i32;
        serialize_i64 i64: put_i64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.put_u8(u8::from(value));
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Error> {
        unsupported("f32")
    }

    fn serialize_f64(self, _: f64) -> Result<(), Error> {
        unsupported("f64")
    }

    fn serialize_char(self, _: char) -> Result<(), Error> {
        unsupported("char")
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.put_len(bytes.len())?;
        self.out.put_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_bool(false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.out.put_u8(1);
        self.value(value)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Error> {
        self.put_variant(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.put_variant(index)?;
        self.value(value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Nested<'s, 'a>, Error> {
        self.put_len(len.ok_or_else(|| Error::somewhere(ErrorKind::UnknownLength))?)?;
        self.nested()
    }

    fn serialize_tuple(self, _: usize) -> Result<Nested<'s, 'a>, Error> {
        self.nested()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nested<'s, 'a>, Error> {
        self.nested()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nested<'s, 'a>, Error> {
        self.put_variant(index)?;
        self.nested()
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Nested<'s, 'a>, Error> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nested<'s, 'a>, Error> {
        self.nested()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nested<'s, 'a>, Error> {
        self.put_variant(index)?;
        self.nested()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a compound value; a level of nesting that ends with it.
pub(crate) struct Nested<'s, 'a>(&'s mut Serializer<'a>);

impl Nested<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the traits below ask for a result")]
    fn leave(self) -> Result<(), Error> {
        self.0.depth -= 1;
        Ok(())
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident($($ignored:ty)?))*) => {
        $(impl ser::$trait for Nested<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $ignored,)? value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.leave()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element()
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(&'static str)
    SerializeStructVariant::serialize_field(&'static str)
}

impl ser::SerializeMap for Nested<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.leave()
    }
}
