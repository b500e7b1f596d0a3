use crate::data::{DEPTH_MAX, Kind, TextError, VALUES_MAX};

/// The largest text that is read, in bytes.
pub const SIZE_MAX: usize = 16 * 1024 * 1024;

/// Text is not a value or message in Broker's JSON format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// Where in the text, in bytes from its start.
    pub offset: usize,
    /// What.
    pub kind: JsonErrorKind,
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text ends within a value.
    #[error("unexpected end of text")]
    UnexpectedEnd,
    /// Not JSON, or not the JSON that belongs here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Something follows the value.
    #[error("text after the value")]
    TrailingText,
    /// An object has a member twice of which only one can count.
    #[error("duplicate member `{0}`")]
    DuplicateMember(&'static str),
    /// An object lacks a member.
    #[error("missing member `{0}`")]
    MissingMember(&'static str),
    /// `@data-type` names no kind of value.
    #[error("unknown data type")]
    UnknownDataType,
    /// `data` does not fit `@data-type`.
    #[error("expected data of a {0}")]
    Mismatch(Kind),
    /// A number does not fit into the 64 bits of its kind.
    #[error("{0} out of range")]
    OutOfRange(Kind),
    /// The text of a leaf cannot be read.
    #[error(transparent)]
    Text(TextError),
    /// A set has an element twice or a table a key.
    #[error("duplicate element or key")]
    Duplicate,
    /// Deeper than [`DEPTH_MAX`] containers.
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
    /// More than [`SIZE_MAX`] bytes.
    #[error("more than {SIZE_MAX} bytes")]
    TooLarge,
    /// A list of subscriptions is no array.
    #[error("subscriptions not an array")]
    SubscriptionsNotAnArray,
    /// A subscription is no string.
    #[error("individual subscription not a string")]
    SubscriptionNotAString,
    /// A data message has no topic, or one that is no string.
    #[error("no topic in top-level JSON object")]
    NoTopic,
}
