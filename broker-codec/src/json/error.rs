use crate::data::{DEPTH_MAX, Kind, TextError, VALUES_MAX};

/// The largest text that is read, in bytes.
pub const SIZE_MAX: usize = 16 * 1024 * 1024;

/// Text is not a value or message in Broker's JSON format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// Where in the text, in bytes from its start.
    pub offset: usize,
    pub kind: JsonErrorKind,
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    #[error("unexpected end of text")]
    UnexpectedEnd,
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("text after the value")]
    TrailingText,
    /// An object has a member twice of which only one can count.
    #[error("duplicate member `{0}`")]
    DuplicateMember(&'static str),
    #[error("missing member `{0}`")]
    MissingMember(&'static str),
    #[error("unknown data type")]
    UnknownDataType,
    #[error("expected data of a {0}")]
    Mismatch(Kind),
    #[error("{0} out of range")]
    OutOfRange(Kind),
    /// The text of a leaf cannot be read.
    #[error(transparent)]
    Text(TextError),
    #[error("duplicate element or key")]
    Duplicate,
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
    #[error("more than {SIZE_MAX} bytes")]
    TooLarge,
    #[error("subscriptions not an array")]
    SubscriptionsNotAnArray,
    #[error("individual subscription not a string")]
    SubscriptionNotAString,
    /// A data message has no topic, or one that is no string.
    #[error("no topic in top-level JSON object")]
    NoTopic,
}
