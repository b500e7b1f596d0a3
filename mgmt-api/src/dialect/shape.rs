//! What the tables are made of, and the one function each way that reads them.

use broker_codec::{
    Data,
    data::{Address, DataError, DataErrorKind, EnumValue, Kind, Port, Protocol, Set, ZeekString},
};

/// What an event says of its sender in one dialect and leaves to its connection in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The Broker endpoint ID of the agent.
    pub(super) agent_id: ZeekString,
    /// Whether the agent connected to the controller, rather than the reverse.
    pub(super) connecting: bool,
    /// The agent's address, as it would name it itself.
    pub(super) host: Address,
}

/// An event in one dialect, and its counterpart in the model.
#[derive(Debug)]
pub(super) struct Row {
    /// Its fully qualified name.
    pub(super) name: &'static str,
    /// The model's; none for events that never leave their process.
    pub(super) model: Option<&'static str>,
    /// Its arguments in order.
    pub(super) args: &'static [Field],
    /// How many arguments the model's event has.
    pub(super) model_args: usize,
    /// What the table cannot say: puts the model's arguments right after they were read ...
    pub(super) read: Option<fn(&mut [Data], &Context)>,
    /// ... and before they are written, with room for one more at the end.
    pub(super) write: Option<fn(&mut [Data], &Context)>,
}

/// A record in one dialect, and its counterpart in the model.
#[derive(Debug)]
pub(super) struct Record {
    /// Its fields in order.
    pub(super) fields: &'static [Field],
    /// How many fields the model's record has.
    pub(super) model_fields: usize,
    /// What the table cannot say: puts the record right after it was written.
    pub(super) written: Option<fn(&mut [Data])>,
}

/// A field of a record or an argument of an event.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// Where it stands in the model: one place beyond its end if the model lacks it.
    pub(super) at: usize,
    /// Whether `none` may stand for it: it is `&optional`, or has a `&default`.
    pub(super) optional: bool,
    /// What it holds.
    pub(super) shape: Shape,
}

/// What a value is made of.
#[derive(Debug)]
pub(super) enum Shape {
    /// The same in the model.
    Plain(Kind),
    /// Zeek's `any`, of which nothing more is known.
    Any,
    /// An `int`, which some send as `count`.
    Int,
    /// A string that is not optional in this dialect: empty where the model has none.
    TextOrEmpty,
    /// A port that is not optional in this dialect: `0/unknown` where the model has none.
    PortOrZero,
    /// A port that is none in the model if its number is 0.
    PortNotZero,
    /// An enum, by the names of its values here and in the model.
    Enum(&'static Names),
    /// A record.
    Record(&'static Record),
    /// A vector of these.
    Vector(&'static Shape),
    /// A set of these.
    Set(&'static Shape),
    /// One of these, for which the model has a vector.
    Only(&'static Shape),
}

/// The names of an enum's values.
#[derive(Debug)]
pub(super) struct Names {
    /// This dialect's and the model's.
    pub(super) pairs: &'static [(&'static str, &'static str)],
    /// This dialect's nearest for the model's that it lacks.
    pub(super) nearest: &'static [(&'static str, &'static str)],
}

impl Row {
    /// The model's arguments.
    pub(super) fn read(&self, args: Vec<Data>, context: &Context) -> Result<Vec<Data>, DataError> {
        if args.len() != self.args.len() {
            return Err(DataError::new(DataErrorKind::WrongArgumentCount {
                expected: self.args.len(),
                found: args.len(),
            }));
        }
        let mut model = read_fields(self.args, args, self.model_args)?;
        if let Some(put_right) = self.read {
            put_right(&mut model, context);
        }
        Ok(model)
    }

    /// The arguments for the model's.
    pub(super) fn write(&self, mut model: Vec<Data>, context: &Context) -> Result<Vec<Data>, DataError> {
        if model.len() != self.model_args {
            return Err(DataError::new(DataErrorKind::WrongArgumentCount {
                expected: self.model_args,
                found: model.len(),
            }));
        }
        if let Some(put_right) = self.write {
            // For what the model lacks.
            model.push(Data::None);
            put_right(&mut model, context);
        }
        write_fields(self.args, model)
    }
}

fn read_fields(fields: &[Field], values: Vec<Data>, model_len: usize) -> Result<Vec<Data>, DataError> {
    let mut model = vec![Data::None; model_len];
    let mut values = values.into_iter();
    for field in fields {
        let in_field = |error: DataError| error.in_field(field.name);
        let value = values
            .next()
            .ok_or_else(|| in_field(DataError::new(DataErrorKind::MissingField)))?;
        let value = if field.optional && value == Data::None {
            value
        } else {
            field.shape.read(value).map_err(in_field)?
        };
        if let Some(place) = model.get_mut(field.at) {
            *place = value;
        }
    }
    Ok(model)
}

fn write_fields(fields: &[Field], mut model: Vec<Data>) -> Result<Vec<Data>, DataError> {
    fields
        .iter()
        .map(|field| {
            let value = model.get_mut(field.at).map(std::mem::take);
            let value = value.unwrap_or_default();
            if field.optional && value == Data::None && !field.shape.stands_in_for_none() {
                return Ok(value);
            }
            field
                .shape
                .write(value)
                .map_err(|error| error.in_field(field.name))
        })
        .collect()
}

impl Shape {
    /// Whether the model's none has a value of its own here.
    const fn stands_in_for_none(&self) -> bool {
        matches!(self, Self::TextOrEmpty | Self::PortOrZero)
    }

    /// The model's value for this dialect's.
    pub(super) fn read(&self, value: Data) -> Result<Data, DataError> {
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (Self::Int, Data::Count(count)) => i64::try_from(count).map(Data::Integer).map_err(|_| {
                let text = format!("count {count} does not fit an integer");
                DataError::new(DataErrorKind::Custom(text))
            }),
            (Self::TextOrEmpty, Data::String(text)) if text.is_empty() => Ok(Data::None),
            (Self::PortOrZero | Self::PortNotZero, Data::Port(port)) if port.number == 0 => Ok(Data::None),
            (Self::Enum(names), Data::EnumValue(EnumValue(name))) => names.read(&name),
            (Self::Record(record), Data::Vector(fields)) => {
                read_fields(record.fields, fields, record.model_fields).map(Data::Vector)
            }
            (Self::Vector(shape), Data::Vector(elements)) => {
                each(elements, |element| shape.read(element)).map(Data::Vector)
            }
            (Self::Set(shape), Data::Set(elements)) => {
                let elements: Vec<Data> = each(elements, |element| shape.read(element))?;
                Ok(Data::Set(Set::from_iter(elements)))
            }
            (Self::Only(shape), value) => Ok(Data::Vector(vec![shape.read(value)?])),
            (_, value) => self.same(value),
        }
    }

    /// This dialect's value for the model's.
    pub(super) fn write(&self, value: Data) -> Result<Data, DataError> {
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (Self::TextOrEmpty, Data::None) => Ok(Data::String(ZeekString::default())),
            (Self::PortOrZero, Data::None) => Ok(Data::Port(NO_PORT)),
            (Self::Enum(names), Data::EnumValue(EnumValue(name))) => names.write(&name),
            (Self::Record(record), Data::Vector(mut fields)) => {
                // Fields at the end of the model's record may be missing.
                fields.resize(fields.len().max(record.model_fields), Data::None);
                let mut fields = write_fields(record.fields, fields)?;
                if let Some(put_right) = record.written {
                    put_right(&mut fields);
                }
                Ok(Data::Vector(fields))
            }
            (Self::Vector(shape), Data::Vector(elements)) => {
                each(elements, |element| shape.write(element)).map(Data::Vector)
            }
            (Self::Set(shape), Data::Set(elements)) => {
                let elements: Vec<Data> = each(elements, |element| shape.write(element))?;
                Ok(Data::Set(Set::from_iter(elements)))
            }
            (Self::Only(shape), Data::Vector(elements)) => {
                let found = elements.len();
                match <[Data; 1]>::try_from(elements) {
                    Ok([element]) => shape.write(element).map_err(|error| error.in_element(0)),
                    Err(_) => Err(DataError::new(DataErrorKind::WrongLength { expected: 1, found })),
                }
            }
            (_, value) => self.same(value),
        }
    }

    /// The value, if it is of the right kind.
    fn same(&self, value: Data) -> Result<Data, DataError> {
        let expected = self.kind();
        if value.kind() == expected {
            Ok(value)
        } else {
            Err(DataError::mismatch(expected, value.kind()))
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Plain(kind) => *kind,
            Self::Any => Kind::None,
            Self::Int => Kind::Integer,
            Self::TextOrEmpty => Kind::String,
            Self::PortOrZero | Self::PortNotZero => Kind::Port,
            Self::Enum(_) => Kind::EnumValue,
            Self::Record(_) | Self::Vector(_) | Self::Only(_) => Kind::Vector,
            Self::Set(_) => Kind::Set,
        }
    }

    /// Writes what a value holds, each part by its path.
    pub(super) fn describe(&self, path: &str, value: &Data, lines: &mut Vec<String>) {
        match (self, value) {
            (Self::Record(record), Data::Vector(values)) => {
                describe_fields(record.fields, path, values, lines);
            }
            (Self::Vector(shape), Data::Vector(elements)) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    shape.describe(&format!("{path}[{index}]"), element, lines);
                }
            }
            (Self::Set(shape), Data::Set(elements)) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    shape.describe(&format!("{path}[{index}]"), element, lines);
                }
            }
            (Self::Only(shape), value) => shape.describe(path, value, lines),
            // Whole and as it is.
            (_, Data::String(value)) => lines.push(format!("{path} = {}", value.to_str_lossy())),
            (_, value) => lines.push(format!("{path} = {value}")),
        }
    }
}

/// Writes what fields hold, each by its path. Values beyond the last field are not shown: nobody reads them.
pub(super) fn describe_fields(fields: &[Field], path: &str, values: &[Data], lines: &mut Vec<String>) {
    for (field, value) in fields.iter().zip(values) {
        let separator = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{separator}{}", field.name);
        field.shape.describe(&path, value, lines);
    }
}

impl Names {
    fn read(&self, name: &ZeekString) -> Result<Data, DataError> {
        let found = self.pairs.iter().find(|(here, _)| *name == **here);
        found.map_or_else(|| unknown(name), |(_, model)| Ok(enum_value(model)))
    }

    fn write(&self, name: &ZeekString) -> Result<Data, DataError> {
        let mut pairs = self.pairs.iter().chain(self.nearest);
        let found = pairs.find(|(_, model)| *name == **model);
        found.map_or_else(|| unknown(name), |(here, _)| Ok(enum_value(here)))
    }
}

/// What stands for no port where one must stand.
pub(super) const NO_PORT: Port = Port {
    number: 0,
    protocol: Protocol::Unknown,
};

pub(super) fn enum_value(name: &str) -> Data {
    Data::EnumValue(EnumValue(name.into()))
}

fn unknown(name: &ZeekString) -> Result<Data, DataError> {
    Err(DataError::new(DataErrorKind::UnknownEnumValue(name.clone())))
}

fn each(
    elements: impl IntoIterator<Item = Data>,
    convert: impl Fn(Data) -> Result<Data, DataError>,
) -> Result<Vec<Data>, DataError> {
    elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| convert(element).map_err(|error| error.in_element(index)))
        .collect()
}
