//! The workspace's programs, built as operators build them.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use cargo_metadata::Message;

use super::workspace_root;

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
