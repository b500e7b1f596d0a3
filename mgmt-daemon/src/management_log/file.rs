use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    format,
    rotation::{self, Rotated},
};
use mgmt_api::Level;

use crate::{
    config::{RotationConfig, log_path},
    files,
};

/// `management-<node>.log`, written as Zeek's ASCII writer does: created with its first record, rotated at multiples of
/// an interval and at the end.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    node: String,
    rotation: Option<RotationConfig>,
    zone: TimeZone,
    file: Option<fs::File>,
    /// When the file's span began: the first record, later the last rotation.
    opened: Option<Timestamp>,
    due: Option<Timestamp>,
}

impl LogFile {
    /// The log of a node in a directory; creates nothing yet.
    pub(super) fn new(dir: &Path, node: &str, rotation: Option<RotationConfig>, zone: TimeZone) -> Self {
        Self {
            path: log_path(dir, node),
            node: node.to_owned(),
            rotation,
            zone,
            file: None,
            opened: None,
            due: None,
        }
    }

    /// Rotates what a crashed process left in the directory. Call it before the first record.
    pub(super) fn retire_leftovers(&self) -> Vec<io::Result<Rotated>> {
        match (&self.rotation, self.path.parent()) {
            (Some(config), Some(dir)) => rotation::retire_leftovers(dir, &config.dir, &self.zone),
            _ => Vec::new(),
        }
    }

    /// Deletes rotated files of this log that have been kept for long enough.
    pub(super) fn expire(&self, now: SystemTime) -> Vec<io::Result<PathBuf>> {
        let config = self.rotation.as_ref();
        let before = config.and_then(|config| Some((&config.dir, now.checked_sub(config.keep?)?)));
        before.map_or_else(Vec::new, |(dir, before)| {
            rotation::expire(&self.path, dir, before)
        })
    }

    /// When [`Self::rotate`] is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// A record of this log.
    pub(super) fn record(&self, time: Timestamp, level: Level, role: &str, message: &[u8]) -> Vec<u8> {
        format::record(time, self.node.as_bytes(), level, role, message)
    }

    /// Appends records, the first of which is of the given time.
    pub(super) fn write(&mut self, now: Timestamp, time: Timestamp, records: &[u8]) -> io::Result<()> {
        self.open(now, time)?.write_all(records)
    }

    /// Rotates the log; what is written next goes into a new file.
    pub(super) fn rotate(&mut self, now: Timestamp) -> io::Result<Option<Rotated>> {
        let opened = self.opened.replace(now);
        self.due = self
            .rotation
            .as_ref()
            .map(|config| rotation::next(now, config, &self.zone));
        self.close(now, opened.unwrap_or(now))
    }

    /// Where it is, when there is something in it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the file if it was moved or removed meanwhile: what is written next goes into a new one. Returns whether it was.
    pub(super) fn reopen(&mut self, now: Timestamp) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let open = file.metadata()?;
        let stays = fs::metadata(&self.path).is_ok_and(|there| files::is_same(&there, &open));
        if stays {
            return Ok(false);
        }
        if let Some(mut file) = self.file.take() {
            file.write_all(&format::trailer(&format::date(now, &self.zone)))?;
            file.sync_all()?;
        }
        self.opened = None;
        Ok(true)
    }

    /// Ends the log: rotates it if logs are rotated, as Zeek does when it terminates.
    pub(super) fn finish(&mut self, now: Timestamp) -> io::Result<Option<Rotated>> {
        let opened = self.opened.unwrap_or(now);
        self.close(now, opened)
    }

    fn open(&mut self, now: Timestamp, time: Timestamp) -> io::Result<&mut fs::File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.create(now, time)?,
        };
        Ok(self.file.insert(file))
    }

    fn create(&mut self, now: Timestamp, time: Timestamp) -> io::Result<fs::File> {
        if let Some(config) = &self.rotation {
            self.opened.get_or_insert(time);
            self.due
                .get_or_insert_with(|| rotation::next(now, config, &self.zone));
            rotation::write_shadow(&self.path)?;
        }
        // DIFFERENCE(unrotated-log-kept): with rotation, a file that is still there could not be rotated, and is appended to; Zeek
        // overwrites it. Without rotation a log lives as long as the process, as with Zeek.
        let mut options = files::options();
        if self.rotation.is_some() {
            options.append(true);
        } else {
            options.write(true).truncate(true);
        }
        let mut file = options.open(&self.path)?;
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        file.write_all(&format::header(&name, &format::date(now, &self.zone)))?;
        Ok(file)
    }

    fn close(&mut self, now: Timestamp, opened: Timestamp) -> io::Result<Option<Rotated>> {
        let Some(mut file) = self.file.take() else {
            return Ok(None);
        };
        let closed = format::date(now, &self.zone);
        file.write_all(&format::trailer(&closed))?;
        file.sync_all()?;
        let Some(config) = &self.rotation else {
            return Ok(None);
        };
        let opened = format::date(opened, &self.zone);
        rotation::retire(&self.path, &config.dir, &opened, &closed).map(Some)
    }
}
