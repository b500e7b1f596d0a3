//! What JSON is made of, whatever it means.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::data::DEPTH_MAX;

use super::error::{JsonError, JsonErrorKind, SIZE_MAX};

/// How deep arrays and objects may be nested in members that are ignored, counted from there. Each level of a value takes
/// two.
const IGNORED_DEPTH_MAX: usize = 2 * DEPTH_MAX;

pub(super) struct Reader<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    depth: usize,
    /// How many values have been read.
    pub(super) values: usize,
}

/// What is neither an object nor an array.
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Cow<'a, [u8]>),
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
    pub(super) fn scalar(&mut self) -> Result<Scalar<'a>, JsonError> {
        if self.next_token() == Some(b'"') {
            return self.string().map(Scalar::Text);
        }
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let rest = self.rest();
        let length = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        let word = std::str::from_utf8(rest.get(..length).unwrap_or_default()).unwrap_or_default();
        let scalar = match word {
            "true" => Scalar::Boolean(true),
            "false" => Scalar::Boolean(false),
            "null" => Scalar::Null,
            "nan" | "inf" | "-inf" => Scalar::Number(word),
            _ if serde_json::from_str::<IgnoredAny>(word).is_ok() => Scalar::Number(word),
            _ => return Err(self.unexpected("a value")),
        };
        self.at += word.len();
        Ok(scalar)
    }

    /// A string, borrowed from the text if nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, JsonError> {
        self.punctuation(b'"', "a string")?;
        let mut bytes = Cow::Borrowed(self.plain()?);
        while self.text.get(self.at) != Some(&b'"') {
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
