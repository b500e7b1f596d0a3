//! What is particular about a program that is kept.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use mgmt_daemon::files;
use supervise::{stale::Tag, unix::Handle};

/// A program that is kept. What reads or writes files is called where that may block.
pub(in crate::runtime) trait Program: Clone + Send + Sync + 'static {
    /// What the log calls it.
    const WHAT: &'static str;
    /// What ends with it, itself included.
    const WHOLE: &'static str;
    /// The environment variable by which what it has left running is known.
    const TAG: &'static str;
    /// How long it may take to end, with what it has started, before it is killed.
    const STOP_TIMEOUT: Duration;
    type Written: Written;
    /// What there is to know about one that others can connect to.
    type Announced: Send + 'static;

    fn program(&self) -> &Path;

    fn arguments(&self) -> Vec<String>;

    /// Where its files are, which the agent has of it.
    fn directory(&self) -> &Path;

    fn start(&mut self) -> io::Result<(Handle, Self::Written)>;

    /// Waits until others can connect to the process with this id. May be cancelled.
    fn announced(&self, id: i32) -> impl Future<Output = Self::Announced> + Send;

    /// What an agent before this one has left by a record, if anything.
    fn left_behind(&self) -> Option<Left<Self>> {
        None
    }

    /// It has ended for good.
    fn forget(&self) {}

    /// What its processes are known by; its directory is made if need be.
    fn tag(&self) -> io::Result<Tag> {
        files::create_dir_all(self.directory())?;
        Tag::new(Self::TAG, self.directory(), &self.arguments())
    }

    /// The command that starts it, with its tag.
    fn command(&self) -> io::Result<Command> {
        let tag = self.tag()?;
        let (variable, value) = tag.variable();
        let mut command = Command::new(self.program());
        command
            .args(self.arguments())
            .env(variable, value)
            .stdin(Stdio::null())
            // What is typed at our terminal is for us: it ends when we end it.
            .process_group(0);
        Ok(command)
    }
}

/// What a process writes.
pub(in crate::runtime) trait Written: Send + 'static {
    /// Looks at how much that is. Called each [`INTERVAL`](crate::runtime::stderr::INTERVAL) once the process has connected.
    fn looked(self) -> impl Future<Output = Self> + Send;

    /// What it has written lately that may say why it has ended. It has been read to its end then.
    fn said(self) -> impl Future<Output = Option<String>> + Send;
}

/// What an agent before this one has left.
pub(in crate::runtime) struct Left<P: Program> {
    /// If it still runs.
    pub(in crate::runtime) process: Option<Handle>,
    /// How it was started.
    pub(in crate::runtime) program: P,
    /// What it writes, if it is to be taken over.
    pub(in crate::runtime) written: Option<P::Written>,
}
