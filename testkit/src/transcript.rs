//! Transcripts: text files that say what a machine does when something happens to it.
//!
//! ```text
//! # A comment. Blank lines are kept as well.
//! settings {...}         before the first input: how the machine is made
//! > input                what happens; lines that begin with `>  ` continue it
//! > +9.5s                time passes, then a tick
//! < action               what the machine does because of it
//! ```
//!
//! Records are JSON objects with Zeek's field names, without fields that are not set. Event names lack their module. Ids of the machine's
//! own are `#1`, `#2`, ... `UPDATE_EXPECT=1 cargo test` rewrites the lines that begin with `<`.

use std::{env, fmt::Write as _, fs, path::Path, thread, time::Duration};

use broker_codec::EndpointId;
use expect_test::expect_file;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What a transcript is about.
pub trait Machine: Default {
    /// Takes a line in front of the inputs.
    fn prepare(&mut self, line: &str) {
        panic!("{line} is no input");
    }

    /// Takes an input, without `> `, and writes the actions.
    fn input(&mut self, text: &str, out: &mut String);

    /// Returns what the machine does where the transcript expects this. For one that does not write its actions itself: it has to be told
    /// where to look.
    fn observe(&mut self, _expected: &str) -> Option<String> {
        None
    }

    /// The transcript is at its end.
    fn end(&mut self) {}
}

/// Runs the transcripts of a folder, of which there must be so many, and compares: each in a thread that is named after it.
pub fn check_all<M: Machine>(folder: impl AsRef<Path>, count: usize) {
    let files = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be read").path()).collect();
    paths.sort();
    assert_eq!(paths.len(), count, "{paths:#?}");
    thread::scope(|scope| {
        for path in &paths {
            let thread = thread::Builder::new().name(path.display().to_string());
            let checked = thread.spawn_scoped(scope, move || {
                let expected = expect_file![path];
                let actual = run(&mut M::default(), &expected.data());
                expected.assert_eq(&actual);
            });
            checked.expect("a thread can be started");
        }
    });
}

/// The transcript with the actions that are really taken.
fn run(machine: &mut impl Machine, text: &str) -> String {
    let updates = env::var_os("UPDATE_EXPECT").is_some();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(expected) = line.strip_prefix("< ") {
            if let Some(seen) = machine.observe(expected) {
                // After the first difference, the rest would be waited for in vain.
                assert!(
                    updates || seen == expected,
                    "{expected}\nis expected, and not\n{seen}"
                );
                writeln!(out, "< {seen}").expect("to memory");
            }
            continue;
        }
        writeln!(out, "{line}").expect("to memory");
        let mut line = line.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(">  ")) {
            writeln!(out, "{more}").expect("to memory");
            line.push(' ');
            line.push_str(more[1..].trim_start());
        }
        if let Some(input) = line.strip_prefix("> ") {
            machine.input(input, &mut out);
        } else if !line.is_empty() && !line.starts_with('#') {
            machine.prepare(&line);
        }
    }
    machine.end();
    out
}

/// Reads `+9.5s`.
pub fn time_passes(text: &str) -> Option<Duration> {
    let seconds = text.strip_prefix('+')?.strip_suffix('s')?;
    Some(Duration::from_secs_f64(seconds.parse().ok()?))
}

/// A peer's id: its letter, sixteen times.
pub fn peer_id(letter: &str) -> EndpointId {
    let [letter] = letter.as_bytes() else {
        panic!("{letter} is not one letter")
    };
    EndpointId::from_bytes([*letter; EndpointId::LEN])
}

pub fn letter(peer: EndpointId) -> char {
    char::from(peer.as_bytes()[0])
}

/// Words separated by spaces; the last takes the rest.
pub fn words<const N: usize>(text: &str) -> [&str; N] {
    let words: Vec<&str> = text.splitn(N, ' ').collect();
    words
        .try_into()
        .unwrap_or_else(|words| panic!("{N} words expected: {words:?}"))
}

/// Changes the settings that these JSON fields name.
pub fn change<S: Serialize + DeserializeOwned>(settings: &mut S, changes: &str) {
    let mut all = json::<Value>(&serde_json::to_string(settings).expect("settings are JSON"));
    for (name, value) in json::<serde_json::Map<_, _>>(changes) {
        let setting = all.get_mut(&name);
        *setting.unwrap_or_else(|| panic!("there is no setting {name}")) = value;
    }
    *settings = serde_json::from_value(all).expect("values of settings");
}

/// Reads an enum's variant from its name and its fields, of which there may be none.
pub fn variant<T: DeserializeOwned>(name: &str, fields: &str) -> T {
    match fields {
        "" => json(&format!("\"{name}\"")),
        fields => json(&format!("{{\"{name}\": {fields}}}")),
    }
}

pub fn json<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// An enum's variant with fields: its name without the module, and the fields.
pub fn name_and_fields(event: &impl Serialize) -> (String, Value) {
    match value(event) {
        Value::Object(entries) if entries.len() == 1 => {
            let (name, fields) = entries.into_iter().next().expect("there is one");
            (name.rsplit("::").next().unwrap_or_default().to_owned(), fields)
        }
        other => panic!("{other} is not an event"),
    }
}

/// A record as JSON, without fields that are not set.
pub fn value(record: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(record).expect("records are JSON");
    remove_nulls(&mut value);
    value
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(remove_nulls),
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        _ => {}
    }
}
