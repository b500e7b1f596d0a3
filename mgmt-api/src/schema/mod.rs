//! What the events and records of each API hold, by the names of their arguments and fields, as plain data. Translation, detection, the
//! Supervisor's layouts and the names in `replay` come from it.
//!
//! `model` declares each record and its fields once. A `Table` says for one API in which order it has which of them, and which events it
//! has; what it does not say is as in the table before it.

mod convert;
pub(crate) mod model;
mod table;

use std::collections::BTreeMap;

use broker_codec::{Data, zeek::Event as ZeekEvent};

pub(crate) use convert::Conversion;
pub use convert::NO_PORT;
pub(crate) use table::{Event, SAME, Table, event, may, must};
pub use table::{Field, Type};

/// An event of an API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    table: &'static Table,
    event: &'static Event,
    verb: &'static str,
}

impl Table {
    fn chain(&'static self) -> impl Iterator<Item = &'static Self> {
        std::iter::successors(Some(self), |table| table.before)
    }

    /// The events, the latest table's first: of two with one name the first counts.
    fn all(&'static self) -> impl Iterator<Item = Found> {
        let events = self.chain().flat_map(|table| table.events);
        events.flat_map(move |event| {
            event.verbs.split(' ').map(move |verb| Found {
                table: self,
                event,
                verb,
            })
        })
    }

    /// The events, by name.
    pub(crate) fn events(&'static self) -> BTreeMap<String, Found> {
        let mut events = BTreeMap::new();
        for found in self.all() {
            events.entry(found.name()).or_insert(found);
        }
        events
    }

    /// The event of this name.
    pub(crate) fn event(&'static self, name: &[u8]) -> Option<Found> {
        let (module, verb) = str::from_utf8(name).ok()?.rsplit_once("::")?;
        self.all()
            .find(|found| found.verb == verb && self.module(found.event.module) == module)
    }

    /// The event that stands for the model's of this name.
    pub(crate) fn counterpart(&'static self, name: &[u8]) -> Option<Found> {
        let (module, verb) = str::from_utf8(name).ok()?.rsplit_once("::")?;
        self.all()
            .find(|found| found.model_verb() == Some(verb) && found.event.module == module)
    }

    fn module(&self, model: &'static str) -> &'static str {
        let renamed = self.modules.iter().find(|(known, _)| *known == model);
        renamed.map_or(model, |(_, here)| here)
    }

    /// The fields of a record, in order.
    fn fields(&'static self, record: &str) -> Vec<Field> {
        let declared = model::record(record);
        let order = self.chain().flat_map(|table| table.records);
        let Some((_, order)) = order.into_iter().find(|(name, _)| *name == record) else {
            return declared
                .iter()
                .map(|field| self.field(record, field.name))
                .collect();
        };
        order.split(' ').map(|name| self.field(record, name)).collect()
    }

    fn field(&'static self, record: &str, name: &'static str) -> Field {
        let mut own = self.chain().flat_map(|table| table.fields);
        let own = own.find(|(of, field)| *of == record && field.name == name);
        let declared = || model::record(record).iter().find(|field| field.name == name);
        let field = own.map(|(_, field)| field).or_else(declared);
        field.copied().unwrap_or(may(name, Type::Any))
    }

    fn names(&self, of: &str) -> Option<&'static [(&'static str, &'static str)]> {
        let names = self.enums.iter().find(|(name, _)| *name == of);
        names.map(|(_, names)| *names)
    }
}

impl Found {
    /// Its name, fully qualified.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}", self.table.module(self.event.module), self.verb)
    }

    fn model_verb(&self) -> Option<&'static str> {
        (!self.event.internal).then_some(self.event.model.unwrap_or(self.verb))
    }

    /// The name of the model's event, if it has one.
    pub(crate) fn model_name(&self) -> Option<String> {
        Some(format!("{}::{}", self.event.module, self.model_verb()?))
    }

    /// The arguments of the model's event.
    fn model_args(&self) -> &'static [Field] {
        let model = self
            .model_name()
            .and_then(|name| model::MODEL.event(name.as_bytes()));
        model.map_or(self.event.args, |model| model.event.args)
    }

    /// Whether it can have these arguments. Of a list only the first element is looked at.
    pub(crate) fn admits(&self, args: &[Data]) -> bool {
        Conversion::new(*self, &|_| Data::None).admits(args)
    }
}

/// How an event, or a record that is stored somewhere, is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    table: &'static Table,
    event: Option<&'static Event>,
}

impl Layout {
    /// That of records of the model which stand for themselves.
    pub const MODEL: Self = Self {
        table: &model::MODEL,
        event: None,
    };

    /// The arguments of the event, in order.
    pub fn args(&self) -> &'static [Field] {
        self.event.map_or(&[], |event| event.args)
    }

    /// What the event has where Zeek says `any`.
    pub fn data(&self) -> Type {
        self.event.map_or(Type::Any, |event| event.data)
    }

    /// Whether the event has results, or states of nodes, in the order of a hash table.
    pub fn is_unordered(&self) -> bool {
        let args = self.args().iter().map(|field| field.of);
        args.chain([self.data()]).any(|of| matches!(of, Type::Bag(_)))
    }

    /// The fields of a record, in order.
    pub fn fields(&self, record: &str) -> Vec<Field> {
        self.table.fields(record)
    }

    /// What an event holds, each part by its name: `config.nodes[0].name = worker`.
    pub fn describe(&self, event: &ZeekEvent) -> Vec<String> {
        let mut lines = Vec::new();
        self.describe_fields(self.args(), "", &event.args, &mut lines);
        lines
    }

    /// Values beyond the last field are not shown: no reader looks at them.
    fn describe_fields(&self, fields: &[Field], path: &str, values: &[Data], lines: &mut Vec<String>) {
        for (field, value) in fields.iter().zip(values) {
            let separator = if path.is_empty() { "" } else { "." };
            self.describe_value(
                field.of,
                &format!("{path}{separator}{}", field.name),
                value,
                lines,
            );
        }
    }

    fn describe_value(&self, of: Type, path: &str, value: &Data, lines: &mut Vec<String>) {
        let of = if of == Type::Any { self.data() } else { of };
        let list: Option<(&Type, &[Data])> = match (&of, value) {
            (Type::Record(name), Data::Vector(values)) => {
                return self.describe_fields(&self.fields(name), path, values, lines);
            }
            (Type::Only(of) | Type::Bare(of), _) => return self.describe_value(**of, path, value, lines),
            (Type::Vector(of) | Type::Bag(of), Data::Vector(elements)) => Some((of, elements)),
            (Type::Set(of), Data::Set(elements)) => Some((of, elements.as_slice())),
            _ => None,
        };
        match (list, value) {
            (Some((of, elements)), _) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    self.describe_value(*of, &format!("{path}[{index}]"), element, lines);
                }
            }
            // Whole and as it is.
            (_, Data::String(value)) => lines.push(format!("{path} = {}", value.to_str_lossy())),
            (_, value) => lines.push(format!("{path} = {value}")),
        }
    }
}

impl From<Found> for Layout {
    fn from(found: Found) -> Self {
        Self {
            table: found.table,
            event: Some(found.event),
        }
    }
}

#[cfg(test)]
mod tests;
