/// Bytes are not what a type asks for, or a value has no place in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// Where in the input or output, in bytes from its start.
    pub offset: usize,
    /// What.
    pub kind: ErrorKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends within a value.
    #[error("unexpected end of input")]
    UnexpectedEnd,
}
