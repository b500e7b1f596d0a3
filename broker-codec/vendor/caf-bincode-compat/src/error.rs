use std::fmt;

/// Bytes are not what a type asks for, or a value has no place in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {}", .offset.unwrap_or_default())]
pub struct Error {
    offset: Option<usize>,
    kind: ErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    #[error("unexpected end of input")]
    UnexpectedEnd,
    /// A string is longer, or a sequence has more elements, than there are bytes left.
    #[error("length {len} exceeds the {remaining} remaining bytes")]
    LengthBeyondInput { len: u32, remaining: usize },
    /// The bytes are a value and something behind it.
    #[error("{count} surplus bytes")]
    TrailingBytes { count: usize },
    #[error("varbyte exceeds 32 bits")]
    VarbyteOverflow,
    #[error("varbyte is not in its shortest form")]
    VarbyteNotCanonical,
    /// A `bool` or the flag of an optional is neither 0 nor 1.
    #[error("expected 0 or 1, found {0}")]
    InvalidBool(u8),
    /// A string or sequence to write has more than 2^32 - 1 bytes or elements.
    #[error("length {0} has no encoding")]
    TooLong(usize),
    /// The format has no form for this.
    #[error("{0} has no encoding")]
    Unsupported(&'static str),
    /// What a type reports about its content.
    #[error("{0}")]
    Custom(String),
}

impl Error {
    pub(crate) const fn new(offset: usize, kind: ErrorKind) -> Self {
        Self {
            offset: Some(offset),
            kind,
        }
    }

    /// An error at a place that the caller knows, see [`Self::or_at`].
    pub(crate) const fn somewhere(kind: ErrorKind) -> Self {
        Self { offset: None, kind }
    }

    pub(crate) fn or_at(mut self, offset: usize) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    /// Where, in bytes from the start of the input or of what was written.
    pub fn offset(&self) -> usize {
        self.offset.unwrap_or_default()
    }

    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::somewhere(ErrorKind::Custom(text.to_string()))
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::somewhere(ErrorKind::Custom(text.to_string()))
    }
}
