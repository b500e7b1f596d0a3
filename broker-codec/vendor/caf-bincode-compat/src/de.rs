use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use crate::{DEPTH_MAX, Error, ErrorKind, varbyte};

pub(crate) struct Deserializer<'de> {
    rest: &'de [u8],
    len: usize,
    depth: usize,
}

impl<'de> Deserializer<'de> {
    pub(crate) fn new(input: &'de [u8]) -> Self {
        Self {
            rest: input,
            len: input.len(),
            depth: 0,
        }
    }

    pub(crate) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    pub(crate) fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.position(), kind)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.error(ErrorKind::UnexpectedEnd))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length or count; elements take at least a byte, so that it cannot exceed what is left.
    fn take_len(&mut self) -> Result<usize, Error> {
        let (len, rest) = varbyte::decode(self.rest).map_err(|kind| self.error(kind))?;
        match usize::try_from(len) {
            Ok(count) if count <= rest.len() => {
                self.rest = rest;
                Ok(count)
            }
            _ => Err(self.error(ErrorKind::LengthBeyondInput {
                len,
                remaining: rest.len(),
            })),
        }
    }

    fn take_bytes(&mut self) -> Result<&'de [u8], Error> {
        let len = self.take_len()?;
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.error(ErrorKind::UnexpectedEnd))?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_bool(&mut self) -> Result<bool, Error> {
        let start = self.position();
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Error::new(start, ErrorKind::InvalidBool(other))),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn elements<V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value, Error> {
        self.nested(|reader| visitor.visit_seq(Elements { reader, left }))
    }

    fn unsupported<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(self.error(ErrorKind::Unsupported(what)))
    }
}

macro_rules! fixed_size {
    ($($method:ident $type:ty: $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(<$type>::from_be_bytes(self.take()?))
        })*
    };
}

macro_rules! unsupported {
    ($($method:ident $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.unsupported($what)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Error;

    fixed_size! {
        deserialize_u8 u8: visit_u8;
        deserialize_u16 u16: visit_u16;
        deserialize_u32 u32: visit_u32;
        deserialize_u64 u64: visit_u64;
        deserialize_i8 i8: visit_i8;
        deserialize_i16 i16: visit_i16;
        deserialize_i32 i32: visit_i32;
        deserialize_i64 i64: visit_i64;
    }

    unsupported! {
        deserialize_any "a value of unknown type";
        deserialize_ignored_any "a value of unknown type";
        deserialize_identifier "a field name";
        deserialize_f32 "f32";
        deserialize_f64 "f64";
        deserialize_char "char";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.take_bool()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let start = self.position();
        let text =
            std::str::from_utf8(self.take_bytes()?).map_err(|_| Error::new(start, ErrorKind::InvalidUtf8))?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.take_bool()? {
            self.nested(|reader| visitor.visit_some(reader))
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|reader| visitor.visit_newtype_struct(reader))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let count = self.take_len()?;
        self.elements(count, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.elements(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.elements(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.take_len()?;
        self.nested(|reader| visitor.visit_map(Elements { reader, left }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.elements(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|reader| visitor.visit_enum(Variant(reader)))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Elements<'a, 'de> {
    reader: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct Variant<'a, 'de>(&'a mut Deserializer<'de>);

impl<'a, 'de> de::EnumAccess<'de> for Variant<'a, 'de> {
    type Error = Error;
    type Variant = &'a mut Deserializer<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Error> {
        let start = self.0.position();
        let [index] = self.0.take()?;
        let variant = seed
            .deserialize(u32::from(index).into_deserializer())
            .map_err(|error: Error| error.or_at(start))?;
        Ok((variant, self.0))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Deserializer<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.elements(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.elements(fields.len(), visitor)
    }
}
