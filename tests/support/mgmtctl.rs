//! `mgmtctl`, as operators have it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Instant,
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

/// The same, with a file as its standard input.
pub(crate) fn ask_with(directory: &Path, arguments: &[&str], stdin: &Path) -> Outcome {
    let started = Instant::now();
    let stdin = File::open(stdin).expect("it can be read");
    let child = command(directory, arguments).stdin(stdin).spawn();
    Outcome::of(child.expect("mgmtctl can be started"), "mgmtctl", started)
}

/// Starts it; the caller has to wait for its end.
pub(crate) fn begin(directory: &Path, arguments: &[&str]) -> Child {
    let child = command(directory, arguments).stdin(Stdio::null()).spawn();
    child.expect("mgmtctl can be started")
}

/// What a shell offers in place of the last of these words.
pub(crate) fn completed(directory: &Path, words: &[&str]) -> Vec<String> {
    let started = Instant::now();
    let mut command = Command::new(binary());
    command
        .args(["--", "mgmtctl", "--socket"])
        .arg(directory.join("control.sock"))
        .args(words)
        .env_clear()
        .env("MGMTCTL_COMPLETE", "fish")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("mgmtctl can be started");
    let completed = Outcome::of(child, "mgmtctl for a shell", started);
    completed.printed().lines().map(str::to_owned).collect()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--socket")
        .arg(directory.join("control.sock"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A printed status without what differs from run to run: process ids, times, ids of configurations, columns' widths.
pub(crate) fn masked(status: &str) -> String {
    let replaced = [
        (r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID"),
        (r" since [0-9-]+T[0-9:]+Z", " since ?"),
        (r"\b[0-9-]+T[0-9:]+Z", "AT"),
        (r"\b[0-9.]+ (s|min)( [0-9]+ s)?", "TIME"),
        (r"\b[0-9]+ +TIME", "PID TIME"),
        (r"([A-Z]) +[0-9]+ +-", "$1 PID -"),
        (r"\b(127|10)\.0\.0\.\d+|\d\d:\d\d:\d\d", "?"),
        (r"\b(CRASHED|FAILED) +[0-9]+ +exit", "$1 PID exit"),
        (r"\bPID [0-9]+", "PID"),
        (r" +", " "),
    ];
    let mask = |text: String, (pattern, by): &(&str, &str)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *by).into_owned()
    };
    replaced.iter().fold(status.to_owned(), mask)
}

/// A text without the numbers of ports, and the ids of configurations that the controller gives.
pub(crate) fn without_ids(text: &str) -> String {
    let replaced = [
        ("port [0-9]+", "port PORT"),
        (r"\bconfiguration [0-9A-Za-z]{16,}", "configuration ID"),
    ];
    replaced.iter().fold(text.to_owned(), |text, (pattern, by)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *by).into_owned()
    })
}
