use serde::de::{self, DeserializeSeed, SeqAccess, Visitor, value::BytesDeserializer};

use super::{
    super::{
        error::{DataError, DataErrorKind},
        value::Data,
    },
    Elements,
};

/// An event as a variant of an enum.
pub(super) struct Variant<'a> {
    pub(super) name: &'a [u8],
    pub(super) args: Vec<Data>,
}

impl<'de> de::Deserializer<'de> for Variant<'_> {
    type Error = DataError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DataError> {
        Err(DataError::new(DataErrorKind::Unsupported(
            "an event type that is not an enum",
        )))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        let known = variants.iter().find(|name| name.as_bytes() == self.name);
        let Some(name) = known else {
            return Err(DataError::new(DataErrorKind::UnknownEvent(self.name.into())));
        };
        visitor.visit_enum(self).map_err(|error| error.in_field(name))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = DataError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DataError> {
        let name: BytesDeserializer<'_, DataError> = BytesDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

/// Unlike a record's fields an event's arguments must be as many as declared, and `none` does not stand for a default
/// (`src/broker/Manager.cc`, `ProcessMessage`).
impl Variant<'_> {
    fn check(&self, expected: usize) -> Result<(), DataError> {
        let found = self.args.len();
        if found == expected {
            Ok(())
        } else {
            Err(DataError::new(DataErrorKind::WrongArgumentCount {
                expected,
                found,
            }))
        }
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = DataError;

    fn unit_variant(self) -> Result<(), DataError> {
        self.check(0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DataError> {
        self.check(1)?;
        let argument = Elements::new(&[], self.args).next_element_seed(seed)?;
        argument.ok_or(DataError::new(DataErrorKind::MissingField))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DataError> {
        self.check(len)?;
        visitor.visit_seq(Elements::new(&[], self.args))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.check(fields.len())?;
        visitor.visit_seq(Elements::new(fields, self.args))
    }
}
