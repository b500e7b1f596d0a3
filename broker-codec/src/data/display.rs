use std::fmt;

use super::Data;

/// As Broker prints values (`data.cc`, `convert`): `T` and `F`, `nil`, `(a, b)`, `{a, b}`, `{k -> v}`, strings bare.
/// For people and logs: not every value can be told from every other, and invalid UTF-8 is replaced by U+FFFD.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nil"),
            Self::Boolean(value) => f.write_str(if *value { "T" } else { "F" }),
            Self::Count(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Real(value) => write!(f, "{:.6}", value.0),
            Self::String(value) => value.fmt(f),
            Self::Address(value) => value.fmt(f),
            Self::Subnet(value) => value.fmt(f),
            Self::Port(value) => value.fmt(f),
            Self::Timestamp(value) => write!(f, "{}ns", value.0),
            Self::Timespan(value) => write!(f, "{}ns", value.0),
            Self::EnumValue(value) => value.fmt(f),
            Self::Set(elements) => list(f, '{', elements, '}', fmt::Display::fmt),
            Self::Table(entries) => list(f, '{', entries, '}', |(key, value), f| {
                write!(f, "{key} -> {value}")
            }),
            Self::Vector(elements) => list(f, '(', elements, ')', fmt::Display::fmt),
        }
    }
}

fn list<'a, T: 'a>(
    f: &mut fmt::Formatter<'_>,
    open: char,
    elements: impl IntoIterator<Item = &'a T>,
    close: char,
    write: impl Fn(&'a T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{open}")?;
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(element, f)?;
    }
    write!(f, "{close}")
}
