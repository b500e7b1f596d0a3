//! Values as text that says what they are: `-` (none), `T`, `F`, `1` (count), `+1` (int), `"text"`, `10.0.0.1`, `5000/tcp`,
//! `Module::VALUE`, `[a, b]` (vector), `{a, b}` (set), `{a -> b}` and `{->}` (table). An event is a name with arguments in parentheses.

use broker_codec::{
    Data,
    data::{EnumValue, Set, Table},
    zeek::Event,
};

/// Reads an event, without metadata.
pub(crate) fn event(text: &str) -> Event {
    let (name, args) = text
        .split_once('(')
        .unwrap_or_else(|| panic!("not an event: {text}"));
    let mut rest = args;
    let args = elements(&mut rest, ')');
    assert!(rest.is_empty(), "{rest:?} after the event {text}");
    Event {
        name: name.into(),
        args,
        metadata: None,
    }
}

/// Writes an event as [`event`] reads it.
pub(crate) fn show_event(event: &Event) -> String {
    format!("{}({})", event.name, joined(&event.args))
}

fn joined<'a>(values: impl IntoIterator<Item = &'a Data>) -> String {
    let values: Vec<String> = values.into_iter().map(show).collect();
    values.join(", ")
}

fn show(value: &Data) -> String {
    match value {
        Data::None => "-".into(),
        Data::Integer(number) => format!("{number:+}"),
        Data::String(text) => format!("{:?}", text.to_string()),
        Data::Vector(elements) => format!("[{}]", joined(elements)),
        Data::Set(elements) => format!("{{{}}}", joined(elements)),
        Data::Table(entries) if entries.is_empty() => "{->}".into(),
        Data::Table(entries) => {
            let entries = entries.iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{} -> {}", show(key), show(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// Reads values up to the closing bracket, which is taken as well.
fn elements(rest: &mut &str, close: char) -> Vec<Data> {
    let mut elements = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(close) {
            *rest = after;
            return elements;
        }
        elements.push(value(rest));
        *rest = rest.trim_start();
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn value(rest: &mut &str) -> Data {
    let text = *rest;
    if let Some(after) = text.strip_prefix('[') {
        *rest = after;
        return Data::Vector(elements(rest, ']'));
    }
    if let Some(after) = text.strip_prefix("{->}") {
        *rest = after;
        return Data::Table(Table::default());
    }
    if let Some(after) = text.strip_prefix('{') {
        *rest = after;
        return set_or_table(rest);
    }
    if let Some(after) = text.strip_prefix('"') {
        let (text, after) = after.split_once('"').expect("a string ends");
        *rest = after;
        return Data::String(text.into());
    }
    let end = text.find([',', ']', '}', ')', ' ']).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    leaf(word)
}

fn set_or_table(rest: &mut &str) -> Data {
    let mut keys = Vec::new();
    let mut entries = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return if entries.is_empty() {
                Data::Set(Set::from_iter(keys))
            } else {
                Data::Table(Table::try_from(entries).expect("each key once"))
            };
        }
        let key = value(rest);
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("->") {
            *rest = after.trim_start();
            entries.push((key, value(rest)));
        } else {
            keys.push(key);
        }
        *rest = rest.trim_start();
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn leaf(word: &str) -> Data {
    match word {
        "-" => return Data::None,
        "T" => return Data::Boolean(true),
        "F" => return Data::Boolean(false),
        _ => {}
    }
    if word.contains("::") {
        return Data::EnumValue(EnumValue(word.into()));
    }
    if word.contains('/') {
        return Data::Port(word.parse().expect("a port"));
    }
    if word.contains('.') {
        return Data::Address(word.parse().expect("an address"));
    }
    if let Some(number) = word.strip_prefix('+') {
        return Data::Integer(number.parse().expect("an int"));
    }
    let number = word.parse();
    Data::Count(number.unwrap_or_else(|_| panic!("not a value: {word}")))
}
