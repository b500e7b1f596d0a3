//! The dialects of the API that no recording shows, or not all of: transcripts at the wire, of the controller with its translators and
//! of the agent with its.

mod agent;
mod controller;
pub(crate) mod notation;
mod processes;

use std::{env, fs, path::PathBuf};

use crate::support::workspace_root;

/// Runs a transcript, and compares what it says with what `run` makes of its lines that do not begin with `<`. `UPDATE_EXPECT=1`
/// writes instead.
fn compare(name: &str, run: impl Fn(&str, &mut String)) {
    let path: PathBuf = workspace_root().join(format!("tests/transcripts/dialects/{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut actual = String::new();
    run(&expected, &mut actual);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).expect("the transcript can be written");
        return;
    }
    let mut lines = std::iter::zip(expected.lines(), actual.lines());
    let same = lines
        .by_ref()
        .take_while(|(expected, actual)| expected == actual)
        .count();
    let rest: Vec<&str> = actual.lines().skip(same).collect();
    assert!(
        actual == expected,
        "{name}.txt differs from line {} on; what really happened:\n{}",
        same + 1,
        rest.join("\n")
    );
}

/// The lines that say what happens, those that continue one joined to it. Other lines are passed on to `out`, as are these.
fn happenings(text: &str, out: &mut String, mut happen: impl FnMut(&str, &mut String)) {
    let mut lines = text.lines().filter(|line| !line.starts_with('<')).peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let mut joined = line.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(">  ")) {
            out.push_str(more);
            out.push('\n');
            joined.push(' ');
            joined.push_str(more[1..].trim_start());
        }
        if joined.is_empty() || joined.starts_with('#') {
            continue;
        }
        happen(&joined, out);
    }
}
