use serde::de::{self, DeserializeSeed, Visitor};

use crate::{Error, ErrorKind, varbyte};

pub(crate) struct Deserializer<'de> {
    rest: &'de [u8],
    len: usize,
}

impl<'de> Deserializer<'de> {
    pub(crate) fn new(input: &'de [u8]) -> Self {
        Self {
            rest: input,
            len: input.len(),
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

    fn take_bool(&mut self) -> Result<bool, Error> {
        let start = self.position();
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Error::new(start, ErrorKind::InvalidBool(other))),
        }
    }
}

macro_rules! fixed_size {
    ($($method:ident $type:ty: $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(<$type>::from_be_bytes(self.take()?))
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
        deserialize_i64 i64: visit_i64;
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 f64 char str string unit_struct newtype_struct tuple_struct map enum identifier
        ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.error(ErrorKind::Unsupported("the type")))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.take_bool()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.take_len()?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.error(ErrorKind::UnexpectedEnd))?;
        self.rest = rest;
        visitor.visit_borrowed_bytes(bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.take_bool()? {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.take_len()?;
        visitor.visit_seq(Elements { reader: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { reader: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Elements<'a, 'de> {
    reader: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
