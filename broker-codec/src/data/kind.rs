use std::fmt;

/// The kind of a value, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// See [`Data::None`](super::Data::None).
    None,
    /// See [`Data::Boolean`](super::Data::Boolean).
    Boolean,
    /// See [`Data::Count`](super::Data::Count).
    Count,
    /// See [`Data::Integer`](super::Data::Integer).
    Integer,
    /// See [`Data::Real`](super::Data::Real).
    Real,
    /// See [`Data::String`](super::Data::String).
    String,
    /// See [`Data::Address`](super::Data::Address).
    Address,
    /// See [`Data::Subnet`](super::Data::Subnet).
    Subnet,
    /// See [`Data::Port`](super::Data::Port).
    Port,
    /// See [`Data::Timestamp`](super::Data::Timestamp).
    Timestamp,
    /// See [`Data::Timespan`](super::Data::Timespan).
    Timespan,
    /// See [`Data::EnumValue`](super::Data::EnumValue).
    EnumValue,
    /// See [`Data::Set`](super::Data::Set).
    Set,
    /// See [`Data::Table`](super::Data::Table).
    Table,
    /// See [`Data::Vector`](super::Data::Vector).
    Vector,
}

impl Kind {
    /// Every kind, in the order of Broker's tags.
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::Boolean,
        Self::Count,
        Self::Integer,
        Self::Real,
        Self::String,
        Self::Address,
        Self::Subnet,
        Self::Port,
        Self::Timestamp,
        Self::Timespan,
        Self::EnumValue,
        Self::Set,
        Self::Table,
        Self::Vector,
    ];

    /// The name that Broker's JSON uses in `@data-type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Boolean => "boolean",
            Self::Count => "count",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::String => "string",
            Self::Address => "address",
            Self::Subnet => "subnet",
            Self::Port => "port",
            Self::Timestamp => "timestamp",
            Self::Timespan => "timespan",
            Self::EnumValue => "enum-value",
            Self::Set => "set",
            Self::Table => "table",
            Self::Vector => "vector",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
