//! What a table of an API is made of.

use broker_codec::data::Kind;

use crate::records::NodeStatus;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Neither more nor less than its kind.
    Plain(Kind),
    /// Zeek's `any`: what it holds depends on the event.
    Any,
    /// An `int`, which some send as `count`.
    Int,
    /// An enum of this name.
    Enum(&'static str),
    /// A record of this name.
    Record(&'static str),
    /// A vector of these.
    Vector(&'static Self),
    /// A vector of these whose order in Zeek is that of a hash table.
    Bag(&'static Self),
    /// A set of these.
    Set(&'static Self),
    /// A table with these as values.
    Table(&'static Self),
    /// A string that is not optional here: empty where the model has none.
    TextOrEmpty,
    /// A port that is not optional here: `0/unknown` where the model has none.
    PortOrZero,
    /// A port that is none in the model if its number is 0.
    PortNotZero,
    /// A port of a Supervisor that keeps numbers only, and says `0/tcp` for `0/unknown`.
    PortByNumber,
    /// A vector that the model lacks: written empty, not read.
    Unused,
    /// One of these, for which the model has a vector.
    Only(&'static Self),
    /// These without the result around them that the model has.
    Bare(&'static Self),
}

/// A field of a record or an argument of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// What it holds.
    pub of: Type,
    /// The model's name for it.
    pub(super) model: &'static str,
    /// Whether `none` may stand for it: it is `&optional`, or has a `&default`.
    pub(super) optional: bool,
}

/// A field that must be there.
pub(crate) const fn must(name: &'static str, of: Type) -> Field {
    Field {
        name,
        of,
        model: name,
        optional: false,
    }
}

/// A field that is `&optional` or has a `&default`.
pub(crate) const fn may(name: &'static str, of: Type) -> Field {
    Field {
        optional: true,
        ..must(name, of)
    }
}

impl Field {
    /// The same where the model has another name for it.
    pub(crate) const fn for_model(self, model: &'static str) -> Self {
        Self { model, ..self }
    }
}

/// Events of one module with the same arguments.
#[derive(Debug)]
pub(crate) struct Event {
    /// The model's name of the module.
    pub(super) module: &'static str,
    /// The rest of their names, separated by spaces.
    pub(super) verbs: &'static str,
    /// The arguments in order.
    pub(super) args: &'static [Field],
    /// What [`Type::Any`] holds.
    pub(super) data: Type,
    /// The model's event, if it has another name.
    pub(super) model: Option<&'static str>,
    /// Whether they never leave their process.
    pub(super) internal: bool,
}

pub(crate) const fn event(module: &'static str, verbs: &'static str, args: &'static [Field]) -> Event {
    Event {
        module,
        verbs,
        args,
        data: Type::Any,
        model: None,
        internal: false,
    }
}

impl Event {
    /// The same with results about this.
    pub(crate) const fn with_data(self, data: Type) -> Self {
        Self { data, ..self }
    }

    /// The same, which the model calls this.
    pub(crate) const fn for_model(self, verb: &'static str) -> Self {
        Self {
            model: Some(verb),
            ..self
        }
    }

    /// The same, which a process raises for itself and sends to no other.
    pub(crate) const fn internal(self) -> Self {
        Self {
            internal: true,
            ..self
        }
    }
}

/// One API: what it changes in that of the table before it. Only events, records and fields are inherited.
#[derive(Debug)]
pub(crate) struct Table {
    /// The table before it.
    pub(crate) before: Option<&'static Self>,
    /// The model's modules with other names, and these.
    pub(crate) modules: &'static [(&'static str, &'static str)],
    /// Enums with other names of values: these, and the model's. The first that fits counts.
    pub(crate) enums: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    /// Records, and their fields in order.
    pub(crate) records: &'static [(&'static str, &'static str)],
    /// Fields of records that are not as the model declares them.
    pub(crate) fields: &'static [(&'static str, Field)],
    pub(crate) events: &'static [Event],
    /// What is different in a node's status when it is written.
    pub(crate) status: Option<fn(&mut NodeStatus)>,
}

/// A table that says nothing.
pub(crate) const SAME: Table = Table {
    before: None,
    modules: &[],
    enums: &[],
    records: &[],
    fields: &[],
    events: &[],
    status: None,
};
