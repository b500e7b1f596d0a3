mod ca;

use std::{fs, os::unix::fs::PermissionsExt, process::Command, sync::mpsc, thread};

use mgmt_api::Configuration;
use rusqlite::Connection;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::{restore::restore, *};
use crate::{
    core::{Changes, Slot},
    store::FILE_NAME,
};

const TOKENS: &str = r#"{"tokens": []}"#;

/// A host with directories of its own.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a store in which a configuration of this id is staged, and tokens.
    fn with(id: &str) -> Self {
        let host = Self::new();
        host.stage(id);
        fs::write(&host.places().tokens, TOKENS).unwrap();
        host
    }

    fn places(&self) -> Places {
        let directory = self.0.path().join("state/nodes/controller");
        Places {
            name: "controller".to_owned(),
            directory: directory.clone(),
            store: directory.join(FILE_NAME),
            tokens: directory.join("tokens.json"),
            ca: directory.join("ca"),
        }
    }

    fn open(&self) -> (Store, Option<mgmt_api::ControllerId>) {
        let (store, restored) = Store::open(self.places().store.parent().unwrap()).unwrap();
        (store, restored.identity)
    }

    fn stage(&self, id: &str) {
        self.open().0.write(&staging(id)).unwrap();
    }

    fn staged(&self) -> Option<String> {
        let found = Store::look_at(&self.places().store).unwrap().inspect().unwrap();
        found.clusters[0].staged.as_ref().map(|slot| slot.id.clone())
    }

    fn backup(&self) -> PathBuf {
        let file = self.0.path().join("backup");
        make(&self.places(), &file, true).unwrap();
        file
    }

    /// All files and their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = self.places().store.parent().unwrap().to_owned();
        let entries = fs::read_dir(directory).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

fn staging(id: &str) -> Changes {
    Changes {
        entries: vec![(
            Slot::Staged,
            Configuration {
                id: id.into(),
                ..Configuration::default()
            }
            .into(),
        )],
        ..Changes::default()
    }
}

fn archive_of(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, content) in members {
        let mut header = Header::new_gnu();
        // `set_path` would refuse what is hostile.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn a_backup_moves_a_controller_to_another_host_with_a_higher_generation() {
    let old = Host::with("c1");
    let identity = old.open().1.unwrap();
    assert_eq!(identity.generation, 0);
    assert_eq!(old.open().1.as_ref(), Some(&identity), "it is made once");
    let backup = old.backup();
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(verify_backup(&backup).unwrap(), [""; 0]);

    let new = Host::new();
    let done = restore(&new.places(), &backup).unwrap();
    assert!(done.kept.is_empty());
    assert_eq!(new.staged().as_deref(), Some("c1"));
    assert_eq!(fs::read_to_string(&new.places().tokens).unwrap(), TOKENS);
    assert_eq!(new.open().1.as_ref(), Some(&done.identity));
    assert!(done.identity.succeeds(&identity) && !identity.succeeds(&done.identity));
    assert_eq!(verify(&new.places()).unwrap(), [""; 0]);

    // Once more, in its place: what was there is kept, and the generation is higher than both.
    new.stage("c2");
    let again = restore(&new.places(), &backup).unwrap();
    assert_eq!(again.kept.len(), 2, "{:?}", again.kept);
    assert_eq!(new.staged().as_deref(), Some("c1"));
    assert!(again.identity.generation > done.identity.generation);
    let kept = again
        .kept
        .iter()
        .find(|kept| kept.to_string_lossy().contains("sqlite"))
        .unwrap();
    let kept = Store::look_at(kept).unwrap().inspect().unwrap();
    assert_eq!(kept.clusters[0].staged.as_ref().unwrap().id, "c2");
}

#[test]
fn a_token_made_after_the_backup_does_not_outlast_its_restoration() {
    let host = Host::new();
    host.stage("c1");
    let backup = host.backup();
    fs::write(&host.places().tokens, TOKENS).unwrap();
    let done = restore(&host.places(), &backup).unwrap();
    assert_eq!(done.kept.len(), 2);
    assert!(!host.places().tokens.exists());
}

#[test]
fn what_cannot_be_restored_as_a_whole_is_not_restored_in_part() {
    let host = Host::with("c1");
    let backup = host.backup();
    let newer = r#"{"tokens":[]}"#;
    fs::write(&host.places().tokens, newer).unwrap();
    host.stage("c2");
    let before = host.files();
    // Where the store would be written first.
    let obstacle = files::with_suffix(&host.places().store, &format!(".{}", std::process::id()));
    fs::create_dir(&obstacle).unwrap();
    restore(&host.places(), &backup).unwrap_err();
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(host.files(), before);
    restore(&host.places(), &backup).unwrap();
    assert_eq!(host.staged().as_deref(), Some("c1"));
}

#[test]
fn a_backup_is_one_moment_of_a_store_that_is_written_all_the_time() {
    let host = Host::with("c0");
    let (mut store, _) = host.open();
    let file = host.0.path().join("under load");
    let (backed_up, next) = mpsc::channel();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for number in 1..=200 {
                // Without a pause a busy machine may keep a backup waiting for longer than it does.
                if number % 10 == 0 {
                    next.recv().unwrap();
                }
                let id = format!("c{number}");
                let both = [Slot::Staged, Slot::Ready].map(|slot| {
                    let config = Configuration {
                        id: id.as_str().into(),
                        ..Configuration::default()
                    };
                    (slot, config.into())
                });
                let changes = Changes {
                    entries: both.into(),
                    ..Changes::default()
                };
                store.write(&changes).unwrap();
            }
        });
        let mut count = 0;
        while !writer.is_finished() || count == 0 {
            make(&host.places(), &file, true).unwrap();
            let target = Host::new();
            restore(&target.places(), &file).unwrap();
            let found = Store::look_at(&target.places().store).unwrap().inspect().unwrap();
            let default = &found.clusters[0];
            let id = |slot: &Option<crate::store::SlotReport>| slot.as_ref().map(|slot| slot.id.clone());
            // Before its first write, the store has what was staged.
            if id(&default.ready).is_some() {
                assert_eq!(
                    id(&default.staged),
                    id(&default.ready),
                    "both are of one transaction"
                );
            }
            count += 1;
            // The writer may have ended.
            let _ = backed_up.send(());
        }
    });
}

#[test]
fn no_file_is_replaced_unless_that_is_wanted() {
    let host = Host::with("c1");
    let file = host.0.path().join("there");
    fs::write(&file, "precious").unwrap();
    let error = make(&host.places(), &file, false).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is there already: choose another name, or add --replace"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    make(&host.places(), &file, true).unwrap();
    assert_eq!(verify_backup(&file).unwrap(), [""; 0]);

    let own = host.places();
    let (audit, key) = (own.directory.join("audit.log"), own.ca.join("controller.key"));
    fs::create_dir(&own.ca).unwrap();
    for own in [&audit, &key] {
        fs::write(own, "precious").unwrap();
    }
    make(&host.places(), &own.ca.join("new"), false).unwrap_err();
    for own in [&own.store, &own.tokens, &audit, &key] {
        let before = fs::read(own).unwrap();
        let error = make(&host.places(), own, true).unwrap_err().to_string();
        assert!(error.contains("is a file of the controller's own"), "{error}");
        assert_eq!(fs::read(own).unwrap(), before);
    }

    let fifo = host.0.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for special in [
        &fifo,
        host.0.path(),
        Path::new("/dev/null"),
        Path::new("/nonexistent/file"),
    ] {
        make(&host.places(), special, true).unwrap_err();
    }
    let beside: Vec<_> = fs::read_dir(host.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(beside.len(), 3, "nothing is left over: {beside:?}");
}

#[test]
fn a_store_that_is_not_there_or_damaged_is_not_backed_up_and_what_is_wrong_is_named() {
    let host = Host::new();
    let file = host.0.path().join("backup");
    let error = make(&host.places(), &file, false).unwrap_err();
    assert!(
        matches!(error, BackupError::Store(StoreError::Read { .. })),
        "{error}"
    );

    let host = Host::with("c1");
    let store = host.places().store;
    fs::write(&host.places().tokens, "{").unwrap();
    assert!(matches!(
        make(&host.places(), &file, false),
        Err(BackupError::Unusable { .. })
    ));
    let faults = verify(&host.places()).unwrap();
    assert!(faults[0].contains("tokens.json is damaged"), "{faults:?}");
    fs::write(&host.places().tokens, TOKENS).unwrap();

    let sound = fs::read(&store).unwrap();
    fs::write(&store, "").unwrap();
    let faults = verify(&host.places()).unwrap();
    assert!(faults[0].ends_with("it is empty"), "{faults:?}");
    make(&host.places(), &file, false).unwrap_err();
    fs::write(&store, sound).unwrap();

    // A value that no controller can read is told of, and kept.
    let connection = Connection::open(&store).unwrap();
    connection
        .execute("update store set value = x'00ff'", ())
        .unwrap();
    connection
        .execute("update mgmt_identity set identity = 'no number'", ())
        .unwrap();
    drop(connection);
    let faults = verify(&host.places()).unwrap();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("STAGED")), "{faults:?}");
    assert!(
        faults.iter().any(|fault| fault.contains("mgmt_identity")),
        "{faults:?}"
    );
    assert_eq!(make(&host.places(), &file, false).unwrap().len(), 2);

    let mut bytes = fs::read(&store).unwrap();
    bytes[4_096..6_000].fill(0x5a);
    fs::write(&store, &bytes).unwrap();
    assert!(!verify(&host.places()).unwrap().is_empty());
    assert!(matches!(
        make(&host.places(), &file, true),
        Err(BackupError::Unusable { .. } | BackupError::Store(_))
    ));
    assert_eq!(fs::read(&store).unwrap(), bytes, "nothing is changed");
}

#[test]
fn what_is_no_good_backup_is_refused_with_a_reason_and_nothing_is_changed() {
    let host = Host::with("mine");
    let before = host.files();
    let other = Host::with("other");
    let good = fs::read(other.backup()).unwrap();
    let manifest = |json: serde_json::Value| json.to_string().into_bytes();
    let newer = manifest(serde_json::json!({"format": 2, "program": "mgmt-controller 9.9.9"}));
    let hostile = manifest(serde_json::json!({
        "format": 1, "program": "p", "name": "n", "created": "c",
        "files": [{"name": "../../../etc/passwd", "bytes": 1, "sha256": ""}],
    }));
    let link = manifest(serde_json::json!({
        "format": 1, "program": "p", "name": "n", "created": "c",
        "files": [{"name": "store.sqlite", "bytes": 0, "sha256": ""}],
    }));
    let (file, symlink) = (EntryType::Regular, EntryType::Symlink);
    let name = "manifest.json";
    let store = fs::read(other.places().store).unwrap();
    let mut flipped = good.clone();
    let at = flipped.windows(8).position(|part| part == b"SQLite f").unwrap();
    flipped[at + 200] ^= 1;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "no tar archive"),
        (b"hello".to_vec(), "no tar archive"),
        (vec![0; 4096], "no tar archive"),
        (store, "it is an SQLite database"),
        (good[..good.len() / 2].to_vec(), "damaged"),
        (good[..700].to_vec(), "damaged"),
        (flipped, "store.sqlite is not what was backed up"),
        (archive_of(&[(name, file, b"{")]), "its manifest cannot be read"),
        (
            archive_of(&[(name, file, &newer)]),
            "was made by mgmt-controller 9.9.9",
        ),
        (
            archive_of(&[(name, file, &hostile), ("../../../etc/passwd", file, b"x")]),
            "its manifest names \"../../../etc/passwd\"",
        ),
        (archive_of(&[(name, symlink, b"")]), "no tar archive"),
        (
            archive_of(&[(name, file, &link), ("store.sqlite", symlink, b"")]),
            "something else stands",
        ),
        (archive_of(&[(name, file, &link)]), "cut short"),
        (archive_of(&[("tokens.json", file, b"{}")]), "no tar archive"),
    ];
    let path = host.0.path().join("case");
    for (bytes, expected) in cases {
        fs::write(&path, bytes).unwrap();
        let error = restore(&host.places(), &path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
        assert_eq!(verify_backup(&path).unwrap(), [error]);
        assert_eq!(host.files(), before);
    }
    let fifo = host.0.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for special in [
        &fifo,
        host.0.path(),
        Path::new("/dev/zero"),
        Path::new("/nonexistent"),
    ] {
        assert!(matches!(
            restore(&host.places(), special),
            Err(BackupError::Read { .. })
        ));
        assert!(matches!(verify_backup(special), Err(BackupError::Read { .. })));
    }
    assert_eq!(host.files(), before);
}

#[test]
fn every_length_to_which_a_backup_is_cut_is_found() {
    let host = Host::with("c1");
    let good = fs::read(host.backup()).unwrap();
    let path = host.0.path().join("cut");
    // What follows the store are zeros that end the archive.
    let end = good.iter().rposition(|byte| *byte != 0).unwrap();
    for length in (0..end).step_by(509) {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(verify_backup(&path).unwrap().len(), 1, "{length}");
    }
}

#[test]
fn nothing_is_restored_under_a_running_controller() {
    let host = Host::with("c1");
    let backup = host.backup();
    let _running = host.open();
    let before = host.files();
    let error = restore(&host.places(), &backup).unwrap_err();
    assert!(matches!(error, BackupError::InUse { .. }), "{error}");
    assert_eq!(host.files(), before);
}

#[test]
fn a_damaged_store_is_replaced_and_kept_with_its_journal() {
    let host = Host::with("c1");
    let backup = host.backup();
    let store = host.places().store;
    fs::write(
        &store,
        "no database, but long enough for a header of one hundred bytes".repeat(9),
    )
    .unwrap();
    let journal = files::with_suffix(&store, "-journal");
    fs::write(&journal, "half a transaction").unwrap();
    let done = restore(&host.places(), &backup).unwrap();
    assert_eq!(host.staged().as_deref(), Some("c1"));
    assert!(!journal.exists());
    let kept = done
        .kept
        .iter()
        .find(|kept| kept.to_string_lossy().contains("sqlite"))
        .unwrap();
    assert_eq!(
        fs::read_to_string(files::with_suffix(kept, "-journal")).unwrap(),
        "half a transaction"
    );
}
