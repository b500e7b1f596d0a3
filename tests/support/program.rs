//! The workspace's programs, built as operators build them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cargo_metadata::Message;
use serde_json::Value;

use super::{limit::output_of, workspace_root};

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// Waits for the end of a program whose outputs are piped.
    pub(crate) fn of(child: Child, what: &str, started: Instant) -> Self {
        let output = output_of(child, what);
        Self {
            exit: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("it prints UTF-8"),
            elapsed: started.elapsed(),
        }
    }

    /// What it printed; it must have ended like this.
    #[track_caller]
    pub(crate) fn json(&self, exit: i32) -> Value {
        assert_eq!(self.exit, exit, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It must have ended like this, and said so on standard error.
    #[track_caller]
    pub(crate) fn failed(&self, exit: i32, words: &str) {
        assert_eq!(self.exit, exit, "{self:?}");
        assert!(self.stderr.contains(words), "{words}: {}", self.stderr);
    }

    /// What it printed; it must have ended with 0.
    #[track_caller]
    pub(crate) fn printed(&self) -> &str {
        assert_eq!(self.exit, 0, "{self:?}");
        &self.stdout
    }
}

/// Runs one of our programs in a directory, with nothing of this process's environment, until its end.
pub(crate) fn run(program: &Path, directory: &Path, arguments: &[&str]) -> Outcome {
    run_command(Command::new(program).args(arguments).current_dir(directory))
}

pub(crate) fn run_command(command: &mut Command) -> Outcome {
    let started = Instant::now();
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("the program can be run");
    Outcome::of(child, "the program", started)
}

/// Builds a program of a package and returns where it is. Its package alone: with the features of dependencies that operators get,
/// not those that tests add.
pub(crate) fn build(package: &str, program: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace_root());
    command.args([
        "build",
        "--locked",
        "--package",
        package,
        "--bin",
        program,
        "--no-default-features",
    ]);
    command.arg("--message-format=json");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{program} does not build");
    Message::parse_stream(output.stdout.as_slice())
        .filter_map(|message| match message.expect("cargo's messages can be read") {
            Message::CompilerArtifact(artifact) if artifact.target.name == program => artifact.executable,
            _ => None,
        })
        .last()
        .expect("cargo names the program it built")
        .into()
}
