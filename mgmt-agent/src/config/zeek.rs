//! The Zeek that is installed: which one it is, and what of the Management framework it has.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mgmt_api::SupervisorLayout;
use mgmt_host::config::{Environment, Installation, Notation, Value};

/// The framework's scripts below `share/zeek`, by which Zeek finds them and we can tell whether it does.
pub(super) const NODE_SCRIPT: &str = "policy/frameworks/management/node";
pub(super) const SHIM: &str = "policy/frameworks/management/supervisor";

/// What is known of the installed Zeek.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InstalledZeek {
    /// The program, if it is there.
    pub(super) program: Option<PathBuf>,
    /// What it says that it is.
    pub(super) version: Option<String>,
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
    pub(super) fn layout(&self) -> Option<SupervisorLayout> {
        self.version.as_deref().and_then(SupervisorLayout::of_version)
    }
}

/// Whether an installation lacks a script. One that cannot be found, because it is elsewhere, lacks nothing.
pub(super) fn lacks_script(prefix: &Path, script: &str) -> bool {
    let scripts = prefix.join("share/zeek");
    let script = scripts.join(script);
    !script.is_dir() && scripts.join("base/init-default.zeek").is_file()
}

fn version(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
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
        format!("that of Zeek {}", self.0.name())
    }
}
