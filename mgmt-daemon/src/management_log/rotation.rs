//! When logs are rotated, and what they are called then.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::{Timestamp, tz::TimeZone};

use super::format;
use crate::{config::RotationConfig, files};

/// What marks a log as not yet rotated: a file of this prefix beside it (`Ascii.cc, shadow_file_prefix`).
const SHADOW_PREFIX: &str = ".shadow.";

/// When the next rotation is due: at a multiple of the interval, counted from the base time of the local day
/// (`util.cc, calc_next_rotate`).
pub(super) fn next(now: Timestamp, config: &RotationConfig, zone: &TimeZone) -> Timestamp {
    let now_ns = now.as_nanosecond();
    let day = now.to_zoned(zone.clone()).start_of_day();
    let anchor = day.map_or(0, |day| day.timestamp().as_nanosecond())
        + i128::from(config.base.minutes) * 60_000_000_000;
    let Ok(interval) = i128::try_from(config.interval.as_nanos()) else {
        return Timestamp::MAX;
    };
    let intervals = (now_ns - anchor + interval - 1).div_euclid(interval);
    let due = anchor.saturating_add(intervals.saturating_mul(interval));
    let due = if due > now_ns {
        due
    } else {
        due.saturating_add(interval)
    };
    Timestamp::from_nanosecond(due).unwrap_or(Timestamp::MAX)
}

/// The file that marks a log as not rotated.
pub(super) fn shadow_of(log: &Path) -> PathBuf {
    log.with_file_name(prefixed(SHADOW_PREFIX, log))
}

/// Creates the mark of a log, durable and whole (`Ascii::DoInit`): its first line is the log's extension, its second the
/// function to call after rotation, of which there is none.
pub(super) fn write_shadow(log: &Path) -> io::Result<()> {
    let shadow = shadow_of(log);
    let temporary = shadow.with_file_name(prefixed(".tmp", &shadow));
    let written = files::write(&temporary, b".log\n\n")
        .and_then(|()| fs::File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, &shadow));
    if written.is_err() {
        // The cause counts, not that what it left cannot be removed either.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A log that was rotated.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) path: PathBuf,
    /// Why it is beside the log instead of in the queue, where it belongs.
    pub(super) misplaced: Option<io::Error>,
}

/// Moves a log into the queue of rotated logs and removes its mark. Without the queue's directory the log is rotated where it is,
/// as Zeek does (`Manager::FormatRotationPath`).
///
/// The name is `<path>__<open>__<close>__.log` (`persistence.zeek, archiver_rotation_format_func`), which is what
/// Zeek's archiver reads.
///
/// DIFFERENCE(rotated-log-kept): an earlier log of the same name is not overwritten: the new one gets a `log_suffix`, as the logs of
/// several loggers do. Where the queue is on another file system, the log is copied; Zeek's rename fails there.
pub(super) fn retire(log: &Path, queue: &Path, opened: &str, closed: &str) -> io::Result<Rotated> {
    let extension = extension_in(&shadow_of(log)).unwrap_or_else(|| String::from(".log"));
    let misplaced = files::create_dir_all(queue).err();
    let queue = match misplaced {
        None => queue,
        Some(_) => log.parent().unwrap_or(Path::new(".")),
    };
    let stem = log.file_stem().unwrap_or_default().to_string_lossy();
    let base = format!("{stem}__{opened}__{closed}__");
    let mut target = queue.join(format!("{base}{extension}"));
    let mut number = 1_u32;
    while target.symlink_metadata().is_ok() {
        number += 1;
        target = queue.join(format!("{base}log_suffix={number}__{extension}"));
    }
    rename_or_copy(log, &target)?;
    match fs::remove_file(shadow_of(log)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Rotated {
            path: target,
            misplaced,
        }),
    }
}

/// Deletes what was rotated of a log into the queue and was last written before a time. Returns the names and the failures.
///
/// DIFFERENCE(own-logs-expire): on a host without an agent, which has the archiver, Zeek's rotated logs stay for ever.
pub(super) fn expire(log: &Path, queue: &Path, before: SystemTime) -> Vec<io::Result<PathBuf>> {
    let prefix = format!("{}__", log.file_stem().unwrap_or_default().to_string_lossy());
    let old = |path: &Path| -> io::Result<bool> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(metadata.is_file() && metadata.modified()? < before)
    };
    let entries = match fs::read_dir(queue) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(error)],
    };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    ours.map(|entry| entry.path())
        .filter_map(|path| match old(&path) {
            Ok(true) => Some(fs::remove_file(&path).map(|()| path)),
            Ok(false) => None,
            // An archiver may have been faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// Rotates every log in the directory that an earlier process left behind when it crashed, ours or Zeek's
/// (`Ascii::RotateLeftoverLogs`).
///
/// The shadow's change time stands in for the log's opening, the log's modification time for its closing.
pub(super) fn retire_leftovers(dir: &Path, queue: &Path, zone: &TimeZone) -> Vec<io::Result<Rotated>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return vec![Err(error)],
    };
    let mut outcomes = Vec::new();
    for shadow in entries.flatten().map(|entry| entry.path()) {
        let log = shadow
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(SHADOW_PREFIX));
        let Some(log) = log.map(|name| dir.join(name)) else {
            continue;
        };
        if log.is_file() {
            outcomes.push(retire_leftover(&log, &shadow, queue, zone));
        } else if let Err(error) = fs::remove_file(&shadow) {
            outcomes.push(Err(error));
        }
    }
    outcomes
}

fn retire_leftover(log: &Path, shadow: &Path, queue: &Path, zone: &TimeZone) -> io::Result<Rotated> {
    let date = |seconds| {
        format::date(
            Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
            zone,
        )
    };
    let opened = date(fs::metadata(shadow)?.ctime());
    let closed = date(fs::metadata(log)?.mtime());
    retire(log, queue, &opened, &closed)
}

/// The extension that a shadow names, if it is whole.
fn extension_in(shadow: &Path) -> Option<String> {
    let text = fs::read_to_string(shadow).ok()?;
    let extension = text.lines().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    (text.ends_with('\n') && extension.starts_with('.') && extension.chars().all(plain))
        .then(|| extension.to_owned())
}

fn rename_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let temporary = to.with_file_name(prefixed(".tmp", to));
            fs::copy(from, &temporary)?;
            fs::File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, to)?;
            fs::remove_file(from)
        }
        outcome => outcome,
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut name = OsString::from(prefix);
    name.push(path.file_name().unwrap_or_default());
    name
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::TimeOfDay;

    fn config(interval: Duration, minutes: u16) -> RotationConfig {
        RotationConfig {
            interval,
            base: TimeOfDay { minutes },
            dir: PathBuf::new(),
            keep: None,
        }
    }

    fn next_of(now: &str, interval_minutes: u64, base_minutes: u16, zone: &TimeZone) -> String {
        let config = config(Duration::from_secs(interval_minutes * 60), base_minutes);
        next(now.parse().unwrap(), &config, zone).to_string()
    }

    #[test]
    fn rotations_are_due_at_multiples_of_the_interval_from_the_base_in_local_time() {
        let utc = &TimeZone::UTC;
        let india = &TimeZone::fixed(jiff::tz::offset(5).saturating_add(jiff::SignedDuration::from_mins(30)));
        for (now, interval, base, zone, next) in [
            ("2026-11-22T01:22:46.5Z", 60, 0, utc, "2026-11-22T02:00:00Z"),
            ("2026-11-22T02:00:00Z", 60, 0, utc, "2026-11-22T03:00:00Z"),
            ("2026-11-22T01:22:46Z", 60, 30, utc, "2026-11-22T01:30:00Z"),
            ("2026-11-22T00:10:00Z", 1440, 30, utc, "2026-11-22T00:30:00Z"),
            ("2026-11-22T23:50:00Z", 7, 0, utc, "2026-11-22T23:55:00Z"),
            ("2026-11-22T01:22:46Z", 60, 0, india, "2026-11-22T01:30:00Z"),
        ] {
            assert_eq!(next_of(now, interval, base, zone), next, "{now}");
        }
    }

    #[test]
    fn endless_intervals_do_not_overflow() {
        let config = config(Duration::MAX, 0);
        assert_eq!(
            next(Timestamp::UNIX_EPOCH, &config, &TimeZone::UTC),
            Timestamp::MAX
        );
    }
}
