//! Enums by their plain words.

use std::{fmt::Display, str::FromStr};

use broker_codec::data::Excerpt;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

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
