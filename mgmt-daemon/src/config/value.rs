//! Values of Zeek's script language, as far as settings need them.

use std::{fmt::Write, path::PathBuf, time::Duration};

use broker_codec::data::{Port, Protocol, is_hostile};
use mgmt_api::{Dialect, Level};

use crate::log::LogFormat;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// As in a script: strings stand in quotes.
    Script,
    /// As in an environment variable or a command-line assignment: strings stand as they are
    /// (`scan.l, yywrap` adds the quotes).
    Bare,
}

/// A text is not a value of the type that a setting has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ValueError {
    pub text: String,
    /// What would be right, with an example.
    pub expected: &'static str,
}

pub trait Value: Sized {
    /// What is asked for, with an example; follows "is not".
    const EXPECTED: &'static str;

    /// Reads the value; none if it is not one.
    fn read(text: &str, notation: Notation) -> Option<Self>;

    /// As it would stand in a Zeek script.
    fn show(&self) -> String;

    /// Reads the value, or says what is expected.
    fn parse(text: &str, notation: Notation) -> Result<Self, ValueError> {
        Self::read(text.trim(), notation).ok_or_else(|| ValueError {
            text: text.trim().to_owned(),
            expected: Self::EXPECTED,
        })
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a string, as in \"controller\"";

    fn read(text: &str, notation: Notation) -> Option<Self> {
        match notation {
            Notation::Bare => Some(text.to_owned()),
            Notation::Script => unquote(text),
        }
    }

    /// A literal that [`Notation::Script`] reads.
    fn show(&self) -> String {
        let mut literal = String::from("\"");
        for c in self.chars() {
            match c {
                '"' | '\\' => literal.extend(['\\', c]),
                '\n' => literal.push_str("\\n"),
                '\t' => literal.push_str("\\t"),
                '\r' => literal.push_str("\\r"),
                c if is_hostile(c) => {
                    let mut bytes = [0; 4];
                    for byte in c.encode_utf8(&mut bytes).bytes() {
                        // Writing to a string cannot fail.
                        let _ = write!(literal, "\\x{byte:02x}");
                    }
                }
                c => literal.push(c),
            }
        }
        literal.push('"');
        literal
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path, as in \"/var/lib/zeek\"";

    fn read(text: &str, notation: Notation) -> Option<Self> {
        String::read(text, notation).map(Self::from)
    }

    fn show(&self) -> String {
        self.display().to_string().show()
    }
}

impl Value for Dialect {
    const EXPECTED: &'static str =
        "the first Zeek with the API: 4.1, 4.2, pre-seed, seed, 5.0.0-rc1, 5.0 or 7.0";

    fn read(text: &str, _: Notation) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Port {
    const EXPECTED: &'static str = "a port with its protocol, as in 2150/tcp";

    fn read(text: &str, _: Notation) -> Option<Self> {
        let (number, protocol) = text.split_once('/')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" => Protocol::Icmp,
            "unknown" => Protocol::Unknown,
            _ => return None,
        };
        let number = digits(number)?.parse().ok()?;
        Some(Self { number, protocol })
    }

    fn show(&self) -> String {
        self.in_zeek()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "an interval, as in 10 sec or 1.5 hrs";

    fn read(text: &str, _: Notation) -> Option<Self> {
        let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = text.split_at(unit);
        let seconds = match unit
            .strip_suffix('s')
            .filter(|rest| !rest.is_empty())
            .unwrap_or(unit)
        {
            "usec" => 1e-6,
            "msec" => 1e-3,
            "sec" => 1.0,
            "min" => 60.0,
            "hr" => 3_600.0,
            "day" => 86_400.0,
            _ => return None,
        };
        let number = number.trim_end();
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        Self::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
    }

    fn show(&self) -> String {
        format!("{} secs", self.as_secs_f64())
    }
}

/// A count, such as `Log::default_max_field_string_bytes`.
impl Value for u64 {
    const EXPECTED: &'static str = "a count, as in 4096";

    fn read(text: &str, _: Notation) -> Option<Self> {
        digits(text)?.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A time of day in minutes since midnight, such as `log_rotate_base_time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Minutes since midnight, below 1440.
    pub minutes: u16,
}

impl Value for TimeOfDay {
    const EXPECTED: &'static str = "a time of day, as in \"0:00\"";

    fn read(text: &str, notation: Notation) -> Option<Self> {
        let text = String::read(text, notation)?;
        let (hours, minutes) = text.split_once(':')?;
        let hours: u16 = digits(hours)?.parse().ok().filter(|hours| *hours < 24)?;
        let minutes: u16 = digits(minutes)?.parse().ok().filter(|minutes| *minutes < 60)?;
        Some(Self {
            minutes: hours * 60 + minutes,
        })
    }

    fn show(&self) -> String {
        format!("\"{}:{:02}\"", self.minutes / 60, self.minutes % 60)
    }
}

impl Value for Level {
    const EXPECTED: &'static str = "one of Management::Log::DEBUG, INFO, WARNING, ERROR";

    fn read(text: &str, _: Notation) -> Option<Self> {
        let levels = [Self::Debug, Self::Info, Self::Warning, Self::Error];
        let name = text.strip_prefix("Management::Log::").unwrap_or(text);
        levels.into_iter().find(|level| level.to_string() == name)
    }

    fn show(&self) -> String {
        format!("Management::Log::{self}")
    }
}

/// A type with few values, each of which has a name.
pub trait Choice: Copy + PartialEq + 'static {
    const EXPECTED: &'static str;
    /// All of them.
    const NAMES: &'static [(&'static str, Self)];
}

impl<T: Choice> Value for T {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str, _: Notation) -> Option<Self> {
        let named = T::NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, value)| *value)
    }

    fn show(&self) -> String {
        let named = T::NAMES.iter().find(|(_, value)| value == self);
        named.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

impl Choice for bool {
    const EXPECTED: &'static str = "T or F";
    const NAMES: &'static [(&'static str, Self)] = &[("T", true), ("F", false)];
}

impl Choice for LogFormat {
    const EXPECTED: &'static str = "text or json";
    const NAMES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// The fields of a record, as in `Type($a=1, $b="x")` or `[$a=1, $b="x"]`: names and values. A comma may end the last one.
pub fn record<'a>(text: &'a str, record_type: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let inner = match text.strip_prefix(record_type) {
        Some(call) => call.trim_start().strip_prefix('(')?.strip_suffix(')')?,
        None => text.strip_prefix('[')?.strip_suffix(']')?,
    };
    let (mut quoted, mut escaped) = (false, false);
    let ends_field = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    };
    let mut fields: Vec<&str> = inner.split(ends_field).map(str::trim).collect();
    fields.pop_if(|last| last.is_empty());
    let pair = |field: &'a str| {
        let (name, value) = field.strip_prefix('$')?.split_once('=')?;
        Some((name.trim_end(), value.trim_start()))
    };
    fields.into_iter().map(pair).collect()
}

/// The text if it is nothing but digits: `str::parse` also takes a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Reads a string literal of Zeek's script language (`scan.l`, `CCL`; `util.cc, expand_escape`).
fn unquote(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return None,
            b'\\' => {}
            other => {
                bytes.push(other);
                continue;
            }
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => return None,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script<T: Value>(text: &str) -> Option<T> {
        T::parse(text, Notation::Script).ok()
    }

    #[test]
    fn strings_need_quotes_in_scripts_only() {
        assert_eq!(script::<String>(r#""controller""#).as_deref(), Some("controller"));
        assert_eq!(script::<String>("controller"), None);
        assert_eq!(script::<String>(r#""a" + "b""#), None);
        assert_eq!(script::<String>(r#""a\"b\\\x41""#).as_deref(), Some("a\"b\\A"));
        assert_eq!(String::parse("controller", Notation::Bare).unwrap(), "controller");
    }

    #[test]
    fn ports_need_their_protocol() {
        assert_eq!(script::<Port>("2150/tcp"), Some(Port::tcp(2150)));
        assert_eq!(
            script::<Port>("0/unknown"),
            Some(Port {
                number: 0,
                protocol: Protocol::Unknown
            })
        );
        for wrong in ["2150", "tcp", "65536/tcp", "+1/tcp", "-1/tcp", "2150/sctp", ""] {
            assert_eq!(script::<Port>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn intervals_take_every_unit_of_zeek() {
        for (text, milliseconds) in [
            ("1sec", 1_000),
            ("10 secs", 10_000),
            ("1.5hrs", 5_400_000),
            ("1 hr", 3_600_000),
            ("2mins", 120_000),
            ("500 msec", 500),
            ("0secs", 0),
            ("1 day", 86_400_000),
        ] {
            assert_eq!(
                script::<Duration>(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for wrong in ["1", "sec", "-1 sec", "1 fortnight", "1e400 sec", "nan sec", "1 s"] {
            assert_eq!(script::<Duration>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_of_day_stay_within_the_day() {
        assert_eq!(script::<TimeOfDay>("\"1:30\""), Some(TimeOfDay { minutes: 90 }));
        assert_eq!(script::<TimeOfDay>("\"24:00\""), None);
        assert_eq!(script::<TimeOfDay>("\"1:60\""), None);
    }
}
