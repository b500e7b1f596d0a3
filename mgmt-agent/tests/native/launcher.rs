//! The process that becomes a node.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use mgmt_agent::supervisors::own::Launch;
use tempfile::TempDir;

use crate::world::{PROGRAM, launch, write};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("launch").args(arguments).env("NOT_OURS", "x");
    command.stdin(Stdio::piped()).output().unwrap()
}

fn in_directory(directory: &Path) -> Output {
    run(&[directory.to_str().unwrap()])
}

fn launched(launch: &Launch) -> Output {
    in_directory(&write(launch))
}

/// It must have ended like this, with one line that says so.
#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{words}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("mgmt-agent launch: "), "{said}");
}

#[test]
fn the_node_has_its_environment_and_limits_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let script = "env | sort; cat /proc/self/limits | grep 'open files'; echo $$ $(cut -d' ' -f6,19 /proc/$$/stat); readlink /proc/$$/fd/0; ls; cat run.json";
    let mut launch = launch(home.path(), "w", script);
    launch.environment.insert("CLUSTER_NODE".into(), "w".into());
    launch.limits.nice = Some(5);
    launch.limits.open_files = Some(200);
    launch.limits.cpus = vec![0];
    let directory = write(&launch);
    fs::write(directory.join(".status"), "RUNNING [run_loop]").unwrap();
    let child = Command::new(PROGRAM)
        .arg("launch")
        .arg(&directory)
        .env("NOT_OURS", "x")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("CLUSTER_NODE=w\n") && !said.contains("NOT_OURS"),
        "{said}"
    );
    let limit = said
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("200"), "{limit}");
    let ids = said
        .lines()
        .find(|line| line.trim_start().starts_with(&pid.to_string()))
        .unwrap();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!(ids, [pid.to_string().as_str(), &pid.to_string(), "5"]);
    assert!(
        said.contains("\n/dev/null\n") && !said.contains(".status"),
        "{said}"
    );
    assert!(said.contains(&format!("{{\"pid\":{pid},")), "{said}");
}

#[test]
fn what_keeps_a_node_from_starting_is_one_line_with_a_code_of_its_own() {
    refused(&run(&[]), 64, "mgmt-agent launch DIRECTORY");
    refused(&run(&["/nonexistent"]), 74, "cannot use /nonexistent");
    let home = tempfile::tempdir().unwrap();
    refused(&in_directory(home.path()), 78, "node.json");
    let change = |change: &dyn Fn(&mut Launch)| {
        let mut launch = launch(home.path(), "w", "exit 0");
        change(&mut launch);
        launched(&launch)
    };
    assert!(change(&|_| {}).status.success());
    refused(
        &change(&|launch| launch.program = "/nonexistent/zeek".into()),
        127,
        "cannot execute /nonexistent/zeek",
    );
    refused(
        &change(&|launch| launch.program = "/dev/null".into()),
        126,
        "/dev/null",
    );
    refused(
        &change(&|launch| launch.limits.cpus = vec![0, 1000]),
        78,
        "cannot have CPU 1000",
    );
    refused(
        &change(&|launch| launch.limits.numa = Some("x".into())),
        78,
        "NUMA policy x",
    );
    let before = |command: &str| change(&|launch| launch.before_start = Some(command.into()));
    refused(
        &before("exit 7"),
        69,
        "before_start of node w failed (exit status: 7)",
    );
    let output = before("echo \"$PATH\" > before; pwd");
    assert!(output.status.success());
    let written = fs::read_to_string(home.path().join("nodes/w/before")).unwrap();
    assert_eq!(written, "/usr/bin:/bin\n");
}

#[test]
fn a_file_that_others_may_read_or_that_is_none_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = write(&launch(home.path(), "w", "exit 0"));
    let node = directory.join("node.json");
    fs::set_permissions(&node, fs::Permissions::from_mode(0o640)).unwrap();
    refused(&in_directory(&directory), 78, "has mode 0640");
    fs::rename(&node, directory.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &node).unwrap();
    refused(&in_directory(&directory), 78, "node.json");
    fs::remove_file(&node).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg("-m")
            .arg("600")
            .arg(&node)
            .status()
            .unwrap()
            .success()
    );
    refused(&in_directory(&directory), 78, "node.json");
    fs::remove_file(&node).unwrap();
    fs::write(&node, "{}").unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o600)).unwrap();
    refused(
        &in_directory(&directory),
        78,
        "does not say what to start: missing field",
    );
}

#[test]
fn there_are_never_two_of_a_node() {
    let home: TempDir = tempfile::tempdir().unwrap();
    let directory = write(&launch(
        home.path(),
        "w",
        "echo; test -e once || { touch once; exec sleep 600; }",
    ));
    let mut first = Command::new(PROGRAM)
        .arg("launch")
        .arg(&directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(first.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let second = in_directory(&directory);
    refused(
        &second,
        75,
        &format!("runs already: its lock is in use by process {} (", first.id()),
    );
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(
        !in_directory(&directory)
            .stderr
            .starts_with(b"mgmt-agent launch: the node")
    );
}
