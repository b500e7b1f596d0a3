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

use std::{env, fmt::Write as _, fs, iter::zip, path::Path, time::Duration};

use broker_codec::EndpointId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What a transcript is about.
pub trait Machine: Default {
    /// Takes a line in front of the inputs.
    fn prepare(&mut self, line: &str);

    /// Takes an input, without `> `, and writes the actions.
    fn input(&mut self, text: &str, out: &mut String);
}

/// One test for each transcript in a folder of the package, and one that none is forgotten.
#[macro_export]
macro_rules! transcripts {
    ($folder:literal, $machine:ty: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder);
                $crate::transcript::check::<$machine>(folder.as_ref(), stringify!($name));
            }
        )*

        #[test]
        fn every_transcript_is_checked() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder);
            assert_eq!($crate::transcript::names(folder.as_ref()), [$(stringify!($name)),*]);
        }
    };
}

/// Runs a transcript and compares.
pub fn check<M: Machine>(folder: &Path, name: &str) {
    let path = folder.join(format!("{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let actual = run(&mut M::default(), &expected);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).expect("a transcript can be written");
        return;
    }
    let same = zip(expected.lines(), actual.lines()).take_while(|(expected, actual)| expected == actual);
    let same = same.count();
    let rest: Vec<_> = actual.lines().skip(same).collect();
    assert!(
        actual == expected,
        "{name}.txt differs from line {} on; what really happened:\n{}",
        same + 1,
        rest.join("\n")
    );
}

/// The transcript with the actions that are really taken.
fn run(machine: &mut impl Machine, text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('<')).peekable();
    while let Some(line) = lines.next() {
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
    out
}

/// The names of all transcripts in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the folder is there");
    let name = |file: fs::DirEntry| Some(file.path().file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = files.filter_map(|file| name(file.ok()?)).collect();
    names.sort();
    names
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
