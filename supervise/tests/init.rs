//! The first process of a container, as far as any process can be one: orphans below a subreaper become its children, too. There is one
//! test here, as all children of its process are waited for.

use std::process::{Command, ExitCode};

use rustix::process::{getpid, set_child_subreaper};
use supervise::init;

fn run(script: &str) -> ExitCode {
    init::run(Command::new("/bin/sh").args(["-c", script])).unwrap()
}

#[test]
fn the_first_process_waits_for_orphans_and_ends_as_its_program_does() {
    set_child_subreaper(Some(getpid())).unwrap();
    // An orphan that has ended is there until it is waited for.
    let orphan =
        "pid=$(sh -c 'sleep 0.1 >&- & echo $!'); while kill -0 $pid; do sleep 0.01; done 2>&-; exit 7";
    assert_eq!(run(orphan), ExitCode::from(7));
    assert_eq!(run("kill -9 $$"), ExitCode::from(128 + 9));
    let asked = "trap 'exit 8' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
    assert_eq!(run(asked), ExitCode::from(8));
}
