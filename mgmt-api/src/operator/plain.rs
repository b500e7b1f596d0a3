//! Enums by their plain words.

use std::{fmt::Display, str::FromStr};

use broker_codec::data::Excerpt;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use strum::VariantNames;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?)
}

#[expect(clippy::ref_option, reason = "serde hands a field over by reference")]
pub(super) fn serialize_option<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize_option<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    word.as_deref().map(parse).transpose()
}

pub(super) fn parse<T: FromStr, E: Error>(word: &str) -> Result<T, E> {
    word.parse()
        .map_err(|_| E::custom(format_args!("no such word: {}", Excerpt::new(word.as_bytes()))))
}

/// What stands for such a field in a schema.
pub(super) fn words<T: VariantNames>() -> Object {
    let words = Some(T::VARIANTS.iter().copied());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(words)
        .build()
}

/// Likewise, of one that need not be set.
pub(super) fn words_or_null<T: VariantNames>() -> Object {
    let words = T::VARIANTS.iter().copied().map(Some).chain([None]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new()
        .schema_type(types)
        .enum_values(Some(words))
        .build()
}
