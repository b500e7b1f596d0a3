//! The one function each way that brings values from a table's API into the model and back.

use broker_codec::{
    Data,
    data::{
        DataError, DataErrorKind, EnumValue, Kind, Port, Protocol, Set, Table, ZeekString, from_data, to_data,
    },
};

use super::{Field, Found, Type, model};
use crate::records::NodeStatus;

/// What stands for no port where one must stand.
pub const NO_PORT: Port = Port {
    number: 0,
    protocol: Protocol::Unknown,
};

/// One event on its way into the model or out of it.
pub(crate) struct Conversion<'a> {
    found: Found,
    /// What an argument holds that one side lacks, by its name.
    known: &'a dyn Fn(&str) -> Data,
    /// The first argument: the id of the request.
    reqid: Data,
    /// Fields of the model's records that are set and have no place here.
    pub(crate) lost: Vec<&'static str>,
}

impl<'a> Conversion<'a> {
    pub(crate) const fn new(found: Found, known: &'a dyn Fn(&str) -> Data) -> Self {
        Self {
            found,
            known,
            reqid: Data::None,
            lost: Vec::new(),
        }
    }

    /// The model's arguments for the event's.
    pub(crate) fn read(&mut self, args: Vec<Data>) -> Result<Vec<Data>, DataError> {
        let fields = self.found.event.args;
        check_count(fields, &args)?;
        self.reqid = args.first().cloned().unwrap_or_default();
        self.read_fields(fields, self.found.model_args(), args, self.known)
    }

    /// The event's arguments for the model's.
    pub(crate) fn write(&mut self, model: Vec<Data>) -> Result<Vec<Data>, DataError> {
        check_count(self.found.model_args(), &model)?;
        self.write_fields(self.found.event.args, self.found.model_args(), model, self.known)
    }

    pub(super) fn admits(&self, args: &[Data]) -> bool {
        self.fields_admit(self.found.event.args, args)
    }

    fn read_fields(
        &mut self,
        fields: &[Field],
        model: &[Field],
        values: Vec<Data>,
        known: impl Fn(&str) -> Data,
    ) -> Result<Vec<Data>, DataError> {
        let mut read: Vec<Data> = model.iter().map(|field| known(field.name)).collect();
        let mut values = values.into_iter();
        for field in fields {
            let in_field = |error: DataError| error.in_field(field.name);
            let missing = || in_field(DataError::new(DataErrorKind::MissingField));
            let value = values.next().ok_or_else(missing)?;
            let value = if field.optional && value == Data::None {
                value
            } else {
                self.read_value(field.of, value).map_err(in_field)?
            };
            if let Some((place, _)) = read
                .iter_mut()
                .zip(model)
                .find(|(_, known)| known.name == field.model)
            {
                *place = value;
            }
        }
        Ok(read)
    }

    fn write_fields(
        &mut self,
        fields: &[Field],
        model: &[Field],
        mut values: Vec<Data>,
        known: impl Fn(&str) -> Data,
    ) -> Result<Vec<Data>, DataError> {
        // Fields at the end of the model's record may be missing.
        values.resize(model.len(), Data::None);
        let mut written = Vec::with_capacity(fields.len());
        for field in fields {
            let place = values
                .iter_mut()
                .zip(model)
                .find(|(_, known)| known.name == field.model);
            let value = place.map_or_else(|| known(field.name), |(place, _)| std::mem::take(place));
            let stands_in_for_none = matches!(field.of, Type::TextOrEmpty | Type::PortOrZero);
            written.push(if field.optional && value == Data::None && !stands_in_for_none {
                value
            } else {
                let value = self.write_value(field.of, value);
                value.map_err(|error| error.in_field(field.name))?
            });
        }
        let left = values.iter().zip(model).filter(|(value, _)| !is_empty(value));
        self.lost.extend(left.map(|(_, field)| field.name));
        Ok(written)
    }

    /// What stands where Zeek says `any` depends on the event.
    const fn resolve(&self, of: Type) -> Type {
        match of {
            Type::Any => self.found.event.data,
            of => of,
        }
    }

    fn read_value(&mut self, of: Type, value: Data) -> Result<Data, DataError> {
        match (self.resolve(of), value) {
            (Type::Int, Data::Count(count)) => i64::try_from(count).map(Data::Integer).map_err(|_| {
                let text = format!("count {count} does not fit an integer");
                DataError::new(DataErrorKind::Custom(text))
            }),
            (Type::TextOrEmpty, Data::String(text)) if text.is_empty() => Ok(Data::None),
            (Type::PortOrZero | Type::PortNotZero, Data::Port(port)) if port.number == 0 => Ok(Data::None),
            (Type::PortByNumber, Data::Port(port)) if port.number == 0 => Ok(Data::Port(NO_PORT)),
            (Type::Enum(of), Data::EnumValue(EnumValue(name))) => {
                self.rename(of, name, |(here, model)| (here, model))
            }
            (Type::Record(name), Data::Vector(values)) => {
                let fields = self.found.table.fields(name);
                let read = self.read_fields(&fields, model::record(name), values, |_| Data::None);
                read.map(Data::Vector)
            }
            (Type::Only(of), value) => Ok(Data::Vector(vec![self.read_value(*of, value)?])),
            (Type::Bare(of), value) => {
                let data = self.read_value(*of, value)?;
                let fields = model::record("Result").iter().map(|field| match field.name {
                    "reqid" => self.reqid.clone(),
                    "success" => Data::Boolean(true),
                    "data" => data.clone(),
                    _ => Data::None,
                });
                Ok(Data::Vector(fields.collect()))
            }
            (of, value) => self.elements(of, value, Self::read_value),
        }
    }

    fn write_value(&mut self, of: Type, value: Data) -> Result<Data, DataError> {
        match (self.resolve(of), value) {
            (Type::TextOrEmpty, Data::None) => Ok(Data::String(ZeekString::default())),
            (Type::PortOrZero, Data::None) => Ok(Data::Port(NO_PORT)),
            (Type::Unused, _) => Ok(Data::Vector(Vec::new())),
            (Type::Enum(of), Data::EnumValue(EnumValue(name))) => {
                self.rename(of, name, |(here, model)| (model, here))
            }
            (Type::Record(name), value @ Data::Vector(_)) => {
                let value = match self.found.table.status {
                    Some(adapt) if name == "NodeStatus" => {
                        let mut status: NodeStatus = from_data(value)?;
                        adapt(&mut status);
                        to_data(&status)?
                    }
                    _ => value,
                };
                let Data::Vector(values) = value else {
                    return Ok(value);
                };
                let fields = self.found.table.fields(name);
                let written = self.write_fields(&fields, model::record(name), values, |_| Data::None);
                written.map(Data::Vector)
            }
            (Type::Only(of), Data::Vector(elements)) => {
                let found = elements.len();
                match <[Data; 1]>::try_from(elements) {
                    Ok([element]) => self
                        .write_value(*of, element)
                        .map_err(|error| error.in_element(0)),
                    Err(_) => Err(DataError::new(DataErrorKind::WrongLength { expected: 1, found })),
                }
            }
            // A table without results cannot say that a request failed.
            (Type::Bare(_), Data::Vector(result)) => {
                let mut fields = result.into_iter().zip(model::record("Result"));
                let data = fields.find(|(_, field)| field.name == "data");
                let data = data.map(|(data, _)| data).filter(|data| *data != Data::None);
                Ok(data.unwrap_or_else(|| Data::Vector(Vec::new())))
            }
            (of, value) => self.elements(of, value, Self::write_value),
        }
    }

    /// What holds others, and what is the same on both sides if it is of the right kind.
    fn elements(
        &mut self,
        of: Type,
        value: Data,
        convert: fn(&mut Self, Type, Data) -> Result<Data, DataError>,
    ) -> Result<Data, DataError> {
        let mut each = |of: &Type, elements: Vec<Data>| -> Result<Vec<Data>, DataError> {
            let elements = elements.into_iter().enumerate();
            let convert = |(index, element)| {
                convert(self, *of, element).map_err(|error: DataError| error.in_element(index))
            };
            elements.map(convert).collect()
        };
        match (of, value) {
            (Type::Any, value) => Ok(value),
            (Type::Vector(of) | Type::Bag(of), Data::Vector(elements)) => {
                each(of, elements).map(Data::Vector)
            }
            (Type::Set(of), Data::Set(elements)) => {
                let elements = each(of, elements.into_iter().collect())?;
                Ok(Data::Set(Set::from_iter(elements)))
            }
            (Type::Table(of), Data::Table(entries)) => {
                let convert = |(key, value)| {
                    let value =
                        convert(self, *of, value).map_err(|error| error.in_field(&format!("[{key}]")));
                    Ok((key, value?))
                };
                let entries: Result<Vec<_>, DataError> = entries.into_iter().map(convert).collect();
                let twice = |_| DataError::new(DataErrorKind::DuplicateKey);
                Table::try_from(entries?).map(Data::Table).map_err(twice)
            }
            (of, value) if value.kind() == kind(of) => Ok(value),
            (of, value) => Err(DataError::mismatch(kind(of), value.kind())),
        }
    }

    /// The other name of an enum's value.
    fn rename(
        &self,
        of: &str,
        name: ZeekString,
        direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> Result<Data, DataError> {
        let Some(names) = self.found.table.names(of) else {
            return Ok(Data::EnumValue(EnumValue(name)));
        };
        let found = names
            .iter()
            .copied()
            .map(direction)
            .find(|(from, _)| name == **from);
        found
            .map(|(_, to)| Data::EnumValue(EnumValue(to.into())))
            .ok_or_else(|| DataError::new(DataErrorKind::UnknownEnumValue(name)))
    }

    fn fields_admit(&self, fields: &[Field], values: &[Data]) -> bool {
        // What comes after the model will have more.
        let more = std::ptr::eq(self.found.table, &raw const model::MODEL) && values.len() > fields.len();
        (more || values.len() == fields.len())
            && fields.iter().zip(values).all(|(field, value)| {
                (field.optional && *value == Data::None) || self.value_admits(field.of, value)
            })
    }

    fn value_admits(&self, of: Type, value: &Data) -> bool {
        match (self.resolve(of), value) {
            (Type::Any, _) | (Type::Int, Data::Count(_)) => true,
            (Type::Enum(of), Data::EnumValue(EnumValue(value))) => {
                let names = self.found.table.names(of);
                names.is_none_or(|names| names.iter().any(|(here, _)| *value == **here))
            }
            (Type::Record(name), Data::Vector(values)) => {
                self.fields_admit(&self.found.table.fields(name), values)
            }
            (Type::Vector(of) | Type::Bag(of), Data::Vector(elements)) => elements
                .first()
                .is_none_or(|element| self.value_admits(*of, element)),
            (Type::Set(of), Data::Set(elements)) => {
                let first = elements.as_slice().first();
                first.is_none_or(|element| self.value_admits(*of, element))
            }
            (Type::Table(of), Data::Table(entries)) => {
                entries.iter().all(|(_, value)| self.value_admits(*of, value))
            }
            (Type::Only(of) | Type::Bare(of), value) => self.value_admits(*of, value),
            (of, value) => value.kind() == kind(of),
        }
    }
}

const fn kind(of: Type) -> Kind {
    match of {
        Type::Plain(kind) => kind,
        Type::Any => Kind::None,
        Type::Int => Kind::Integer,
        Type::TextOrEmpty => Kind::String,
        Type::PortOrZero | Type::PortNotZero | Type::PortByNumber => Kind::Port,
        Type::Enum(_) => Kind::EnumValue,
        Type::Record(_) | Type::Vector(_) | Type::Bag(_) | Type::Only(_) | Type::Bare(_) | Type::Unused => {
            Kind::Vector
        }
        Type::Set(_) => Kind::Set,
        Type::Table(_) => Kind::Table,
    }
}

fn check_count(fields: &[Field], args: &[Data]) -> Result<(), DataError> {
    let (expected, found) = (fields.len(), args.len());
    if expected == found {
        return Ok(());
    }
    Err(DataError::new(DataErrorKind::WrongArgumentCount {
        expected,
        found,
    }))
}

fn is_empty(value: &Data) -> bool {
    match value {
        Data::None => true,
        Data::Vector(elements) => elements.is_empty(),
        Data::Table(table) => table.is_empty(),
        _ => false,
    }
}
