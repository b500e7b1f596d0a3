use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::civil::DateTime;
use serde::Deserialize;

use super::*;
use crate::config::{RotationConfig, TimeOfDay};

const ROLE: &str = "CONTROLLER";

const HOUR: Duration = Duration::from_secs(3_600);

fn rotation(dir: &Path) -> RotationConfig {
    RotationConfig {
        interval: HOUR,
        base: TimeOfDay::default(),
        dir: dir.join("log-queue"),
        keep: None,
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn utc(zeek_date: &str) -> Timestamp {
    let date = DateTime::strptime("%Y-%m-%d-%H-%M-%S", zeek_date).unwrap();
    date.to_zoned(TimeZone::UTC).unwrap().timestamp()
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A log file of `dir` in UTC.
fn log_in(dir: &Path) -> LogFile {
    LogFile::new(dir, "controller", Some(rotation(dir)), TimeZone::UTC)
}

fn line(log: &mut LogFile, at: &str, message: &str) {
    let at = time(at);
    let record = log.record(at, Level::Info, ROLE, message.as_bytes());
    log.write(at, at, &record).unwrap();
}

#[derive(Deserialize)]
struct Scenario {
    management_logs: BTreeMap<String, String>,
}

/// Every log that Zeek's controllers wrote in the captures comes out byte for byte from its own records, and under its
/// own name.
#[test]
fn recorded_logs_are_reproduced() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut logs = 0;
    let mut lines = 0;
    for series in ["zeek-9.0.0-rc1", "zeek-6.0.9", "mixed"] {
        for scenario in names_in(&fixtures.join(series)) {
            let path = fixtures.join(series).join(scenario).join("scenario.json");
            let scenario: Scenario = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            for (name, text) in scenario.management_logs {
                let name = Path::new(&name).file_name().unwrap().to_str().unwrap();
                if name.starts_with("management-controller__") {
                    let (written_name, written, count) = write_again(&text);
                    assert_eq!(written, text, "{name} in {}", path.display());
                    assert_eq!(written_name, name, "{}", path.display());
                    logs += 1;
                    lines += count;
                }
            }
        }
    }
    assert_eq!(logs, 24);
    assert!(lines >= 1_000, "only {lines} lines");
}

/// Writes the records of a log; returns its name in the queue, its text, and how many records there are.
fn write_again(text: &str) -> (String, String, usize) {
    let header = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let (opened, closed) = (utc(header("#open\t")), utc(header("#close\t")));

    let dir = tempfile::tempdir().unwrap();
    let mut log = log_in(dir.path());
    let records: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for record in &records {
        let fields: Vec<_> = record.split('\t').collect();
        let [time, "controller", level, "CONTROLLER", message] = fields[..] else {
            panic!("{record}");
        };
        let level = match level {
            "INFO" => Level::Info,
            "WARNING" => Level::Warning,
            _ => panic!("{record}"),
        };
        let time = Timestamp::from_microsecond(time.replace('.', "").parse().unwrap()).unwrap();
        assert!(!message.contains('\\'), "nothing is escaped in {record}");
        let record = log.record(time, level, ROLE, message.as_bytes());
        log.write(opened, time, &record).unwrap();
    }
    let rotated = log.finish(closed).unwrap().unwrap().path;
    assert_eq!(names_in(dir.path()), ["log-queue"]);
    let name = rotated.file_name().unwrap().to_str().unwrap().to_owned();
    (name, fs::read_to_string(&rotated).unwrap(), records.len())
}

#[test]
fn a_log_is_rotated_at_the_hour_and_goes_on_with_its_next_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log_in(dir.path());
    assert_eq!(log.due(), None, "nothing is written, nothing is due");
    line(&mut log, "2026-11-22T01:22:46.5Z", "first");
    assert_eq!(
        names_in(dir.path()),
        [".shadow.management-controller.log", "management-controller.log"]
    );
    let shadow = fs::read_to_string(dir.path().join(".shadow.management-controller.log")).unwrap();
    assert_eq!(shadow, ".log\n\n");
    assert_eq!(log.due(), Some(time("2026-11-22T02:00:00Z")));

    log.rotate(time("2026-11-22T02:00:00.1Z")).unwrap();
    assert_eq!(
        names_in(dir.path()),
        ["log-queue"],
        "the next file is created with the next line"
    );
    assert_eq!(log.due(), Some(time("2026-11-22T03:00:00Z")));
    log.rotate(time("2026-11-22T03:00:00Z")).unwrap();

    line(&mut log, "2026-11-22T03:10:00Z", "second");
    log.finish(time("2026-11-22T03:20:00Z")).unwrap();
    let queue = dir.path().join("log-queue");
    assert_eq!(
        names_in(&queue),
        [
            "management-controller__2026-11-22-01-22-46__2026-11-22-02-00-00__.log",
            // The span begins with the rotation, not with the first line; the file itself says 03:10.
            "management-controller__2026-11-22-03-00-00__2026-11-22-03-20-00__.log",
        ]
    );
    let second = fs::read_to_string(queue.join(&names_in(&queue)[1])).unwrap();
    assert!(second.contains("#open\t2026-11-22-03-10-00\n"));
    assert!(second.ends_with("\tsecond\n#close\t2026-11-22-03-20-00\n"));
}

#[test]
fn without_rotation_the_log_stays_and_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    for message in ["first run", "second run"] {
        let mut log = LogFile::new(dir.path(), "controller", None, TimeZone::UTC);
        line(&mut log, "2026-11-22T01:22:46Z", message);
        assert_eq!(log.due(), None);
        assert!(log.finish(time("2026-11-22T01:22:47Z")).unwrap().is_none());
    }
    assert_eq!(names_in(dir.path()), ["management-controller.log"]);
    let text = fs::read_to_string(dir.path().join("management-controller.log")).unwrap();
    assert!(!text.contains("first run"));
    assert!(text.contains("second run\n#close\t2026-11-22-01-22-47\n"));
}

#[test]
fn what_a_crash_left_behind_is_rotated_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut crashed = log_in(dir.path());
    line(&mut crashed, "2026-11-22T01:22:46Z", "last words");
    drop(crashed);
    // Zeek's controller may have left other logs, and a mark whose log is gone.
    fs::write(dir.path().join("broker.log"), "broker").unwrap();
    fs::write(dir.path().join(".shadow.broker.log"), ".log\n\n").unwrap();
    fs::write(dir.path().join(".shadow.gone.log"), ".log\n\n").unwrap();
    let modified = time("2026-11-22T01:30:00Z");
    let log = fs::File::options()
        .append(true)
        .open(dir.path().join("management-controller.log"))
        .unwrap();
    log.set_modified(modified.into()).unwrap();

    let outcomes = log_in(dir.path()).retire_leftovers();
    let mut rotated: Vec<_> = outcomes
        .into_iter()
        .map(|rotated| rotated.unwrap().path)
        .collect();
    rotated.sort();
    assert_eq!(rotated.len(), 2);
    assert_eq!(names_in(dir.path()), ["log-queue"]);
    let name = rotated[1].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("management-controller__"), "{name}");
    assert!(name.ends_with("__2026-11-22-01-30-00__.log"), "{name}");
    assert!(
        fs::read_to_string(&rotated[1])
            .unwrap()
            .ends_with("\tlast words\n")
    );
}

#[test]
fn a_rotated_log_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    for message in ["one", "two", "three"] {
        let mut log = log_in(dir.path());
        line(&mut log, "2026-11-22T01:22:46Z", message);
        log.finish(time("2026-11-22T01:22:46Z")).unwrap();
    }
    assert_eq!(
        names_in(&dir.path().join("log-queue")),
        [
            "management-controller__2026-11-22-01-22-46__2026-11-22-01-22-46__.log",
            "management-controller__2026-11-22-01-22-46__2026-11-22-01-22-46__log_suffix=2__.log",
            "management-controller__2026-11-22-01-22-46__2026-11-22-01-22-46__log_suffix=3__.log",
        ]
    );
}

#[test]
fn a_queue_that_cannot_be_created_does_not_lose_the_log() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log-queue"), "in the way").unwrap();
    let mut log = log_in(dir.path());
    line(&mut log, "2026-11-22T01:22:46Z", "kept");
    let rotated = log.finish(time("2026-11-22T01:22:47Z")).unwrap().unwrap().path;
    assert_eq!(
        rotated.parent().unwrap(),
        dir.path(),
        "as Zeek, it is rotated where it is"
    );
    assert!(fs::read_to_string(rotated).unwrap().contains("kept"));
}

fn config(dir: &Path, level: Level, field_bytes_max: usize) -> LogConfig {
    LogConfig {
        level,
        field_bytes_max,
        rotation: Some(rotation(dir)),
    }
}

fn start(dir: &Path, config: &LogConfig) -> ManagementLog {
    ManagementLog::start(dir, "c", ROLE, config, Counters::default()).unwrap()
}

/// What was counted in the end: written, dropped, failed, rotated.
fn finished(log: ManagementLog) -> [u64; 4] {
    use Counted::{LogDropped, LogFailed, LogRotated, LogWritten};

    let counters = log.counters.clone();
    log.finish();
    [LogWritten, LogDropped, LogFailed, LogRotated].map(|kind| counters.get(kind))
}

fn queued(dir: &Path) -> PathBuf {
    let queue = dir.join("log-queue");
    let names = names_in(&queue);
    assert_eq!(names.len(), 1, "{names:?}");
    queue.join(&names[0])
}

#[test]
fn lines_below_the_level_are_not_written_and_long_ones_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(dir.path(), &config(dir.path(), Level::Warning, 5));
    log.write(Timestamp::now(), Level::Info, "not me");
    log.write(Timestamp::now(), Level::Warning, "12345");
    log.write(Timestamp::now(), Level::Error, "123456789");
    assert_eq!(finished(log), [2, 0, 0, 1]);
    let text = fs::read_to_string(queued(dir.path())).unwrap();
    let messages: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').next_back().unwrap())
        .collect();
    assert_eq!(messages, ["12345", "12345"]);
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    // A directory in the place of the file: the tests may run as root, whom no permission stops.
    fs::create_dir(dir.path().join("management-c.log")).unwrap();
    let log = start(dir.path(), &config(dir.path(), Level::Info, 4096));
    for _ in 0..3 {
        log.write(Timestamp::now(), Level::Info, "lost");
    }
    assert_eq!(finished(log), [0, 0, 3, 0]);
}

/// Not as rotated: where it is, no archiver looks for it, and nothing deletes it.
#[test]
fn a_log_that_stays_for_want_of_a_queue_is_counted_as_failed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log-queue"), "in the way").unwrap();
    for failed in [1, 2] {
        if failed == 2 {
            // What a crash has left is rotated at the next start.
            fs::write(dir.path().join("broker.log"), "broker").unwrap();
            fs::write(dir.path().join(".shadow.broker.log"), ".log\n\n").unwrap();
        }
        let log = start(dir.path(), &config(dir.path(), Level::Info, 4096));
        log.write(Timestamp::now(), Level::Info, "kept");
        assert_eq!(finished(log), [1, 0, failed, 0]);
    }
}

#[test]
fn lines_that_find_no_room_are_dropped_and_counted() {
    const SURPLUS: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    // A pipe in the place of the file: the thread that opens it waits for a reader.
    let pipe = dir.path().join("management-c.log");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let log = start(dir.path(), &config(dir.path(), Level::Info, 4096));
    for _ in 0..LINES_MAX + SURPLUS {
        log.write(Timestamp::now(), Level::Info, "one of many");
    }
    let reader = thread::spawn(move || fs::read_to_string(pipe).unwrap());
    let [written, dropped, ..] = finished(log);
    assert_eq!(dropped, u64::try_from(SURPLUS).unwrap());
    assert_eq!(written + dropped, u64::try_from(LINES_MAX + SURPLUS).unwrap());
    let text = reader.join().unwrap();
    assert_eq!(
        u64::try_from(text.matches("one of many").count()).unwrap(),
        written
    );
}

#[test]
fn a_log_is_opened_anew_only_if_it_was_moved() {
    let home = tempfile::tempdir().unwrap();
    let mut log = log_in(home.path());
    let now = time("2026-11-22T01:00:00Z");
    assert!(!log.reopen(now).unwrap(), "there is none yet");
    line(&mut log, "2026-11-22T01:00:00Z", "first");
    assert!(!log.reopen(now).unwrap());
    let moved = home.path().join("moved");
    fs::rename(log.path(), &moved).unwrap();
    assert!(log.reopen(now).unwrap());
    line(&mut log, "2026-11-22T01:00:01Z", "second");
    let moved = fs::read_to_string(moved).unwrap();
    assert!(
        moved.contains("first") && moved.ends_with("#close\t2026-11-22-01-00-00\n"),
        "{moved}"
    );
    let new = fs::read_to_string(log.path()).unwrap();
    assert!(
        new.starts_with("#separator") && new.contains("second") && !new.contains("first"),
        "{new}"
    );
}

/// Where no archiver fetches them, they would fill the disk.
#[test]
fn rotated_logs_are_deleted_after_a_time_and_only_ours() {
    let home = tempfile::tempdir().unwrap();
    let queue = home.path().join("log-queue");
    let names = [
        "conn__2026-11-22-00-00-00__2026-11-22-01-00-00__.log",
        "management-controller-2__2026-11-22-00-00-00__2026-11-22-01-00-00__.log",
        "management-controller__2026-11-22-00-00-00__2026-11-22-01-00-00__.log",
    ];
    fs::create_dir(&queue).unwrap();
    for name in names {
        fs::write(queue.join(name), "").unwrap();
    }
    let config = RotationConfig {
        keep: Some(2 * HOUR),
        ..rotation(home.path())
    };
    let log = LogFile::new(home.path(), "controller", Some(config), TimeZone::UTC);
    let now = SystemTime::now();
    assert_eq!(log.expire(now + HOUR).len(), 0);
    let outcomes = log.expire(now + 3 * HOUR);
    assert!(
        matches!(&*outcomes, [Ok(path)] if path.ends_with(names[2])),
        "{outcomes:?}"
    );
    assert_eq!(names_in(&queue), names[..2]);
    assert_eq!(log_in(home.path()).expire(now + 3 * HOUR).len(), 0, "for ever");
}
