//! The JSON reader: one pass from text to [`Data`], without a document in between.
//!
//! `@data-type` may stand before or behind `data`. Behind it, `data` is first read as what its JSON looks like, which is
//! all but the kind, and becomes a value once the kind is known. So either order takes time linear in the text.

use crate::data::{Data, EnumValue, Kind, Real, Set, Table, TextError, VALUES_MAX};

use super::{
    error::{JsonError, JsonErrorKind},
    syntax::{Reader, Scalar},
};

/// The content of `data`.
enum Content<'a> {
    Scalar(Scalar<'a>),
    Object,
    /// An array, unless it is one of entries.
    Elements(Vec<Data>),
    Entries(Vec<(Data, Data)>),
}

/// The members of an object that make up a value.
#[derive(Default)]
pub(super) struct ValueMembers<'a> {
    kind: Option<Kind>,
    /// And where it begins.
    data: Option<(Content<'a>, usize)>,
}

impl ValueMembers<'_> {
    pub(super) const fn is_empty(&self) -> bool {
        self.kind.is_none() && self.data.is_none()
    }
}

/// The members of an object that make up an entry of a table.
#[derive(Default)]
struct EntryMembers {
    key: Option<Data>,
    value: Option<Data>,
}

impl<'a> Reader<'a> {
    /// One `{"@data-type":...,"data":...}`.
    pub(super) fn value(&mut self) -> Result<Data, JsonError> {
        let mut members = ValueMembers::default();
        let offset = self.object(|reader, name| reader.value_member(name, &mut members))?;
        self.finish_value(members, offset)
    }

    /// Reads the member if it is one of a value's, tells whether it was.
    pub(super) fn value_member(
        &mut self,
        name: &[u8],
        members: &mut ValueMembers<'a>,
    ) -> Result<bool, JsonError> {
        match name {
            b"@data-type" => {
                if members.kind.is_some() {
                    return Err(self.error(JsonErrorKind::DuplicateMember("@data-type")));
                }
                members.kind = Some(self.data_type()?);
            }
            b"data" => {
                if members.data.is_some() {
                    return Err(self.error(JsonErrorKind::DuplicateMember("data")));
                }
                self.next_token();
                let offset = self.at;
                members.data = Some((self.content(members.kind)?, offset));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The value of an object whose members are read, which began at `offset`.
    pub(super) fn finish_value(
        &mut self,
        members: ValueMembers<'a>,
        offset: usize,
    ) -> Result<Data, JsonError> {
        let at = |kind| JsonError { offset, kind };
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(at(JsonErrorKind::TooManyValues));
        }
        let missing = |name| at(JsonErrorKind::MissingMember(name));
        let kind = members.kind.ok_or(missing("@data-type"))?;
        let (content, offset) = members.data.ok_or(missing("data"))?;
        value_of(kind, content).map_err(|kind| JsonError { offset, kind })
    }

    fn data_type(&mut self) -> Result<Kind, JsonError> {
        self.next_token();
        let offset = self.at;
        let name = self.string()?;
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name().as_bytes() == &*name)
            .ok_or(JsonError {
                offset,
                kind: JsonErrorKind::UnknownDataType,
            })
    }

    /// The content of a value, whose kind may not be known yet.
    fn content(&mut self, kind: Option<Kind>) -> Result<Content<'a>, JsonError> {
        let token = self.next_token();
        match kind {
            Some(Kind::None) => return self.skip().map(|()| Content::Object),
            Some(kind @ (Kind::Set | Kind::Vector | Kind::Table)) if token != Some(b'[') => {
                return Err(self.error(JsonErrorKind::Mismatch(kind)));
            }
            None | Some(Kind::Set | Kind::Vector | Kind::Table) => {}
            Some(kind) if matches!(token, Some(b'[' | b'{')) => {
                return Err(self.error(JsonErrorKind::Mismatch(kind)));
            }
            Some(_) => {}
        }
        match token {
            Some(b'{') => self.skip().map(|()| Content::Object),
            Some(b'[') => self.array_of(kind),
            _ => self.scalar().map(Content::Scalar),
        }
    }

    /// The content of a container, of which it may not be known whether it is a table.
    fn array_of(&mut self, kind: Option<Kind>) -> Result<Content<'a>, JsonError> {
        let is_table = kind.map(|kind| kind == Kind::Table);
        let (mut elements, mut entries) = (Vec::new(), Vec::new());
        self.array(|reader| {
            if is_table == Some(false) {
                elements.push(reader.value()?);
                return Ok(());
            }
            let mut members = ValueMembers::default();
            let mut entry = EntryMembers::default();
            let offset = reader.object(|reader, name| {
                let is_value = is_table.is_none() && reader.value_member(name, &mut members)?;
                Ok(is_value || reader.entry_member(name, &mut entry)?)
            })?;
            if is_table.is_some() || entry.key.is_some() || entry.value.is_some() {
                entries.push(entry.finish(offset)?);
            } else {
                elements.push(reader.finish_value(members, offset)?);
            }
            Ok(())
        })?;
        match (elements.is_empty(), entries.is_empty()) {
            (_, true) => Ok(Content::Elements(elements)),
            (true, false) => Ok(Content::Entries(entries)),
            (false, false) => {
                Err(self.error(JsonErrorKind::Expected("only values or only entries of a table")))
            }
        }
    }

    fn entry_member(&mut self, name: &[u8], members: &mut EntryMembers) -> Result<bool, JsonError> {
        let (member, name) = match name {
            b"key" => (&mut members.key, "key"),
            b"value" => (&mut members.value, "value"),
            _ => return Ok(false),
        };
        if member.is_some() {
            return Err(self.error(JsonErrorKind::DuplicateMember(name)));
        }
        *member = Some(self.value()?);
        Ok(true)
    }
}

impl EntryMembers {
    fn finish(self, offset: usize) -> Result<(Data, Data), JsonError> {
        let missing = |name| JsonError {
            offset,
            kind: JsonErrorKind::MissingMember(name),
        };
        Ok((
            self.key.ok_or(missing("key"))?,
            self.value.ok_or(missing("value"))?,
        ))
    }
}

fn value_of(kind: Kind, content: Content<'_>) -> Result<Data, JsonErrorKind> {
    let duplicate = |_| JsonErrorKind::Duplicate;
    match (kind, content) {
        (Kind::None, _) => Ok(Data::None),
        (_, Content::Scalar(scalar)) => leaf(kind, scalar),
        (Kind::Set, Content::Elements(elements)) => Set::try_from(elements).map(Data::Set).map_err(duplicate),
        (Kind::Vector, Content::Elements(elements)) => Ok(Data::Vector(elements)),
        (Kind::Table, Content::Entries(entries)) => {
            Table::try_from(entries).map(Data::Table).map_err(duplicate)
        }
        (Kind::Table, Content::Elements(none)) if none.is_empty() => Ok(Data::Table(Table::default())),
        _ => Err(JsonErrorKind::Mismatch(kind)),
    }
}

fn leaf(kind: Kind, scalar: Scalar<'_>) -> Result<Data, JsonErrorKind> {
    let out_of_range = |_| JsonErrorKind::OutOfRange(kind);
    match (kind, scalar) {
        (Kind::Boolean, Scalar::Boolean(value)) => Ok(Data::Boolean(value)),
        (Kind::Count, Scalar::Number(number)) if is_integer(number) => {
            number.parse().map(Data::Count).map_err(out_of_range)
        }
        (Kind::Integer, Scalar::Number(number)) if is_integer(number) => {
            number.parse().map(Data::Integer).map_err(out_of_range)
        }
        (Kind::Real, Scalar::Number(number)) => real(number),
        (Kind::Real, Scalar::Text(text)) => match &*text {
            b"nan" => real("nan"),
            b"inf" => real("inf"),
            b"-inf" => real("-inf"),
            _ => Err(JsonErrorKind::Mismatch(kind)),
        },
        (Kind::String, Scalar::Text(text)) => Ok(Data::String(text.into_owned().into())),
        (Kind::EnumValue, Scalar::Text(text)) => Ok(Data::EnumValue(EnumValue(text.into_owned().into()))),
        (Kind::Address, Scalar::Text(text)) => parse(kind, &text).map(Data::Address),
        (Kind::Subnet, Scalar::Text(text)) => parse(kind, &text).map(Data::Subnet),
        (Kind::Port, Scalar::Text(text)) => parse(kind, &text).map(Data::Port),
        (Kind::Timestamp, Scalar::Text(text)) => parse(kind, &text).map(Data::Timestamp),
        (Kind::Timespan, Scalar::Text(text)) => parse(kind, &text).map(Data::Timespan),
        _ => Err(JsonErrorKind::Mismatch(kind)),
    }
}

fn is_integer(number: &str) -> bool {
    number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

fn real(number: &str) -> Result<Data, JsonErrorKind> {
    let value: f64 = number
        .parse()
        .map_err(|_| JsonErrorKind::OutOfRange(Kind::Real))?;
    if value.is_infinite() && !number.ends_with("inf") {
        return Err(JsonErrorKind::OutOfRange(Kind::Real));
    }
    Ok(Data::Real(Real(value)))
}

fn parse<T: std::str::FromStr<Err = TextError>>(kind: Kind, text: &[u8]) -> Result<T, JsonErrorKind> {
    std::str::from_utf8(text)
        .map_err(|_| JsonErrorKind::Mismatch(kind))?
        .parse()
        .map_err(JsonErrorKind::Text)
}
