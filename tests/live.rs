//! With an installed Zeek: our controller, our agent, a `zeek -j` that the agent starts, real cluster nodes, and the real
//! zeek-client. Where there is no Zeek it cannot run, and says so.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mgmt_api::SupervisorLayout;

use crate::{agent_recorded::repeat_with, support::cluster::Protection};

#[test]
fn the_recorded_session_with_the_zeek_that_is_installed() {
    match installed_zeek() {
        Ok(prefix) => repeat_with("a2c", &Protection::Anonymous, Some(&prefix)),
        Err(why) => pending(&why),
    }
}

/// Says what was not tested past the test's captured output: whoever reads the outcome must see it.
pub(crate) fn pending(why: &str) {
    let line = format!("live-pending: {why}\n");
    io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error works");
}

/// The prefix of a Zeek of 5.0 or later on PATH; or why there is none.
pub(crate) fn installed_zeek() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let zeek = env::split_paths(&path)
        .map(|directory| directory.join("zeek"))
        .find(|candidate| candidate.is_file())
        .ok_or("there is no zeek on PATH")?;
    let output = Command::new(&zeek)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", zeek.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // What came before 5.0 has a layout as well.
    let usable = SupervisorLayout::of_version(&version).is_some() && !version.contains("version 4.");
    if !usable {
        return Err(format!("{} is {version:?}, not 5.0 to 9.0", zeek.display()));
    }
    let real = zeek.canonicalize().map_err(|error| error.to_string())?;
    real.parent()
        .and_then(Path::parent)
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} is not in the bin of an installation", real.display()))
}
