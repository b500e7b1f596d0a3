use std::{fs, io, os::unix::fs::PermissionsExt, time::Duration};

use counters::Counters;

use super::*;
use crate::Counted;

/// Repeats what it is told, under an id of its own.
struct Echo(Box<dyn IdSource>);

impl Machine for Echo {
    type Start = ();
    type Input = String;
    type Action = String;
    type Request = String;

    const TICK: String = String::new();

    fn host(_: mgmt_api::HostState) -> Self::Input {
        unreachable!("it is told of no host")
    }

    fn start((): (), ids: Box<dyn IdSource>) -> Self {
        Self(ids)
    }

    fn step(&mut self, now: Now, input: String) -> Vec<String> {
        vec![format!(
            "{input} at {:?} is {}",
            now.since_start(),
            self.0.next_id()
        )]
    }

    fn deadline(&self) -> Option<Now> {
        None
    }

    fn request(_: &String) -> Option<String> {
        None
    }

    fn owes_answer(&self, _: &String) -> bool {
        false
    }
}

fn seed() -> Seed {
    Seed::new([7; Seed::LEN])
}

fn header() -> Header<()> {
    Header::new("echo", (), seed())
}

fn inputs() -> Vec<Entry<String>> {
    [(0, "this"), (1, "that"), (9999, "more"), (10_000, "größer")]
        .map(|(millis, input)| Entry {
            now: Now::from_start(Duration::from_millis(millis)),
            input: input.into(),
        })
        .into()
}

/// What a core really did, in the form of a replay.
fn done() -> String {
    let mut machine = Echo::start((), Box::new(seed().ids()));
    let mut lines = Vec::new();
    for entry in inputs() {
        lines.push(format!("> {}\n", serde_json::to_string(&entry).unwrap()));
        for action in machine.step(entry.now, entry.input) {
            lines.push(format!("< {}\n", serde_json::to_string(&action).unwrap()));
        }
    }
    lines.concat()
}

fn replayed(journal: &[u8]) -> (String, Result<Replayed, JournalError>) {
    let mut out = Vec::new();
    let replayed = replay::<Echo>(journal, &mut out);
    (String::from_utf8(out).unwrap(), replayed)
}

fn written_and_incomplete(counters: &Counters<Counted>) -> (u64, u64) {
    let of = |kind| counters.get(kind);
    (of(Counted::JournalWritten), of(Counted::JournalIncomplete))
}

fn written() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let counters = Counters::default();
    let mut journal = Journal::create(&path, &header(), &counters).unwrap();
    for Entry { now, input } in inputs() {
        journal.record(now, &input);
    }
    journal.finish();
    assert_eq!(written_and_incomplete(&counters), (4, 0));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read(path).unwrap()
}

#[test]
fn a_replay_does_what_the_core_did_ids_included() {
    let (out, outcome) = replayed(&written());
    assert_eq!(out, done());
    let Replayed {
        inputs, truncated, ..
    } = outcome.unwrap();
    assert_eq!((inputs, truncated), (4, false));
    assert!(out.contains(&seed().ids().next_id().to_string()), "{out}");
}

#[test]
fn a_journal_may_end_anywhere_after_its_header() {
    let journal = written();
    let header = journal.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in header..journal.len() {
        let (out, outcome) = replayed(&journal[..end]);
        assert!(done().starts_with(&out));
        let complete = journal[..end].ends_with(b"\n") || journal[end] == b'\n';
        assert_eq!(outcome.unwrap().truncated, !complete, "{end}");
    }
}

#[test]
fn what_is_not_a_journal_is_said_to_be_none() {
    let error = |journal: &str| replayed(journal.as_bytes()).1.unwrap_err().to_string();
    assert_eq!(error(""), "journal is empty");
    assert_eq!(error("hello\n"), "line 1 is not one of a journal");
    assert_eq!(
        error("{\"journal\":1}\n"),
        "journal has format 1, this program reads 4"
    );
    let foreign = "{\"journal\":4,\"program\":\"mgmt-agent 0.1.0\"}\n";
    assert_eq!(
        error(foreign),
        "this journal was written by \"mgmt-agent 0.1.0\": this program cannot read its first line"
    );

    let mut bad = serde_json::to_string(&header()).unwrap();
    bad.push_str("\n{}\n");
    assert_eq!(error(&bad), "line 2 is not one of a journal");
}

#[test]
fn text_that_is_no_utf_8_is_no_journal_unless_it_is_cut_off() {
    let mut journal = written();
    let end = journal.len();
    journal.extend(b"{\"now\":\xff}\n");
    let (_, outcome) = replayed(&journal);
    assert_eq!(outcome.unwrap_err().to_string(), "line 6 is not one of a journal");
    let (_, outcome) = replayed(&journal[..end + 8]);
    assert!(outcome.unwrap().truncated);
}

/// What a name below a private directory leads to: a link to a device stands for the device, which as root could be renamed.
#[test]
fn only_a_file_is_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let device = dir.path().join("device");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    for (path, reason) in [(&folder, "is a directory"), (&device, "is no regular file")] {
        let problem = Journal::<String>::create(path, &header(), &Counters::default()).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem}");
        assert!(fs::symlink_metadata(path).is_ok(), "it is where it was");
    }
}

#[test]
fn the_journal_before_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    Journal::<String>::create(&path, &header(), &Counters::default())
        .unwrap()
        .finish();
    let first = fs::read(&path).unwrap();
    let mut journal = Journal::create(&path, &header(), &Counters::default()).unwrap();
    journal.record(Now::START, &String::new());
    journal.finish();
    assert_eq!(fs::read(dir.path().join("journal.previous")).unwrap(), first);
    assert!(fs::read(&path).unwrap().len() > first.len());
}

/// Takes this many writes and then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_journal_and_nothing_else() {
    let counters = Counters::default();
    let mut journal = Journal::start(Full(2), &header(), counters.clone()).unwrap();
    for Entry { now, input } in inputs() {
        journal.record(now, &input);
    }
    journal.finish();
    assert_eq!(written_and_incomplete(&counters), (1, 1));
}

/// Takes nothing before the other end of the channel is gone, and then nothing either if its disk is full.
struct Stuck {
    gone: std::sync::mpsc::Receiver<()>,
    is_full: bool,
    has_header: bool,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The header passes.
        if std::mem::replace(&mut self.has_header, true) {
            let _gone = self.gone.recv();
            if self.is_full {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was written of more than can wait, and how often the journal was incomplete.
fn written_slowly(is_full: bool) -> (u64, u64) {
    let (release, gone) = std::sync::mpsc::channel();
    let counters = Counters::default();
    let disk = Stuck {
        gone,
        is_full,
        has_header: false,
    };
    let mut journal = Journal::start(disk, &header(), counters.clone()).unwrap();
    // One may be with the disk already.
    for _ in 0..ENTRIES_MAX + 2 {
        journal.record(Now::START, &String::new());
    }
    drop(release);
    journal.record(Now::START, &String::new());
    journal.finish();
    written_and_incomplete(&counters)
}

#[test]
fn a_slow_disk_ends_the_journal_without_a_hole() {
    let (written, incomplete) = written_slowly(false);
    assert_eq!(incomplete, 1);
    let expected = ENTRIES_MAX as u64;
    assert!((expected..=expected + 1).contains(&written), "{written}");
}

#[test]
fn a_journal_on_a_disk_that_is_slow_and_then_full_is_counted_once() {
    assert_eq!(written_slowly(true), (0, 1));
}

#[test]
fn seeds_are_written_in_hexadecimal_and_not_shown() {
    let text = serde_json::to_string(&seed()).unwrap();
    assert_eq!(text, format!("\"{}\"", "07".repeat(Seed::LEN)));
    assert_eq!(serde_json::from_str::<Seed>(&text).unwrap(), seed());
    for (bad, expected) in [
        ("\"07\"".to_owned(), "Invalid string length"),
        ("\"é\"".to_owned(), "Invalid string length"),
        (
            format!("\"{}\"", "zz".repeat(Seed::LEN)),
            "Invalid character 'z' at position 0",
        ),
    ] {
        let error = serde_json::from_str::<Seed>(&bad).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(format!("{:?}", seed()), "Seed(..)");
}

#[test]
fn ids_of_a_seed_differ_and_repeat() {
    let (mut first, mut second) = (seed().ids(), seed().ids());
    let ids: Vec<_> = (0..100).map(|_| first.next_id()).collect();
    assert!(ids.iter().all(|id| *id == second.next_id()));
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert_ne!(Seed::new([8; Seed::LEN]).ids().next_id(), ids[0]);
}
