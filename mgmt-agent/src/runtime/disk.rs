//! The thread that asks the file system, which may not answer for long.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use broker_codec::data::ZeekString;
use broker_endpoint::with_causes;
use mgmt_daemon::files;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::live_logs::{self, Loggers};
use crate::{core::Desired, desired, scripts::Scripts};

/// How many jobs may wait: directories for the nodes of two of the largest deployments.
pub(super) const JOBS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) enum Job {
    /// Create a directory and those above it, unless it is there.
    MakeDirectory(ZeekString),
    /// Write down what should run, in this directory.
    Remember {
        directory: PathBuf,
        desired: Box<Desired>,
    },
    /// See whether there are rotated logs to archive.
    Archive {
        directory: String,
        command: String,
        message: String,
    },
    /// See whether the scripts that nodes load are there.
    KeepScripts(Arc<Scripts>),
    /// Show the logs that nodes write.
    ShowLogs { at: PathBuf, loggers: Loggers },
}

#[derive(Debug)]
pub(super) enum Done {
    /// A directory cannot be created.
    DirectoryFailed {
        path: ZeekString,
        reason: String,
    },
    /// What should run was written down, or not, for this reason.
    Remembered(Result<(), String>),
    Archive {
        command: String,
        message: String,
    },
    /// The scripts that nodes load were not there, and are now, or not, for this reason.
    ScriptsWritten(Result<(), String>),
    /// Logs cannot be shown, for this reason.
    LogsNotShown(String),
}

/// A handle to the thread.
#[derive(Debug)]
pub(super) struct Disk {
    jobs: mpsc::Sender<Job>,
    done: mpsc::UnboundedReceiver<Done>,
}

impl Disk {
    pub(super) fn start() -> io::Result<Self> {
        // A channel of the standard library would take the memory of all jobs from the beginning.
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        // Each job has at most one outcome, and the outcomes are fetched before all else.
        let (outcomes, done) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name(String::from("disk"))
            .spawn(move || work(queue, &outcomes))?;
        Ok(Self { jobs, done })
    }

    /// Hands a job over. Never waits: when too many do, it comes back.
    pub(super) fn hand_over(&self, job: Job) -> Result<(), Job> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Closed(job)) => Err(job),
        }
    }

    /// The next outcome; `None` if the thread has ended. May be cancelled without losing one.
    pub(super) async fn done(&mut self) -> Option<Done> {
        self.done.recv().await
    }

    /// Takes no further jobs; outcomes of earlier ones still come, then `None`.
    pub(super) fn close(self) -> mpsc::UnboundedReceiver<Done> {
        self.done
    }
}

fn work(mut jobs: mpsc::Receiver<Job>, outcomes: &mpsc::UnboundedSender<Done>) {
    while let Some(job) = jobs.blocking_recv() {
        let outcome = match job {
            Job::MakeDirectory(path) => match files::create_dir_all(Path::new(OsStr::from_bytes(&path))) {
                Ok(()) => continue,
                Err(error) => Done::DirectoryFailed {
                    path,
                    reason: error.to_string(),
                },
            },
            Job::Remember { directory, desired } => {
                let outcome = desired::write(&directory, &desired);
                Done::Remembered(outcome.map_err(|error| format!("{}: {error}", directory.display())))
            }
            Job::Archive {
                directory,
                command,
                message,
            } => {
                // Loggers create it when they first rotate.
                if !Path::new(&directory).is_dir() {
                    continue;
                }
                Done::Archive { command, message }
            }
            Job::KeepScripts(scripts) => match scripts.write() {
                Ok(false) => continue,
                Ok(true) => Done::ScriptsWritten(Ok(())),
                Err(error) => Done::ScriptsWritten(Err(with_causes(&error))),
            },
            Job::ShowLogs { at, loggers } => match live_logs::show(&at, &loggers) {
                Ok(()) => continue,
                Err(error) => Done::LogsNotShown(format!("{}: {error}", at.display())),
            },
        };
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}
