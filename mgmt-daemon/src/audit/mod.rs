//! The audit log: `audit.log` in the daemon's directory, with a line of JSON for each request of an operator or a client, on every port.
//!
//! A thread of its own writes it; lines travel there through a bounded queue, in which those about what was only shown may wait a little for others. Nothing that goes wrong with it stops the daemon or delays an
//! answer: lines that cannot be written are counted, the log says so once, and the daemon is not ready until lines can be written again.

mod file;
mod line;
mod pending;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use counters::Counters;

use self::file::AuditFile;
pub use self::{
    line::{Line, Outcome, What},
    pending::Pending,
};
use crate::{
    Counted,
    lines::{self, CHUNK_MAX},
    pace::Pace,
};

/// How many lines may wait to be written.
const LINES_MAX: usize = 4096;

/// How many lines of requests that only show something one principal has in a row. Otherwise the least role could push out of the log what others
/// have changed.
const READS_MAX: u32 = 500;

/// How long it takes until there is one more.
const READ_RECOVERY: Duration = Duration::from_secs(1);

/// How often it is tried whether lines can be written again.
const RETRY: Duration = Duration::from_secs(1);

/// By this lines get into the log. Clones are the same; without a file, lines go nowhere.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    queue: lines::Sender<Entry>,
    counters: Counters<Counted>,
    reads: Pace,
    /// Why lines are lost, if they are.
    trouble: Mutex<Option<String>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug)]
enum Entry {
    Open,
    Write(Box<Line>),
}

impl Audit {
    /// Starts the thread. The file is made by [`Self::open`], or with the first line.
    ///
    /// # Errors
    ///
    /// If the system has no thread.
    pub fn start(path: Option<&Path>, counters: Counters<Counted>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let (audit, writer, entries) = Self::with_writer(path, counters);
        let thread = thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(&entries))?;
        if let Some(shared) = &audit.0 {
            *lock(&shared.thread) = Some(thread);
        }
        Ok(audit)
    }

    /// What is to run in the thread, with what it runs on.
    fn with_writer(path: &Path, counters: Counters<Counted>) -> (Self, Writer, lines::Receiver<Entry>) {
        let (queue, entries) = lines::queue(LINES_MAX);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queue,
            counters,
            reads: Pace::new(READS_MAX, READ_RECOVERY),
            trouble: Mutex::default(),
            thread: Mutex::default(),
        });
        let writer = Writer {
            file: AuditFile::new(path.to_owned()),
            told: 0,
            shared: Arc::clone(&shared),
        };
        (Self(Some(shared)), writer, entries)
    }

    /// Opens the file, so that it is known before the first line if lines will be lost.
    pub(crate) fn open(&self) {
        let Some(shared) = &self.0 else { return };
        // If there is no room, lines are on their way.
        let _ = shared.queue.push(Entry::Open, true);
    }

    /// Writes a line, unless it is one of too many about what was only shown. Never waits.
    pub fn record(&self, line: Line) {
        let Some(shared) = &self.0 else { return };
        let is_of_read = line.is_of_read();
        if is_of_read
            && let Some(reader) = line.sender()
            && !shared.reads.allows(reader)
        {
            return shared.counters.increment(Counted::AuditReadsLeftOut);
        }
        if !shared.queue.push(Entry::Write(Box::new(line)), !is_of_read) {
            shared.lost("it is not written fast enough");
        }
    }

    /// Why lines are lost, if they are.
    pub fn failing(&self) -> Option<String> {
        let shared = self.0.as_ref()?;
        let trouble = lock(&shared.trouble).clone()?;
        Some(format!(
            "audit log: lines for {} are lost: {trouble}; requests go on",
            shared.path.display()
        ))
    }

    /// Waits until everything is written. Blocks.
    pub(crate) fn finish(self) {
        let Some(shared) = self.0 else { return };
        let thread = lock(&shared.thread).take();
        shared.queue.end();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

impl Shared {
    fn lost(&self, reason: &str) {
        self.counters.increment(Counted::AuditLinesLost);
        self.fails(reason);
    }

    /// Lines are lost from now on. The log says so once.
    fn fails(&self, reason: &str) {
        let mut trouble = lock(&self.trouble);
        if trouble.is_none() {
            tracing::error!(path = %self.path.display(), "lines of the audit log are lost: {reason}; requests go on");
        }
        *trouble = Some(reason.to_owned());
    }

    fn recovered(&self) {
        if lock(&self.trouble).take().is_some() {
            let lost = self.counters.get(Counted::AuditLinesLost);
            tracing::warn!(path = %self.path.display(), lost, "the audit log can be written again");
        }
    }
}

struct Writer {
    file: AuditFile,
    /// How many lost lines the log itself tells of.
    told: u64,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, entries: &lines::Receiver<Entry>) {
        let mut failed: Option<Instant> = None;
        loop {
            let is_well = lock(&self.shared.trouble).is_none();
            failed = failed.filter(|_| !is_well);
            if !is_well && failed.get_or_insert_with(Instant::now).elapsed() >= RETRY {
                failed = None;
                self.try_again();
            }
            let Some(entries) = entries.take((!is_well).then_some(RETRY)) else {
                return;
            };
            let mut texts = Vec::new();
            for entry in entries {
                match entry {
                    Entry::Open => self.open(),
                    Entry::Write(line) => texts.push(line.to_json()),
                }
            }
            self.write(&texts);
        }
    }

    fn open(&mut self) {
        if let Err(error) = self.file.open() {
            self.shared.fails(&error.to_string());
        }
    }

    fn write(&mut self, mut lines: &[Vec<u8>]) {
        while let [first, rest @ ..] = lines {
            let mut length = first.len();
            let fits = |line: &&Vec<u8>| {
                length += line.len();
                length <= CHUNK_MAX
            };
            let (chunk, others) = lines.split_at(1 + rest.iter().take_while(fits).count());
            self.write_chunk(chunk);
            lines = others;
        }
    }

    /// Writes lines together. If they cannot be, there may be room for some of them.
    fn write_chunk(&mut self, lines: &[Vec<u8>]) {
        match self.file.write(&lines.concat()) {
            Ok(()) => self.shared.counters.add(Counted::AuditLines, lines.len()),
            Err(error) if lines.len() == 1 => self.shared.lost(&error.to_string()),
            Err(_) => lines
                .iter()
                .for_each(|line| self.write_chunk(std::slice::from_ref(line))),
        }
    }

    /// The log itself says how many lines it lacks: if that can be written, others can.
    fn try_again(&mut self) {
        let lost = self.shared.counters.get(Counted::AuditLinesLost);
        let tried = match lost - self.told {
            0 => self.file.open(),
            untold => self.file.write(&Line::gap(untold)),
        };
        if tried.is_ok() {
            self.told = lost;
            self.shared.recovered();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
