use std::fmt;

/// The kind of a value, without the value. The number of each is its tag in the binary format (`variant_tag.hh`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    None,
    Boolean,
    Count,
    Integer,
    Real,
    String,
    Address,
    Subnet,
    Port,
    Timestamp,
    Timespan,
    EnumValue,
    Set,
    Table,
    Vector,
}

impl Kind {
    /// Every kind, by tag.
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

    pub(crate) const fn tag(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag)).copied()
    }

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
