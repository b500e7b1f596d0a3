use std::{
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    time::Duration,
};

use broker_codec::data::ZeekString;
use jiff::Timestamp;
use mgmt_api::{Principal, ResultRecord, Transport};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use serde_json::Value;
use testkit::{client, operator};

use super::{
    file::{FILE_BYTES_MAX, KEPT},
    *,
};

fn line(request: &str, who: Option<Principal>) -> Line {
    Line {
        time: Timestamp::UNIX_EPOCH,
        address: Some(([192, 0, 2, 1], 7).into()),
        who,
        what: What {
            request: request.to_owned(),
            ..What::default()
        },
        outcome: Outcome::Done,
        took: Duration::from_millis(12),
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_line_says_who_has_asked_for_what_and_how_it_ended() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.log");
    let audit = Audit::start(Some(&path), Counters::default()).unwrap();
    let mut deployed = line("deploy", Some(client(3)));
    deployed.what.before = Some("c1".to_owned());
    deployed.what.after = Some("c2".to_owned());
    deployed.outcome = Outcome::Failed("why".to_owned());
    audit.record(deployed);
    audit.record(line("status", Some(operator())));
    audit.record(line("GET /v1", None));
    audit.finish();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\"time\":\"1970-01-01T00:00:00Z\",\"door\":\"websocket\",\"principal\":{\"kind\":\"client\",\"name\":\"3\"},\"address\":\"192.0.2.9:50000\",\
         \"request\":\"deploy\",\"outcome\":\"failed\",\"reason\":\"why\",\"ms\":12,\"before\":\"c1\",\"after\":\"c2\"}\n\
         {\"time\":\"1970-01-01T00:00:00Z\",\"door\":\"control_socket\",\"principal\":{\"kind\":\"user\",\"name\":\"0\"},\"request\":\"status\",\
         \"outcome\":\"done\",\"ms\":12}\n\
         {\"time\":\"1970-01-01T00:00:00Z\",\"door\":\"http\",\"address\":\"192.0.2.1:7\",\"request\":\"GET /v1\",\"outcome\":\"done\",\"ms\":12}\n"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_others_have_chosen_stays_in_its_line_and_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.log");
    let audit = Audit::start(Some(&path), Counters::default()).unwrap();
    let name: ZeekString = b"a\n{\"door\":\"http\"}\xff\x1b[2J"[..].into();
    let mut hostile = client(1);
    hostile.transport = Transport::WebSocket {
        client: 1,
        application: Some(name),
    };
    let mut long = line(&"\u{e9}".repeat(100_000), Some(hostile));
    long.what.targets = vec!["x".repeat(1000); 1000];
    audit.record(long);
    audit.finish();
    let length = fs::metadata(&path).unwrap().len();
    assert!(length < 10_000, "{length}");
    let [line] = &lines(&path)[..] else {
        panic!("one line");
    };
    assert!(line["principal"]["name"].as_str().unwrap().starts_with("1 a\n{"));
}

#[test]
fn files_are_rotated_by_their_size_and_so_many_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.log");
    for number in 0..=KEPT + 2 {
        fs::write(&path, vec![b'\n'; usize::try_from(FILE_BYTES_MAX).unwrap()]).unwrap();
        let mut file = AuditFile::new(path.clone());
        file.write(format!("{number}\n").as_bytes()).unwrap();
        assert!(!path.exists(), "the next line makes it");
    }
    let files = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(files, usize::try_from(KEPT).unwrap());
    let latest = fs::read_to_string(home.path().join("audit.log.old.1")).unwrap();
    assert_eq!(latest.trim(), (KEPT + 2).to_string());
}

/// Watches for files that are made in a directory, which [`appears`] waits for.
pub(crate) fn watch(directory: &Path) -> OwnedFd {
    let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, directory, WatchFlags::CREATE).unwrap();
    watch
}

pub(crate) fn appears(watch: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    Reader::new(watch, &mut buffer).next().unwrap();
}

#[test]
fn what_cannot_be_written_is_lost_told_and_counted_until_it_can() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("gone");
    let path = directory.join("audit.log");
    let counters = Counters::default();
    let (audit, mut writer, entries) = Audit::with_writer(&path, counters.clone());
    assert_eq!(audit.failing(), None);
    writer.open();
    assert!(audit.failing().is_some());
    assert_eq!(counters.get(Counted::AuditLinesLost), 0);
    writer.write(&[line("lost", None), line("lost", None)].map(|line| line.to_json()));
    assert_eq!(counters.get(Counted::AuditLinesLost), 2);
    let failing = audit.failing().unwrap();
    assert!(
        failing.starts_with("audit log: ") && failing.contains("are lost: No such file"),
        "{failing}"
    );
    fs::create_dir(&directory).unwrap();
    let watch = watch(&directory);
    let thread = thread::spawn(move || writer.run(&entries));
    // Nothing has to be asked for that.
    appears(&watch);
    audit.record(line("kept", None));
    audit.clone().finish();
    thread.join().unwrap();
    assert_eq!(audit.failing(), None);
    let lines = lines(&path);
    assert_eq!(lines[0]["lines_lost"], 2);
    assert_eq!(lines[1]["request"], "kept");
}

#[test]
fn a_file_that_was_moved_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.log");
    let mut file = AuditFile::new(path.clone());
    file.write(b"1\n").unwrap();
    fs::rename(&path, home.path().join("old")).unwrap();
    file.write(b"2\n").unwrap();
    fs::remove_file(&path).unwrap();
    file.write(b"3\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
}

#[test]
fn a_request_has_one_line_however_it_ends() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.log");
    let audit = Audit::start(Some(&path), Counters::default()).unwrap();
    let mut pending = Pending::new(audit.clone());
    let comes = |pending: &mut Pending<u8>, key, next, name: &str| {
        let what = What {
            request: name.to_owned(),
            ..What::default()
        };
        pending.comes(key, next, client(1), what);
    };
    comes(&mut pending, 1, None, "at once");
    pending.is_answered(&1, Outcome::Done, |_| {});
    pending.is_taken(false);
    comes(&mut pending, 2, Some(3), "in two steps");
    pending.is_taken(true);
    comes(&mut pending, 2, None, "twice");
    pending.is_taken(true);
    pending.is_answered(&2, Outcome::Done, |_| {});
    pending.is_answered(
        &3,
        Outcome::of(&[ResultRecord::failure("r".into(), "no")]),
        |_| {},
    );
    comes(&mut pending, 4, None, "may not");
    pending.is_refused("no role".to_owned(), true);
    pending.is_taken(false);
    comes(&mut pending, 4, None, "may not again");
    pending.is_refused("no role".to_owned(), false);
    pending.is_taken(false);
    comes(&mut pending, 5, None, "without an answer");
    pending.is_taken(false);
    audit.finish();
    let told: Vec<String> = lines(&path)
        .iter()
        .map(|line| format!("{} {}", line["request"], line["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "at once done",
            "twice failed",
            "in two steps failed",
            "may not refused",
            "without an answer done"
        ]
    );
}
