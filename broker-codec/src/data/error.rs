use std::fmt;

use super::Kind;

/// A value does not have the shape that a Rust type asks for, or the reverse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{kind}", path, if path.is_empty() { "" } else { ": " })]
pub struct DataError {
    /// Where, as `event.field[3].field`; empty at the top.
    pub path: String,
    /// What.
    pub kind: DataErrorKind,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataErrorKind {
    /// A value of another kind stands where `expected` is asked for.
    Mismatch {
        /// What is asked for.
        expected: Kind,
        /// What is there.
        found: Kind,
    },
    /// Anything that serde's visitors report.
    Custom(String),
}

impl fmt::Display for DataErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Custom(text) => f.write_str(text),
        }
    }
}
