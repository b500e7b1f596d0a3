//! The first process of a container. Every process whose parent has ended becomes its child, and stays as a zombie until it waits for it.
//!
//! A program that also starts processes of its own cannot wait for all: it would take their status from what waits for that one. So the
//! first process does nothing else, and the program is its child.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{self, Command, ExitCode},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait},
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// What the first process is asked for is meant for the program.
const PASSED_ON: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
];

/// Whether this is the first process.
pub fn is_needed() -> bool {
    process::id() == 1
}

/// Runs a program to its end, and ends as it did: with its exit code, or 128 and the number of the signal.
pub fn run(command: &mut Command) -> io::Result<ExitCode> {
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(keep(command))
}

async fn keep(command: &mut Command) -> io::Result<ExitCode> {
    let mut ended = signal(SignalKind::child())?;
    // What is typed at the terminal comes from us, and so once.
    let child = command.process_group(0).spawn()?;
    let child = Pid::from_raw(child.id().cast_signed()).ok_or(Errno::SRCH)?;
    for passed_on in PASSED_ON {
        let mut asked = signal(SignalKind::from_raw(passed_on.as_raw()))?;
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                // One that has ended is waited for soon.
                let _ = kill_process(child, passed_on);
            }
        });
    }
    loop {
        if let Some(status) = reap(child)? {
            let signal = || 128 + status.terminating_signal().unwrap_or_default();
            let code = status.exit_status().unwrap_or_else(signal);
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
        }
        ended.recv().await;
    }
}

/// Waits for all that have ended. Returns how this one did, if it has.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((id, status))) if id == child => return Ok(Some(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
