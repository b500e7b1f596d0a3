//! What `dump-config` prints.

use std::fmt::Write;

use super::{Effective, LogFormat, names, resolve::HIDDEN};
use crate::log::for_terminals;

/// Each setting, one a line: name, value, origin. It is a script that `--redefs` and Zeek read, where settings that Zeek does not have,
/// and values that are not shown, are comments.
pub fn dump_text(effective: &[Effective]) -> String {
    let mut text = String::new();
    let lines: Vec<String> = effective
        .iter()
        .map(|shown| {
            let zeeks = shown.name.contains("::") || shown.name == names::ROTATION_BASE_TIME;
            let keyword = if zeeks && shown.value != HIDDEN {
                "redef "
            } else {
                "#     "
            };
            format!("{keyword}{} = {};", shown.name, shown.value)
        })
        .collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    for (shown, line) in effective.iter().zip(lines) {
        let note = shown
            .note
            .as_deref()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line:width$}  # {}{note}", shown.origin);
    }
    for_terminals(&text, LogFormat::Text)
}

/// Each setting, as a JSON array of objects with `name`, `value`, `origin` and sometimes `note`.
pub fn dump_json(effective: &[Effective]) -> String {
    let mut text = serde_json::to_string_pretty(effective).unwrap_or_default();
    text.push('\n');
    for_terminals(&text, LogFormat::Json)
}
