//! The rules of the workspace that no compiler checks.
//!
//! **Deviations from Zeek.** A place in the code that deliberately does something else than Zeek is marked by a comment
//! `DIFFERENCE(key): what and why`, where `key` is a short name in kebab case. docs/deviations.md has one row for each key, in
//! backticks in the first column. One key may stand at several places; a key without a row, a row without a place, and a marker
//! without a key fail the test. The other rules of pages are in [`docs`], too.
//!
//! **Sans-IO.** `caf-bincode-compat`, `broker-codec`, `counters`, `mgmt-api`, every `core/` and `wire/` folder and the agent's Supervisors do no I/O: their dependencies are on
//! allow-lists in [`dependencies`], and their production code names no clock, file, socket, process or thread. Test modules come last in their file,
//! or in files called `tests.rs`, and are exempt.
//!
//! **Log.** No field of a log line has Rust's debug form.
//!
//! **Shape.** Files and functions are short, the daemons share no code by copying it, and imports go in no circles: [`shape`].

mod dependencies;
pub(crate) mod docs;
mod shape;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{Metadata, MetadataCommand};
use regex_lite::Regex;
use sha2::{Digest, Sha256};

use crate::support::workspace_root;

/// The crates below the sans-IO line, with their folders.
const SANS_IO: &[(&str, &str)] = &[
    (
        "caf-bincode-compat",
        "broker-codec/vendor/caf-bincode-compat/src/",
    ),
    ("broker-codec", "broker-codec/src/"),
    ("counters", "counters/src/"),
    ("mgmt-api", "mgmt-api/src/"),
];

/// What stands between a core and the world, and does no I/O either.
const AROUND_CORES: &[&str] = &[
    "mgmt-agent/src/machine.rs",
    "mgmt-agent/src/supervisors/",
    "mgmt-agent/src/wire/",
    "mgmt-controller/src/wire/",
];

/// What production code below the line must not name.
const IO_WORDS: &str = "Instant SystemTime std::env std::fs std::io::stdin std::io::stdout std::io::stderr std::net::TcpListener \
    std::net::TcpStream std::net::ToSocketAddrs std::net::UdpSocket std::os std::process std::sync::Mutex std::sync::RwLock \
    std::sync::mpsc std::thread thread::spawn thread::sleep thread_local RandomState getrandom rand tokio tracing";

/// Where such a word is no I/O all the same, and why.
const NO_IO: &[(&str, &str)] = &[
    // Not state: what a function leaves there is taken before it returns. serde has no other way to pass a value on whole.
    ("broker-codec/src/data/handed.rs", "thread_local"),
];

/// What no Rust file may contain, in tests or elsewhere, and why.
const BANNED: &[(&str, &str)] = &[
    ("#[ignore", "a test that does not run proves nothing"),
    ("#[should_panic", "errors are values; assert on the value"),
    ("todo!(", "nothing unfinished lands"),
    ("unimplemented!(", "nothing unfinished lands"),
];

/// Fragments of paths that only make sense on the machine of their author; the checkout's own is one more.
const MACHINE_PATHS: &[&str] = &["/home/", "/root/", "/Users/"];

fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace_root())
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = names
        .split_terminator('\0')
        .map(PathBuf::from)
        // A file deleted but not yet committed is still listed.
        .filter(|path| workspace_root().join(path).exists())
        .collect();
    assert!(
        files.len() > 100,
        "only {} files found: this is not a checkout",
        files.len()
    );
    files
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(workspace_root().join(path)).expect("a listed file can be read")).ok()
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    tracked_files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| {
            let text = read(&path).expect("Rust source is UTF-8");
            (path, text)
        })
}

/// What the manifests of the workspace say.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace_root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata")
}

fn report(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

/// The part of a source file that is neither comment nor test module. A test module in a file of its own is only named here, and may be
/// anywhere.
fn production_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split_once("\n#[cfg(test)]\nmod tests {\n");
    numbered(code.map_or(text, |(code, _)| code))
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// What a regular expression finds in lines of a file, with its place.
fn found<'a>(
    what: &Regex,
    path: &Path,
    lines: impl Iterator<Item = (usize, &'a str)>,
) -> impl Iterator<Item = String> {
    lines.flat_map(move |(number, line)| {
        let found = what.find_iter(line);
        found.map(move |found| format!("{}:{number}: {}", path.display(), found.as_str()))
    })
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

/// Each of these words, where it is no part of another one.
fn any_of(words: &str) -> Regex {
    let words: Vec<&str> = words.split_whitespace().collect();
    regex(&format!(r"\b({})\b", words.join("|")))
}

#[test]
fn production_code_below_the_sans_io_line_names_no_clock_file_socket_or_thread() {
    let below = |path: &Path| {
        let path_text = path.to_str().expect("file names are UTF-8");
        let test = path.file_name().is_some_and(|name| name == "tests.rs")
            || path
                .components()
                .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches");
        let sans_io = SANS_IO.iter().any(|(_, folder)| path_text.starts_with(folder))
            || path_text.contains("/src/core/")
            || AROUND_CORES.iter().any(|place| path_text.starts_with(place));
        sans_io && !test
    };
    let words = any_of(IO_WORDS);
    let mut files = 0;
    let mut violations = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| below(path)) {
        files += 1;
        violations.extend(found(&words, &path, production_code(&text)));
        // `use std::{fs, io}` names what no line does.
        let imports = shape::imports(&text);
        violations.extend(found(
            &words,
            &path,
            (0..).zip(imports.iter().map(String::as_str)),
        ));
    }
    assert!(files >= 10, "only {files} files looked at");
    for (path, word) in NO_IO {
        let count = violations.len();
        violations.retain(|violation| !(violation.starts_with(path) && violation.ends_with(word)));
        if violations.len() == count {
            violations.push(format!("{path}: no {word}, and a row for it"));
        }
    }
    report("I/O below the sans-IO line", &violations);
}

/// `mgmt_daemon::files` gives what a daemon makes a mode that others than the owner and its group have no use of.
#[test]
fn daemons_make_files_and_directories_by_one_module() {
    let daemon = |path: &Path| {
        let text = path.to_string_lossy();
        ["mgmt-daemon/src/", "mgmt-controller/src/", "mgmt-agent/src/"]
            .iter()
            .any(|folder| text.starts_with(folder))
            && !text.ends_with("/tests.rs")
            && text != "mgmt-daemon/src/files.rs"
    };
    let makers = any_of("fs::write File::create fs::create_dir fs::create_dir_all");
    let options = regex(r"OpenOptions::new\(\)");
    let mut violations = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| daemon(path)) {
        violations.extend(found(&makers, &path, production_code(&text)));
        if !text.contains(".mode(0o600)") {
            violations.extend(found(&options, &path, production_code(&text)));
        }
    }
    report("files without a mode", &violations);
}

#[test]
fn nothing_banned_is_used() {
    let mut violations = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| path != Path::new("tests/tidy.rs")) {
        for (number, line) in numbered(&text) {
            for (banned, reason) in BANNED.iter().filter(|(banned, _)| line.contains(banned)) {
                violations.push(format!("{}:{number}: {banned}: {reason}", path.display()));
            }
        }
    }
    report("banned", &violations);
}

/// Rust's debug form is for Rust's readers: in a JSON log `None` or `Some("x")` is a text that no program expects.
#[test]
fn no_field_of_a_log_line_has_the_debug_form() {
    // The code before the first text of a line.
    let debug_field = regex(r#"^([^"]*[ (,])?\?[a-z_].*"#);
    let mut violations = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| path.iter().any(|part| part == "src")) {
        if path.file_name().is_none_or(|name| name != "tests.rs") {
            violations.extend(found(&debug_field, &path, production_code(&text)));
        }
    }
    report("debug forms in the log", &violations);
}

#[test]
fn every_fixture_has_its_recorded_hash() {
    let sums = read(Path::new("fixtures/SHA256SUMS")).expect("the list is UTF-8");
    let mut expected: BTreeMap<String, &str> = sums
        .lines()
        .map(|line| {
            line.split_once("  ")
                .expect("a line is a hash, two spaces and a path")
        })
        .map(|(hash, path)| (format!("fixtures/{path}"), hash))
        .collect();
    let mut violations = Vec::new();
    for path in tracked_files() {
        let name = path.to_str().expect("file names are UTF-8");
        if !name.starts_with("fixtures/") || ["fixtures/README.md", "fixtures/SHA256SUMS"].contains(&name) {
            continue;
        }
        let hash = hex::encode(Sha256::digest(
            fs::read(workspace_root().join(&path)).expect("fixture"),
        ));
        match expected.remove(name) {
            Some(recorded) if recorded == hash => {}
            Some(recorded) => violations.push(format!("{name}: {hash}, recorded {recorded}")),
            None => violations.push(format!("{name} is not in SHA256SUMS")),
        }
    }
    violations.extend(
        expected
            .keys()
            .map(|name| format!("{name} is in SHA256SUMS but not there")),
    );
    report("fixtures", &violations);
}

/// By the one for its folder, which runs all that are there; handshakes in memory and over TCP.
#[test]
fn every_transcript_is_checked_by_one_test() {
    let sources: Vec<String> = rust_files()
        .filter(|(path, _)| path.starts_with("tests"))
        .map(|(_, text)| text)
        .collect();
    let mut transcripts = 0;
    let mut violations = Vec::new();
    for path in tracked_files()
        .into_iter()
        .filter(|path| path.starts_with("tests/transcripts"))
    {
        transcripts += 1;
        let folder = path.parent().expect("it is in a folder");
        let call = format!("join(\"{}\")", folder.display());
        let checks: usize = sources.iter().map(|text| text.matches(&call).count()).sum();
        let expected = if folder.ends_with("handshake") { 2 } else { 1 };
        if checks != expected {
            violations.push(format!("{} is checked by {checks} tests", path.display()));
        }
    }
    assert!(transcripts >= 8, "only {transcripts} transcripts found");
    report("transcripts", &violations);
}

#[test]
fn nothing_names_a_path_on_the_machine_of_its_author() {
    let mut violations = Vec::new();
    let checkout = format!("{}/", workspace_root().display());
    let fragments: Vec<&str> = MACHINE_PATHS.iter().copied().chain([checkout.as_str()]).collect();
    for path in tracked_files()
        .into_iter()
        .filter(|path| path != Path::new("tests/tidy.rs"))
    {
        let Some(text) = read(&path) else { continue };
        for (number, line) in numbered(&text) {
            if let Some(fragment) = fragments.iter().find(|fragment| line.contains(**fragment)) {
                violations.push(format!("{}:{number}: {fragment}", path.display()));
            }
        }
    }
    report("paths", &violations);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = read(Path::new("Cargo.toml")).expect("the manifest is UTF-8");
    assert!(
        root.contains("\nunsafe_code = \"forbid\"\n"),
        "the workspace's lints forbid unsafe code"
    );
    let mut violations = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
        if !manifest.contains("\n[lints]\nworkspace = true\n") {
            violations.push(format!("{} does not take the workspace's lints", package.name));
        }
    }
    report("lints", &violations);
}

#[test]
fn every_shell_script_can_be_executed() {
    use std::os::unix::fs::PermissionsExt;

    let mut scripts = tracked_files();
    scripts.retain(|path| path.extension().is_some_and(|ext| ext == "sh") || path == Path::new(".ci/run"));
    assert!(scripts.len() >= 3, "only {} scripts found", scripts.len());
    let mode = |path: &PathBuf| {
        let metadata = fs::metadata(workspace_root().join(path));
        metadata.expect("a listed file exists").permissions().mode()
    };
    scripts.retain(|path| mode(path) & 0o111 == 0);
    let violations: Vec<_> = scripts.iter().map(|path| path.display().to_string()).collect();
    report("scripts that are not executable", &violations);
}

/// A route that is made otherwise than by `routes!`, which is in one file, would be in no `OpenAPI` document.
#[test]
fn routes_are_made_with_what_describes_them() {
    let daemon = |path: &Path| {
        let of = |folder: &&str| path.starts_with(folder);
        ["mgmt-daemon/src", "mgmt-controller/src", "mgmt-agent/src"]
            .iter()
            .any(of)
            && !path.ends_with("http/routes.rs")
    };
    let bare = regex(r"\.(route|route_service|nest|nest_service)\(");
    let mut violations = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| daemon(path)) {
        violations.extend(found(&bare, &path, production_code(&text)));
    }
    report("routes without routes!", &violations);
}
