//! `mgmtctl`, as operators have it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use regex_lite::Regex;

use super::program::{self, Outcome};

/// The program, built once per run of the tests.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::build("mgmt-client", "mgmtctl"))
}

/// Asks the daemon that works in this directory.
pub(crate) fn ask(directory: &Path, arguments: &[&str]) -> Outcome {
    let socket = directory.join("control.sock");
    let socket = socket.to_str().expect("a plain path");
    program::run(binary(), directory, &[&["--socket", socket], arguments].concat())
}

/// A printed status without what differs from run to run: process ids, times, ids of configurations, columns' widths.
pub(crate) fn masked(status: &str) -> String {
    let replaced = [
        (r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID"),
        (r"\b[0-9.]+ (s|min)( [0-9]+ s)?", "TIME"),
        (r"\b[0-9]+ +TIME", "PID TIME"),
        (r"([A-Z]) +[0-9]+ +-", "$1 PID -"),
        (r"127\.0\.0\.1|\d\d:\d\d:\d\d", "?"),
        (r" +", " "),
    ];
    let mask = |text: String, (pattern, by): &(&str, &str)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *by).into_owned()
    };
    replaced.iter().fold(status.to_owned(), mask)
}
