//! The management log: `management-<name>.log` in Zeek's ASCII format, as Zeek's own processes write it
//! (`policy/frameworks/management/log.zeek`).
//!
//! A thread of its own writes it, since a file system may block for long. Lines travel there through a bounded queue, and are written together
//! as far as they come together; when it is full, lines are dropped and counted. Nothing that goes wrong with the log stops the daemon: failures
//! are reported once each on standard error, and counted.

mod file;
mod format;
mod rotation;

use std::{io, mem, path::Path, thread, time::SystemTime};

use counters::Counters;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use self::{file::LogFile, rotation::Rotated};
use mgmt_api::Level;

use crate::{
    Counted,
    config::LogConfig,
    lines::{self, CHUNK_MAX},
};

/// How many lines may wait to be written.
pub const LINES_MAX: usize = 4096;

/// A handle to the thread that writes the management log.
#[derive(Debug)]
pub struct ManagementLog {
    level: Level,
    message_bytes_max: usize,
    queue: lines::Sender<Entry>,
    counters: Counters<Counted>,
    thread: thread::JoinHandle<()>,
}

/// What the thread is to do.
#[derive(Debug)]
enum Entry {
    Write(Line),
    Reopen,
}

#[derive(Debug)]
struct Line {
    time: Timestamp,
    level: Level,
    message: Vec<u8>,
}

impl ManagementLog {
    /// Starts the thread, which begins by rotating what a crashed process left behind. `dir` is the process's working
    /// directory, `node` its name, and `role` its `Management::role` as it stands in the log.
    pub fn start(
        dir: &Path,
        node: &str,
        role: &'static str,
        config: &LogConfig,
        counters: Counters<Counted>,
    ) -> io::Result<Self> {
        let LogConfig {
            level,
            field_bytes_max,
            ref rotation,
        } = *config;
        let (queue, entries) = lines::queue(LINES_MAX);
        let (dir, node, rotation) = (dir.to_path_buf(), node.to_owned(), rotation.clone());
        let counted = counters.clone();
        let thread = thread::Builder::new()
            .name(String::from("management-log"))
            .spawn(move || {
                // Finding the local time zone takes long enough to keep it out of the start.
                let file = LogFile::new(&dir, &node, rotation, TimeZone::system());
                let writer = Writer {
                    file,
                    role,
                    counters: counted,
                    records: Records::default(),
                    failing: false,
                };
                writer.run(&entries);
            })?;
        Ok(Self {
            level,
            message_bytes_max: field_bytes_max,
            queue,
            counters,
            thread,
        })
    }

    /// Writes a line, unless its level is below the log's. Never waits.
    pub fn write(&self, time: Timestamp, level: Level, message: &str) {
        if level < self.level {
            return;
        }
        // Zeek 9.0 cuts fields at the byte, too (`Manager.cc`, `max_field_string_bytes`).
        let message = message.as_bytes();
        let message = message.get(..self.message_bytes_max).unwrap_or(message).to_vec();
        let line = Line { time, level, message };
        if !self.queue.push(Entry::Write(line), level >= Level::Warning) {
            if self.counters.get(Counted::LogDropped) == 0 {
                tracing::warn!("the management log is not written fast enough, lines are lost");
            }
            self.counters.increment(Counted::LogDropped);
        }
    }

    /// Opens the file anew if it was moved or removed, as a program that rotates logs does it, and says so. Never waits.
    pub fn reopen(&self) {
        if !self.queue.push(Entry::Reopen, true) {
            tracing::warn!("the management log is not written fast enough, it is not opened anew");
        }
    }

    /// Waits until everything is written and the file is closed and rotated. Blocks.
    pub fn finish(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the management log panicked");
        }
    }
}

struct Writer {
    file: LogFile,
    role: &'static str,
    counters: Counters<Counted>,
    records: Records,
    /// Whether the last line or rotation failed: a full disk is reported once, not per line.
    failing: bool,
}

/// What is to be written together.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    count: usize,
    /// The time of the first one.
    since: Timestamp,
}

impl Writer {
    fn run(mut self, entries: &lines::Receiver<Entry>) {
        for outcome in self.file.retire_leftovers() {
            self.note_rotation(outcome.map(Some), "leftover log");
        }
        self.expire();
        loop {
            let now = Timestamp::now();
            let until = |due: Timestamp| due.duration_since(now).max(SignedDuration::ZERO);
            let wait = self.file.due().map(|due| until(due).unsigned_abs());
            let Some(entries) = entries.take(wait) else { break };
            for entry in entries {
                match entry {
                    Entry::Write(line) => self.add(&line),
                    Entry::Reopen => {
                        self.write();
                        self.reopen();
                    }
                }
            }
            self.write();
            self.rotate_if_due();
        }
        let outcome = self.file.finish(Timestamp::now());
        self.note_rotation(outcome, "log");
    }

    /// Adds a line to what is to be written.
    fn add(&mut self, line: &Line) {
        // A line from before the turn of the hour belongs into the file that ends there.
        if self.file.due().is_some_and(|due| line.time >= due) {
            self.write();
            self.rotate_if_due();
        }
        let record = self.file.record(line.time, line.level, self.role, &line.message);
        if self.records.bytes.len() + record.len() > CHUNK_MAX {
            self.write();
        }
        if self.records.count == 0 {
            self.records.since = line.time;
        }
        self.records.bytes.extend_from_slice(&record);
        self.records.count += 1;
    }

    /// Writes what is to be written.
    fn write(&mut self) {
        let Records { bytes, count, since } = mem::take(&mut self.records);
        if count == 0 {
            return;
        }
        match self.file.write(Timestamp::now(), since, &bytes) {
            Ok(()) => {
                self.counters.add(Counted::LogWritten, count);
                self.recovered();
            }
            Err(error) => {
                self.failed(&error, "cannot write the management log, lines are lost");
                self.counters.add(Counted::LogFailed, count - 1);
            }
        }
    }

    fn reopen(&mut self) {
        const STDERR: &str = "standard error stays what this was started with";
        let path = self.file.path().display().to_string();
        match self.file.reopen(Timestamp::now()) {
            Ok(true) => tracing::info!(
                path,
                "the management log was moved or removed, it is opened anew; {STDERR}"
            ),
            Ok(false) => tracing::info!(
                path,
                "the management log is where it was and stays open; {STDERR}"
            ),
            Err(error) => self.failed(
                &error,
                "cannot close the management log that was moved, it is opened anew",
            ),
        }
    }

    fn rotate_if_due(&mut self) {
        let now = Timestamp::now();
        if self.file.due().is_some_and(|due| now >= due) {
            let outcome = self.file.rotate(now);
            self.note_rotation(outcome, "log");
            self.expire();
        }
    }

    fn expire(&mut self) {
        for outcome in self.file.expire(SystemTime::now()) {
            match outcome {
                Ok(path) => {
                    tracing::info!(path = %path.display(), "deleted a rotated log that was kept for long enough");
                }
                Err(error) => self.count_failure(
                    &error,
                    "cannot delete a rotated log that was kept for long enough",
                ),
            }
        }
    }

    fn note_rotation(&mut self, outcome: io::Result<Option<Rotated>>, what: &str) {
        match outcome {
            Ok(Some(Rotated {
                path,
                misplaced: None,
            })) => {
                self.counters.increment(Counted::LogRotated);
                tracing::debug!(path = %path.display(), "rotated {what}");
                self.recovered();
            }
            Ok(Some(Rotated {
                path,
                misplaced: Some(error),
            })) => {
                let kept = format!(
                    "cannot create the directory of rotated logs; the log is kept as {}, where it is neither archived nor deleted",
                    path.display()
                );
                self.count_failure(&error, &kept);
            }
            Ok(None) => {}
            Err(error) => self.failed(&error, "cannot close or rotate a log"),
        }
    }

    /// Counts and reports what happens once per file at most, and does not keep the log from being written.
    fn count_failure(&mut self, error: &io::Error, what: &str) {
        self.counters.increment(Counted::LogFailed);
        let failed = self.counters.get(Counted::LogFailed);
        tracing::warn!(%error, path = %self.file.path().display(), failed, "{what}");
    }

    fn failed(&mut self, error: &io::Error, what: &str) {
        if self.failing {
            self.counters.increment(Counted::LogFailed);
        } else {
            self.count_failure(error, what);
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if self.failing {
            let failed = self.counters.get(Counted::LogFailed);
            tracing::info!(path = %self.file.path().display(), failed, "the management log can be written again");
        }
        self.failing = false;
    }
}

#[cfg(test)]
mod tests;
