//! The Zeek that is installed: which one it is, and what of the Management framework it has.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use mgmt_api::SupervisorLayout;
use mgmt_daemon::config::{Environment, Installation, Notation, Value};

/// The framework's scripts below `share/zeek`, by which Zeek finds them and we can tell whether it does.
pub(super) const NODE_SCRIPT: &str = "policy/frameworks/management/node";
pub(super) const SHIM: &str = "policy/frameworks/management/supervisor";

/// What is known of the installed Zeek.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledZeek {
    /// The program, if it is there.
    pub program: Option<PathBuf>,
    /// What it says that it is.
    pub version: Option<String>,
}

impl InstalledZeek {
    /// The Zeek of the installation, else the one on PATH.
    pub(super) fn find(installation: &Installation, environment: &Environment) -> Self {
        let program = Some(installation.prefix.join("bin/zeek"))
            .filter(|program| program.is_file())
            .or_else(|| environment.program("zeek"));
        let version = program.as_deref().and_then(version);
        Self { program, version }
    }

    /// The layout of its Supervisor's records.
    pub(crate) fn layout(&self) -> Option<SupervisorLayout> {
        self.version.as_deref().and_then(SupervisorLayout::of_version)
    }
}

/// Whether an installation lacks a script. One that cannot be found, because it is elsewhere, lacks nothing.
pub(super) fn lacks_script(prefix: &Path, script: &str) -> bool {
    let scripts = prefix.join("share/zeek");
    let script = scripts.join(script);
    !script.is_dir() && scripts.join("base/init-default.zeek").is_file()
}

/// Whether Zeek finds a script by this name where it looks.
pub(crate) fn finds_script(folders: &[&Path], script: &str) -> bool {
    folders.iter().any(|folder| {
        let path = folder.join(script);
        let with_extension = folder.join(format!("{script}.zeek"));
        path.is_file() || with_extension.is_file() || path.join("__load__.zeek").is_file()
    })
}

/// How long a running agent waits for a Zeek to say which one it is.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// What a Zeek says that it is now: it may have been replaced.
pub(crate) async fn version_now(program: PathBuf) -> Option<String> {
    let mut command = tokio::process::Command::from(ask_version(&program));
    let output = command.kill_on_drop(true).output();
    read_version(tokio::time::timeout(VERSION_TIMEOUT, output).await.ok()?.ok()?)
}

fn version(program: &Path) -> Option<String> {
    read_version(ask_version(program).output().ok()?)
}

fn ask_version(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn read_version(output: Output) -> Option<String> {
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// A [`SupervisorLayout`] as a setting: any version of Zeek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout(pub(super) SupervisorLayout);

impl Value for Layout {
    const EXPECTED: &'static str = "a version of Zeek from 5.0 to 9.0, as in 6.0.9";

    fn read(text: &str, _: Notation) -> Option<Self> {
        SupervisorLayout::of_version(&format!("version {text}")).map(Self)
    }

    fn show(&self) -> String {
        format!("that of Zeek {}", self.0)
    }
}
