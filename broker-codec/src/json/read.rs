//! The JSON reader: one pass from text to [`Data`], without a document in between.
//!
//! `@data-type` may stand before or behind `data`. Behind it, `data` is first read as what its JSON looks like, which is
//! all but the kind, and becomes a value once the kind is known. So either order takes time linear in the text.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::data::{DEPTH_MAX, Data, EnumValue, Kind, Real, Set, Table, TextError, VALUES_MAX};

use super::error::{JsonError, JsonErrorKind, SIZE_MAX};

/// How deep arrays and objects may be nested in members that are ignored, counted from there. Each level of a value takes
/// two.
const IGNORED_DEPTH_MAX: usize = 2 * DEPTH_MAX;

pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    values: usize,
}

/// Content of `data` whose kind is not known yet.
enum Raw<'a> {
    Null,
    Object,
    Boolean(bool),
    Number(&'a str),
    Text(Cow<'a, [u8]>),
    EmptyArray,
    Elements(Vec<Data>),
    Entries(Vec<(Data, Data)>),
}

/// The members of an object that make up a value.
#[derive(Default)]
pub(super) struct ValueMembers<'a> {
    kind: Option<Kind>,
    data: Option<Content<'a>>,
}

enum Content<'a> {
    Value(Data),
    Raw { raw: Raw<'a>, offset: usize },
}

impl ValueMembers<'_> {
    pub(super) const fn is_empty(&self) -> bool {
        self.kind.is_none() && self.data.is_none()
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, JsonError> {
        let reader = Self {
            text,
            at: 0,
            depth: 0,
            values: 0,
        };
        if text.len() > SIZE_MAX {
            return Err(reader.error(JsonErrorKind::TooLarge));
        }
        Ok(reader)
    }

    pub(super) const fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError {
            offset: self.at,
            kind,
        }
    }

    /// The text must end here.
    pub(super) fn end(mut self) -> Result<(), JsonError> {
        match self.next_token() {
            None => Ok(()),
            Some(_) => Err(self.error(JsonErrorKind::TrailingText)),
        }
    }

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
                members.data = Some(match members.kind {
                    Some(kind) => Content::Value(self.data(kind)?),
                    None => Content::Raw {
                        raw: self.raw()?,
                        offset,
                    },
                });
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
        let kind = members
            .kind
            .ok_or(at(JsonErrorKind::MissingMember("@data-type")))?;
        match members.data.ok_or(at(JsonErrorKind::MissingMember("data")))? {
            Content::Value(data) => Ok(data),
            Content::Raw { raw, offset } => from_raw(kind, raw).map_err(|kind| JsonError { offset, kind }),
        }
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

    /// The content of a value of a known kind.
    fn data(&mut self, kind: Kind) -> Result<Data, JsonError> {
        let token = self.next_token();
        let offset = self.at;
        let at = |kind| JsonError { offset, kind };
        match kind {
            Kind::None => self.skip().map(|()| Data::None),
            Kind::Set | Kind::Vector | Kind::Table if token != Some(b'[') => {
                Err(at(JsonErrorKind::Mismatch(kind)))
            }
            Kind::Set => Set::try_from(self.array(Self::value)?)
                .map(Data::Set)
                .map_err(|_| at(JsonErrorKind::Duplicate)),
            Kind::Vector => self.array(Self::value).map(Data::Vector),
            Kind::Table => Table::try_from(self.array(Self::entry)?)
                .map(Data::Table)
                .map_err(|_| at(JsonErrorKind::Duplicate)),
            _ if matches!(token, Some(b'[' | b'{')) => Err(at(JsonErrorKind::Mismatch(kind))),
            _ => from_raw(kind, self.scalar()?).map_err(at),
        }
    }

    fn raw(&mut self) -> Result<Raw<'a>, JsonError> {
        match self.next_token() {
            Some(b'{') => self.skip().map(|()| Raw::Object),
            Some(b'[') => self.raw_array(),
            _ => self.scalar(),
        }
    }

    /// An array of which it is not known whether it is a table's.
    fn raw_array(&mut self) -> Result<Raw<'a>, JsonError> {
        let mut entries = Vec::new();
        let elements = self.array(|reader| {
            let mut members = ValueMembers::default();
            let mut entry = EntryMembers::default();
            let offset = reader.object(|reader, name| {
                Ok(reader.value_member(name, &mut members)? || reader.entry_member(name, &mut entry)?)
            })?;
            if let EntryMembers {
                key: None,
                value: None,
            } = entry
            {
                reader.finish_value(members, offset).map(Some)
            } else {
                entries.push(entry.finish(offset)?);
                Ok(None)
            }
        })?;
        if elements.is_empty() {
            Ok(Raw::EmptyArray)
        } else if entries.len() == elements.len() {
            Ok(Raw::Entries(entries))
        } else {
            let elements: Option<Vec<Data>> = elements.into_iter().collect();
            elements
                .map(Raw::Elements)
                .ok_or(self.error(JsonErrorKind::Expected("only values or only entries of a table")))
        }
    }

    /// One `{"key":...,"value":...}`.
    fn entry(&mut self) -> Result<(Data, Data), JsonError> {
        let mut members = EntryMembers::default();
        let offset = self.object(|reader, name| reader.entry_member(name, &mut members))?;
        members.finish(offset)
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

    /// An object, of which `member` reads what follows each name that it knows, and tells whether it does. Where it began.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<bool, JsonError>,
    ) -> Result<usize, JsonError> {
        self.next_token();
        let offset = self.at;
        self.punctuation(b'{', "an object")?;
        if self.next_token() == Some(b'}') {
            self.at += 1;
            return Ok(offset);
        }
        loop {
            self.next_token();
            let name = self.string()?;
            self.punctuation(b':', "a colon")?;
            if !member(self, &name)? {
                self.skip()?;
            }
            if self.closes(b'}', "a comma or the end of the object")? {
                return Ok(offset);
            }
        }
    }

    /// An array; `element` reads each element.
    pub(super) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, JsonError>,
    ) -> Result<Vec<T>, JsonError> {
        self.punctuation(b'[', "an array")?;
        if self.depth == DEPTH_MAX {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        let mut elements = Vec::new();
        self.depth += 1;
        self.each(|reader| {
            elements.push(element(reader)?);
            Ok(())
        })?;
        self.depth -= 1;
        Ok(elements)
    }

    /// What stands in an array behind its bracket.
    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.next_token() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            if self.closes(b']', "a comma or the end of the array")? {
                return Ok(());
            }
        }
    }

    /// Whether what follows an element ends the array or object.
    fn closes(&mut self, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        match self.next_token() {
            Some(b',') => self.at += 1,
            Some(token) if token == close => {
                self.at += 1;
                return Ok(true);
            }
            _ => return Err(self.unexpected(expected)),
        }
        Ok(false)
    }

    fn punctuation(&mut self, wanted: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.next_token() == Some(wanted) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn unexpected(&self, expected: &'static str) -> JsonError {
        if self.at >= self.text.len() {
            self.error(JsonErrorKind::UnexpectedEnd)
        } else {
            self.error(JsonErrorKind::Expected(expected))
        }
    }

    /// Goes to the next byte that is no white space.
    pub(super) fn next_token(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// A string, number or word.
    fn scalar(&mut self) -> Result<Raw<'a>, JsonError> {
        if self.next_token() == Some(b'"') {
            return self.string().map(Raw::Text);
        }
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let (word, _) = self
            .rest()
            .split_at(self.rest().iter().take_while(|byte| belongs(byte)).count());
        let word = std::str::from_utf8(word).unwrap_or_default();
        let raw = match word {
            "true" => Raw::Boolean(true),
            "false" => Raw::Boolean(false),
            "null" => Raw::Null,
            "nan" | "inf" | "-inf" => Raw::Number(word),
            _ if serde_json::from_str::<IgnoredAny>(word).is_ok() => Raw::Number(word),
            _ => return Err(self.unexpected("a value")),
        };
        self.at += word.len();
        Ok(raw)
    }

    /// A string, borrowed from the text if nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, JsonError> {
        self.punctuation(b'"', "a string")?;
        let mut bytes = Cow::Borrowed(self.plain()?);
        while !self.rest().starts_with(b"\"") {
            self.escape(bytes.to_mut())?;
            bytes.to_mut().extend_from_slice(self.plain()?);
        }
        self.at += 1;
        Ok(bytes)
    }

    /// What stands before the next quote or backslash.
    fn plain(&mut self) -> Result<&'a [u8], JsonError> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let Some(plain) = length.and_then(|length| rest.get(..length)) else {
            self.at = self.text.len();
            return Err(self.error(JsonErrorKind::UnexpectedEnd));
        };
        self.at += plain.len();
        Ok(plain)
    }

    /// A backslash and what it stands for.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let invalid = self.error(JsonErrorKind::Expected("a valid escape sequence"));
        let Some(&[_, escaped]) = self.rest().first_chunk() else {
            self.at = self.text.len();
            return Err(self.error(JsonErrorKind::UnexpectedEnd));
        };
        self.at += 2;
        out.push(match escaped {
            b'"' | b'\\' | b'/' => escaped,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'u' => {
                let character = self.unicode().ok_or(invalid)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(invalid),
        });
        Ok(())
    }

    /// What follows `\u`: one unit of UTF-16, or two that make a character.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex_unit()?;
        if let Some(character) = char::from_u32(first.into()) {
            return Some(character);
        }
        if !self.rest().starts_with(b"\\u") {
            return None;
        }
        self.at += 2;
        let second = self.hex_unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn hex_unit(&mut self) -> Option<u16> {
        let digits = self.rest().first_chunk::<4>()?;
        self.at += 4;
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Any JSON, which is checked and forgotten.
    pub(super) fn skip(&mut self) -> Result<(), JsonError> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), JsonError> {
        let token = self.next_token();
        if matches!(token, Some(b'{' | b'[')) && depth == IGNORED_DEPTH_MAX {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        match token {
            Some(b'{') => {
                let member = |reader: &mut Self, _: &[u8]| reader.skip_nested(depth + 1).map(|()| true);
                self.object(member).map(drop)
            }
            Some(b'[') => {
                self.at += 1;
                self.each(|reader| reader.skip_nested(depth + 1))
            }
            _ => self.scalar().map(drop),
        }
    }
}

#[derive(Default)]
struct EntryMembers {
    key: Option<Data>,
    value: Option<Data>,
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

fn from_raw(kind: Kind, raw: Raw<'_>) -> Result<Data, JsonErrorKind> {
    let duplicate = |_| JsonErrorKind::Duplicate;
    match (kind, raw) {
        (Kind::None, _) => Ok(Data::None),
        (Kind::Boolean, Raw::Boolean(value)) => Ok(Data::Boolean(value)),
        (Kind::Count, Raw::Number(number)) if is_integer(number) => number
            .parse()
            .map(Data::Count)
            .map_err(|_| JsonErrorKind::OutOfRange(kind)),
        (Kind::Integer, Raw::Number(number)) if is_integer(number) => number
            .parse()
            .map(Data::Integer)
            .map_err(|_| JsonErrorKind::OutOfRange(kind)),
        (Kind::Real, Raw::Number(number)) => real(number),
        (Kind::Real, Raw::Text(text)) => match &*text {
            b"nan" => real("nan"),
            b"inf" => real("inf"),
            b"-inf" => real("-inf"),
            _ => Err(JsonErrorKind::Mismatch(kind)),
        },
        (Kind::String, Raw::Text(text)) => Ok(Data::String(text.into_owned().into())),
        (Kind::EnumValue, Raw::Text(text)) => Ok(Data::EnumValue(EnumValue(text.into_owned().into()))),
        (Kind::Address, Raw::Text(text)) => parse(kind, &text).map(Data::Address),
        (Kind::Subnet, Raw::Text(text)) => parse(kind, &text).map(Data::Subnet),
        (Kind::Port, Raw::Text(text)) => parse(kind, &text).map(Data::Port),
        (Kind::Timestamp, Raw::Text(text)) => parse(kind, &text).map(Data::Timestamp),
        (Kind::Timespan, Raw::Text(text)) => parse(kind, &text).map(Data::Timespan),
        (Kind::Set, Raw::EmptyArray) => Ok(Data::Set(Set::new())),
        (Kind::Set, Raw::Elements(elements)) => Set::try_from(elements).map(Data::Set).map_err(duplicate),
        (Kind::Table, Raw::EmptyArray) => Ok(Data::Table(Table::default())),
        (Kind::Table, Raw::Entries(entries)) => Table::try_from(entries).map(Data::Table).map_err(duplicate),
        (Kind::Vector, Raw::EmptyArray) => Ok(Data::Vector(Vec::new())),
        (Kind::Vector, Raw::Elements(elements)) => Ok(Data::Vector(elements)),
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
