use std::fmt;

use super::{excerpt::excerpt_of, kind::Kind, string::ZeekString};

/// How many bytes of a text of serde's, or of a key in a path, an error holds.
const TEXT_BYTES_MAX: usize = 1024;

/// A value does not have the shape that a Rust type asks for, or the reverse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{kind}", path, if path.is_empty() { "" } else { ": " })]
pub struct DataError {
    /// Where, as `event.field[3].field`; empty at the top.
    pub path: String,
    pub kind: DataErrorKind,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataErrorKind {
    #[error("expected {expected}, found {found}")]
    Mismatch { expected: Kind, found: Kind },
    /// A record ends before this field, which has no default.
    #[error("missing")]
    MissingField,
    /// A list that stands for a tuple has another length.
    #[error("expected a list of {expected} elements, got {found}")]
    WrongLength { expected: usize, found: usize },
    /// An event has another number of arguments than its declaration.
    #[error("expected {expected} argument{}, got {found}", if *.expected == 1 { "" } else { "s" })]
    WrongArgumentCount { expected: usize, found: usize },
    /// No event of this name is declared in the API that was asked.
    #[error("unknown event `{0}`")]
    UnknownEvent(ZeekString),
    /// An enum has no value of this name.
    #[error("unknown enum value `{0}`")]
    UnknownEnumValue(ZeekString),
    /// Text was asked for and the bytes of the string are not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// The Rust type has no counterpart among Broker's kinds.
    #[error("{0} has no counterpart in Broker's data model")]
    Unsupported(&'static str),
    #[error("duplicate key")]
    DuplicateKey,
    /// A message is not in the shape that Zeek gives to its events, batches and logs.
    #[error("{0}")]
    Shape(&'static str),
    /// No message of Zeek has this type.
    #[error("unknown message type {0}")]
    UnknownMessageType(u64),
    /// Anything that serde's visitors report, escaped and cut.
    #[error("{0}")]
    Custom(String),
}

impl DataError {
    /// An error at the top of the value.
    pub const fn new(kind: DataErrorKind) -> Self {
        Self {
            path: String::new(),
            kind,
        }
    }

    /// `expected` was asked for, `found` is there.
    pub const fn mismatch(expected: Kind, found: Kind) -> Self {
        Self::new(DataErrorKind::Mismatch { expected, found })
    }

    /// The same error seen from one level above, where its value is the field `name`.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        self.below(name)
    }

    /// The same error seen from one level above, where its value is the element `index`.
    #[must_use]
    pub fn in_element(self, index: usize) -> Self {
        self.below(&format!("[{index}]"))
    }

    /// The same error seen from one level above, where its value belongs to `key`.
    #[must_use]
    pub(crate) fn in_entry(self, key: &dyn fmt::Display) -> Self {
        self.below(&format!("[{}]", excerpt_of(key, TEXT_BYTES_MAX)))
    }

    fn below(self, segment: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        Self {
            path: format!("{segment}{separator}{}", self.path),
            kind: self.kind,
        }
    }
}

impl serde::ser::Error for DataError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(DataErrorKind::Custom(excerpt_of(&text, TEXT_BYTES_MAX)))
    }
}

impl serde::de::Error for DataError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(DataErrorKind::Custom(excerpt_of(&text, TEXT_BYTES_MAX)))
    }

    fn unknown_variant(variant: &str, _expected: &'static [&'static str]) -> Self {
        Self::new(DataErrorKind::UnknownEnumValue(variant.into()))
    }
}
