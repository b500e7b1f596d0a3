use super::kind::Kind;

/// How many containers may be nested in each other, in any format, reading or writing.
///
/// DIFFERENCE(value-limits): Broker's binary format knows no limit, and a deep value overflows the stack of a C++ peer (`format/bin.hh`). Its
/// JSON reader stops at 128 nested arrays and objects (CAF, `detail/json.cpp`), which is 64 of these.
pub const DEPTH_MAX: usize = 64;

/// How many values one message may consist of, containers included. In memory they take 32 MiB.
pub const VALUES_MAX: usize = 1 << 20;

/// The longest string, enum name or container of the binary format, in bytes or elements: it has 32 bits for that.
pub const LENGTH_MAX: usize = u32::MAX as usize;

/// A value cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    #[error("{kind} of length {length} is too long")]
    TooLong { kind: Kind, length: usize },
}
