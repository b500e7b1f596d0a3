use std::fmt;

use super::{excerpt::Excerpt, leaf::EnumValue, value::Data};

/// As Broker prints values (`data.cc`, `convert`): `T` and `F`, `nil`, `(a, b)`, `{a, b}`, `{k -> v}`, strings bare.
/// For people and logs: not every value can be told from every other, and of each string there is an [`Excerpt`].
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nil"),
            Self::Boolean(value) => f.write_str(if *value { "T" } else { "F" }),
            Self::Count(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Real(value) if value.0.is_nan() => f.write_str("nan"),
            Self::Real(value) => write!(f, "{:.6}", value.0),
            Self::String(value) | Self::EnumValue(EnumValue(value)) => Excerpt::new(value.as_bytes()).fmt(f),
            Self::Address(value) => value.fmt(f),
            Self::Subnet(value) => value.fmt(f),
            Self::Port(value) => value.fmt(f),
            Self::Timestamp(value) => write!(f, "{}ns", value.0),
            Self::Timespan(value) => write!(f, "{}ns", value.0),
            Self::Set(elements) => list(f, '{', elements.iter(), '}', fmt::Display::fmt),
            Self::Table(entries) => list(f, '{', entries.iter(), '}', |(key, value), f| {
                write!(f, "{key} -> {value}")
            }),
            Self::Vector(elements) => list(f, '(', elements.iter(), ')', fmt::Display::fmt),
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    open: char,
    elements: impl Iterator<Item = T>,
    close: char,
    write: impl Fn(T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{open}")?;
    for (index, element) in elements.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(element, f)?;
    }
    write!(f, "{close}")
}
