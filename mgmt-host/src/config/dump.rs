//! What `dump-config` prints.

use std::fmt::Write;

use super::Effective;

/// Each setting, one a line: name, value, origin.
pub fn dump_text(effective: &[Effective]) -> String {
    let width = |of: fn(&Effective) -> &str| effective.iter().map(|shown| of(shown).len()).max().unwrap_or(0);
    let (names, values) = (width(|shown| shown.name), width(|shown| &shown.value));
    let mut text = String::new();
    for shown in effective {
        let note = shown
            .note
            .as_deref()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:names$} = {:values$}  # {}{note}",
            shown.name, shown.value, shown.origin
        );
    }
    text
}

/// Each setting, as a JSON array of objects with `name`, `value`, `origin` and sometimes `note`.
pub fn dump_json(effective: &[Effective]) -> String {
    let mut text = serde_json::to_string_pretty(effective).unwrap_or_default();
    text.push('\n');
    text
}
