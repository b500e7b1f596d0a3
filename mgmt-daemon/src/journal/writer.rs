use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use counters::Counters;
use mgmt_api::Now;
use serde::Serialize;

use super::Entry;
use crate::{Counted, files};

/// How many entries may wait to be written.
pub const ENTRIES_MAX: usize = 1024;

/// A handle to the thread that writes a journal.
///
/// A journal with a hole is worth nothing. When the disk is too slow or full, it ends there, the log says so, and the
/// daemon goes on.
#[derive(Debug)]
pub struct Journal<I> {
    entries: Option<SyncSender<Entry<I>>>,
    counters: Counters<Counted>,
    /// Whether it wrote all that it got.
    thread: thread::JoinHandle<bool>,
}

impl<I: Serialize + Clone + Send + 'static> Journal<I> {
    /// Starts a journal in a new file that its owner alone can read: configurations may hold secrets. The journal before
    /// that, which may tell of a crash, is kept with `.previous` behind its name.
    ///
    /// # Errors
    ///
    /// Besides failures of the file system: if something else than a file has the name, such as a device, which root could rename.
    pub fn create(path: &Path, header: &impl Serialize, counters: &Counters<Counted>) -> io::Result<Self> {
        files::regular_or_missing(path)?;
        match fs::rename(path, files::with_suffix(path, ".previous")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Self::start(file, header, counters.clone())
    }

    /// Starts a journal in this file.
    pub(super) fn start(
        mut file: impl Write + Send + 'static,
        header: &impl Serialize,
        counters: Counters<Counted>,
    ) -> io::Result<Self> {
        write_line(&mut file, header)?;
        let (entries, queue) = sync_channel(ENTRIES_MAX);
        let counted = counters.clone();
        let thread = thread::Builder::new()
            .name(String::from("journal"))
            .spawn(move || write_entries(file, &queue, &counted))?;
        Ok(Self {
            entries: Some(entries),
            counters,
            thread,
        })
    }

    /// Records an input that is about to happen. Never waits.
    pub fn record(&mut self, now: Now, input: &I) {
        let Some(entries) = &self.entries else { return };
        let entry = Entry {
            now,
            input: input.clone(),
        };
        match entries.try_send(entry) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                tracing::error!("the journal is not written fast enough and ends here");
            }
            // The thread has said why.
            Err(TrySendError::Disconnected(_)) => {}
        }
        self.counters.increment(Counted::JournalIncomplete);
        self.entries = None;
    }

    /// Waits until all is written. Blocks.
    pub fn finish(mut self) {
        let was_open = self.entries.take().is_some();
        let is_complete = self.thread.join().unwrap_or_else(|_| {
            tracing::error!("the thread of the journal panicked");
            false
        });
        if was_open && !is_complete {
            self.counters.increment(Counted::JournalIncomplete);
        }
    }
}

fn write_entries<I: Serialize>(
    mut file: impl Write,
    queue: &Receiver<Entry<I>>,
    counters: &Counters<Counted>,
) -> bool {
    for entry in queue {
        if let Err(error) = write_line(&mut file, &entry) {
            tracing::error!(%error, "cannot write the journal, which ends here");
            return false;
        }
        counters.increment(Counted::JournalWritten);
    }
    true
}

/// Whole lines go to the system at once: what is cut off by a crash of the process is at most the last.
fn write_line(file: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    file.write_all(&line)
}
