//! Programs that tests make and then run.
//!
//! Another process writes them. If the test's own process did, a thread that starts a program at that moment would hand its child the
//! file, open for writing, for as long as the child takes to call `execve`; and Linux runs no file that is open for writing (`ETXTBSY`).

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Writes a script that can be run.
pub fn write_executable(path: &Path, text: &str) {
    let mut install = install(Path::new("/dev/stdin"), path);
    let mut child = install.stdin(Stdio::piped()).spawn().expect("install can be run");
    let mut script = child.stdin.take().expect("it is piped");
    script.write_all(text.as_bytes()).expect("install reads it");
    drop(script);
    assert!(child.wait().expect("it ends").success(), "{}", path.display());
}

/// Copies a program, which can be run.
pub fn copy_executable(from: &Path, to: &Path) {
    let mut install = install(from, to);
    assert!(
        install.status().expect("install can be run").success(),
        "{}",
        to.display()
    );
}

fn install(from: &Path, to: &Path) -> Command {
    let mut install = Command::new("install");
    install.args(["-D", "--mode=755", "--"]).arg(from).arg(to);
    install
}
