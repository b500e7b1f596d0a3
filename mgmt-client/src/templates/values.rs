//! The values of keys. Each is read or refused with what is needed instead.

use toml::de::{DeInteger, DeValue};

use super::{
    cpus::{Count, are_cpus, list},
    problems::shown,
};

/// The most loggers, proxies or workers that are asked for in one place.
const NUMBER_MAX: u32 = 1024;

/// What is needed instead of a value.
pub(super) type Needed = String;

pub(super) fn text(value: &DeValue<'_>) -> Result<String, Needed> {
    match value {
        DeValue::String(text) if text.is_empty() => Err("it cannot be empty".to_owned()),
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err("a text in quotes is needed".to_owned()),
    }
}

/// What may be written without quotes where it is a number.
pub(super) fn text_or_number(value: &DeValue<'_>) -> Result<String, Needed> {
    match value {
        DeValue::Integer(number) => integer(number).map(|number| number.to_string()),
        DeValue::String(_) => text(value),
        _ => Err("a text in quotes or a whole number is needed".to_owned()),
    }
}

/// The value of a variable, which may be empty.
pub(super) fn variable(value: &DeValue<'_>) -> Result<String, Needed> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        _ => text_or_number(value),
    }
}

/// The value of an option of Zeek's, as it reads it.
pub(super) fn option(value: &DeValue<'_>) -> Result<String, Needed> {
    match value {
        DeValue::Boolean(true) => Ok("T".to_owned()),
        DeValue::Boolean(false) => Ok("F".to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::String(_) | DeValue::Integer(_) => text_or_number(value),
        _ => Err("a text in quotes, a number, true or false is needed".to_owned()),
    }
}

pub(super) fn texts(value: &DeValue<'_>) -> Result<Vec<String>, Needed> {
    let texts = value
        .as_array()
        .map(|values| values.iter().map(|value| text(value.get_ref())));
    let texts = texts.and_then(|texts| texts.collect::<Result<_, _>>().ok());
    texts.ok_or_else(|| "a list of texts is needed, as in [\"a.zeek\", \"b.zeek\"]".to_owned())
}

/// A whole number of this type, which one is said in words.
pub(super) fn number<T: TryFrom<i64>>(value: &DeValue<'_>, needed: &str) -> Result<T, Needed> {
    let number = value.as_integer().and_then(|number| integer(number).ok());
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{needed} is needed"))
}

/// How many loggers or proxies there are to be.
pub(super) fn how_many(value: &DeValue<'_>) -> Result<u32, Needed> {
    let needed = format!("a number up to {NUMBER_MAX}");
    let number: u32 = number(value, &needed)?;
    if number > NUMBER_MAX {
        Err(format!("{needed} is needed"))
    } else {
        Ok(number)
    }
}

pub(super) fn workers(value: &DeValue<'_>) -> Result<Count, Needed> {
    let count = match value {
        DeValue::String(text) => Count::read(text),
        _ => how_many(value).ok().map(Count::Number),
    };
    count.ok_or_else(|| {
        format!("a number up to {NUMBER_MAX} is needed; or \"cpus\", one for each CPU; or \"cpus - 2\", one for each but two")
    })
}

pub(super) fn cpus(value: &DeValue<'_>) -> Result<Vec<u32>, Needed> {
    let cpus = match value {
        DeValue::String(text) => list(text),
        DeValue::Integer(number) => cpu(number).map(|cpu| vec![cpu]),
        DeValue::Array(values) => values
            .iter()
            .map(|value| cpu(value.get_ref().as_integer()?))
            .collect(),
        _ => None,
    };
    cpus.filter(|cpus| are_cpus(cpus)).ok_or_else(|| {
        "CPUs are needed, each once, by their numbers from 0 to 1023, as in \"2-5,8\" or [2, 3, 8]".to_owned()
    })
}

fn cpu(number: &DeInteger<'_>) -> Option<u32> {
    u32::try_from(integer(number).ok()?).ok()
}

fn integer(number: &DeInteger<'_>) -> Result<i64, Needed> {
    let read = i64::from_str_radix(number.as_str(), number.radix());
    read.map_err(|_| "a smaller number is needed".to_owned())
}

/// A value as an error shows it.
pub(super) fn in_words(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", shown(text)),
        DeValue::Integer(number) => shown(&number.to_string()).to_string(),
        DeValue::Float(number) => shown(number.as_str()).to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
