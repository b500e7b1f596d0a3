use std::os::unix::fs::PermissionsExt;

use broker_codec::{
    Data,
    data::{Port, ZeekString},
};

use super::*;
use crate::core::{WRITES_MAX, WriteId};

const SERIES: [(&str, &str); 2] = [("zeek-9.0.0-rc1", "2.8.0"), ("zeek-6.0.9", "2.6.0")];

fn fixture(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(folder)
        .join(FILE_NAME)
}

fn captured(series: &str) -> PathBuf {
    fixture(&format!("{series}/restart-controller"))
}

/// A directory that holds a copy of a store.
fn dir_with(store: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(store, dir.path().join(FILE_NAME)).unwrap();
    // The fixtures may be read-only.
    fs::set_permissions(dir.path().join(FILE_NAME), fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

/// Another program's view of the store in a directory.
fn other(dir: &Path) -> Connection {
    Connection::open(dir.join(FILE_NAME)).unwrap()
}

/// The rows of a file, by key.
fn rows(file: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = connection
        .prepare("select key, value from store where expiry is null")
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

fn key(slot: Slot) -> Vec<u8> {
    encode(&slot).unwrap().to_vec()
}

fn configuration(id: &str) -> Configuration {
    Configuration {
        id: id.into(),
        ..Configuration::default()
    }
}

fn ids(restored: &Restored) -> Vec<Option<ZeekString>> {
    let id = |slot: Slot| {
        restored
            .configurations
            .get(slot)
            .map(|configuration| configuration.id.clone())
    };
    Slot::ALL.map(id).to_vec()
}

fn all(restored: &Restored) -> Vec<(Slot, Configuration)> {
    let entry = |slot: Slot| {
        restored
            .configurations
            .get(slot)
            .map(|configuration| (slot, configuration.clone()))
    };
    Slot::ALL.into_iter().filter_map(entry).collect()
}

#[test]
fn the_stores_of_zeek_are_adopted() {
    for (series, version) in SERIES {
        let dir = dir_with(&captured(series));
        let (_store, restored) = Store::open(dir.path()).unwrap();
        assert_eq!(restored.broker_version.as_deref(), Some(version));
        assert_eq!(restored.unreadable, [], "{series}");
        assert_eq!(
            restored.adopted,
            [Slot::Ready, Slot::Staged, Slot::Deployed],
            "in the order of their keys"
        );
        for slot in Slot::ALL {
            let configuration = restored.configurations.get(slot).unwrap();
            assert_eq!(configuration.instances.len(), 1, "{series} {slot}");
            assert_eq!(configuration.nodes.len(), 5, "{series} {slot}");
        }
        assert_eq!(
            restored.configurations.staged.as_ref().map(|staged| &staged.id),
            ids(&restored)[2].as_ref()
        );
    }
}

#[test]
fn what_zeek_9_wrote_we_write_alike() {
    for store in [captured("zeek-9.0.0-rc1"), fixture("python3-broker")] {
        let dir = dir_with(&store);
        let (mut ours, restored) = Store::open(dir.path()).unwrap();
        assert_eq!(restored.unreadable, []);
        ours.write(&all(&restored), None).unwrap();
        drop(ours);
        assert_eq!(
            rows(&dir.path().join(FILE_NAME)),
            rows(&store),
            "{}",
            store.display()
        );

        let (_ours, again) = Store::open(dir.path()).unwrap();
        assert_eq!(again.configurations, restored.configurations);
        assert_eq!(again.adopted, [], "they are ours now");
        assert_eq!(again.broker_version.as_deref(), Some("2.8.0"));
    }
}

/// Zeek before 7.0 has nodes of ten fields, and ignores an eleventh.
#[test]
fn what_zeek_6_wrote_we_write_with_an_eleventh_field_per_node() {
    let store = captured("zeek-6.0.9");
    let dir = dir_with(&store);
    let (mut ours, restored) = Store::open(dir.path()).unwrap();
    ours.write(&all(&restored), None).unwrap();
    drop(ours);
    let written = rows(&dir.path().join(FILE_NAME));
    for (key, value) in rows(&store) {
        let Data::Vector(mut record) = binary::decode(&value).unwrap() else {
            panic!("a configuration is a record");
        };
        let Some(Data::Set(nodes)) = record.pop() else {
            panic!("its last field is the set of nodes");
        };
        let with_metrics_port = nodes.into_iter().map(|node| match node {
            Data::Vector(mut fields) if fields.len() == 10 => {
                fields.push(Data::None);
                Data::Vector(fields)
            }
            other => panic!("{other:?}"),
        });
        record.push(Data::Set(with_metrics_port.collect()));
        assert_eq!(binary::decode(&written[&key]).unwrap(), Data::Vector(record));
    }
}

#[test]
fn a_new_store_is_what_broker_would_have_made() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("var/lib/nodes/controller");
    let (mut store, restored) = Store::open(&dir).unwrap();
    assert_eq!(ids(&restored), [None, None, None]);
    assert_eq!(restored.broker_version, None);
    let schema = |connection: &Connection| {
        let mut statement = connection
            .prepare("select name, sql from sqlite_master where type = 'table' and name not like 'mgmt_%' order by name")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<(String, String)>>()
    };
    store.write(&[(Slot::Staged, configuration("id"))], None).unwrap();
    let zeek =
        Connection::open_with_flags(captured("zeek-9.0.0-rc1"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let ours = other(&dir);
    assert_eq!(schema(&ours), schema(&zeek));
    for pragma in [
        "journal_mode",
        "user_version",
        "page_size",
        "encoding",
        "auto_vacuum",
        "application_id",
    ] {
        let value = |connection: &Connection| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        assert_eq!(value(&ours), value(&zeek), "{pragma}");
    }
    let version: String = ours
        .query_row("select value from meta where key = 'broker_version'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(version, BROKER_VERSION);
    let extra: i64 = store
        .connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .unwrap();
    assert_eq!(extra, 3, "EXTRA");
}

#[test]
fn a_store_in_wal_mode_is_taken_back_to_the_mode_of_zeek() {
    let dir = dir_with(&captured("zeek-9.0.0-rc1"));
    other(dir.path())
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert!(restored.configurations.deployed.is_some());
    let mode: String = other(dir.path())
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");
}

#[test]
fn a_second_controller_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let StoreError::InUse { ref holder, .. } = error else {
        panic!("{error}");
    };
    assert!(
        holder.starts_with(&format!("process {}", std::process::id())),
        "{holder}"
    );
    assert!(
        error
            .to_string()
            .ends_with("stop that one, or choose another --name or --state-dir"),
        "{error}"
    );
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_file_is_refused_and_not_touched() {
    let good = fs::read(captured("zeek-9.0.0-rc1")).unwrap();
    let mut scribbled = good.clone();
    scribbled[4_096..6_000].fill(0x5a);
    for bad in [
        b"no database, but long enough for a header of one hundred bytes".repeat(9),
        good[..10_000].to_vec(),
        scribbled,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        fs::write(&file, &bad).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("move it away to start without configurations"),
            "{error}"
        );
        assert_eq!(fs::read(&file).unwrap(), bad);
    }
}

#[test]
fn a_foreign_database_is_refused_and_not_touched() {
    for sql in [
        "create table bookmarks(url text)",
        "create table store(name text); create table meta(key text primary key, value text)",
        "create table store(key blob primary key, value blob, expiry integer)",
    ] {
        let dir = tempfile::tempdir().unwrap();
        other(dir.path()).execute_batch(sql).unwrap();
        let before = fs::read(dir.path().join(FILE_NAME)).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{sql}: {error}");
        assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), before);
    }
}

#[test]
fn rows_that_cannot_be_read_are_named_and_kept() {
    let dir = dir_with(&captured("zeek-9.0.0-rc1"));
    let put = |key: &[u8], value: &[u8]| {
        other(dir.path())
            .execute(
                "replace into store(key, value, expiry) values(?, ?, null)",
                params![key, value],
            )
            .unwrap();
    };
    let unknown = encode(&Data::EnumValue(data::EnumValue(
        "Management::Controller::Runtime::FUTURE".into(),
    )));
    let unknown = unknown.unwrap().to_vec();
    put(&unknown, b"\x00");
    put(&key(Slot::Staged), b"\x0e\x01\x02\x00");
    put(&key(Slot::Ready), b"\x05\x01x");

    let (mut store, restored) = Store::open(dir.path()).unwrap();
    let ids = ids(&restored);
    assert_eq!((&ids[0], &ids[1]), (&None, &None));
    assert!(ids[2].is_some(), "DEPLOYED is still good");
    let unreadable: Vec<_> = restored
        .unreadable
        .iter()
        .map(|row| (row.slot, &row.key))
        .collect();
    assert_eq!(
        unreadable,
        [
            (Some(Slot::Ready), &key(Slot::Ready)),
            (None, &unknown),
            (Some(Slot::Staged), &key(Slot::Staged)),
        ]
    );
    for row in &restored.unreadable {
        assert!(!row.reason.is_empty());
    }

    // A new configuration replaces the unreadable ones, which are set aside; the unknown one stays where it is.
    store
        .write(
            &[
                (Slot::Staged, configuration("new")),
                (Slot::Ready, configuration("new")),
            ],
            None,
        )
        .unwrap();
    store
        .write(&[(Slot::Staged, configuration("newer"))], None)
        .unwrap();
    drop(store);
    assert_eq!(rows(&dir.path().join(FILE_NAME))[&unknown], b"\x00");
    let connection = other(dir.path());
    let mut statement = connection
        .prepare("select key, value from mgmt_unreadable order by key")
        .unwrap();
    let kept: Vec<(Vec<u8>, Vec<u8>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        kept,
        [
            (key(Slot::Ready), b"\x05\x01x".to_vec()),
            (key(Slot::Staged), b"\x0e\x01\x02\x00".to_vec()),
        ]
    );
}

#[test]
fn dismissed_instances_are_kept_with_the_configuration_that_they_were_stored_with() {
    let dir = tempfile::tempdir().unwrap();
    let instance = |name: &[u8], port: Option<u16>| Instance {
        name: name.into(),
        host: Address::UNSPECIFIED_V4,
        listen_port: port.map(Port::tcp),
    };
    let names = |names: &[&[u8]]| -> BTreeSet<_> {
        let instances = names.iter().map(|name| instance(name, Some(2151)));
        instances.collect()
    };
    let held = || Store::open(dir.path()).unwrap().1.configurations;
    let write = |id: &str, dismissed: Option<BTreeSet<Instance>>| {
        let entries = [(Slot::Deployed, configuration(id))];
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.write(&entries, dismissed.as_ref())
    };
    assert_eq!(held().dismissed, names(&[]));
    write("c1", Some(names(&[b"host1", b"\xff\0'"]))).unwrap();
    assert_eq!(held().dismissed, names(&[b"host1", b"\xff\0'"]));
    write("c2", None).unwrap();
    assert_eq!(
        held().dismissed,
        names(&[b"host1", b"\xff\0'"]),
        "unless they change"
    );
    write("c3", Some(names(&[b"host2"]))).unwrap();
    assert_eq!(held().dismissed, names(&[b"host2"]));

    // Version 0.1 knew names only.
    let without_places = "drop table mgmt_dismissed; create table mgmt_dismissed(name blob primary key);
                          insert into mgmt_dismissed values(x'ff')";
    other(dir.path()).execute_batch(without_places).unwrap();
    assert_eq!(held().dismissed, BTreeSet::from([instance(b"\xff", None)]));
    write("c3", Some(names(&[b"host2"]))).unwrap();
    assert_eq!(held().dismissed, names(&[b"host2"]));

    // Both or neither.
    other(dir.path())
        .execute_batch("create trigger full before insert on store begin select raise(abort, 'full'); end")
        .unwrap();
    write("c4", Some(names(&[b"host3"]))).unwrap_err();
    let held = held();
    assert_eq!(held.dismissed, names(&[b"host2"]));
    assert_eq!(held.deployed, Some(configuration("c3")));
}

#[test]
fn a_store_that_was_moved_away_takes_nothing_and_says_so_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let entries = [(Slot::Staged, configuration("c1"))];
    let (file, elsewhere) = (dir.path().join(FILE_NAME), dir.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    let error = store.write(&entries, None).unwrap_err();
    assert!(matches!(error, WriteError::Moved), "{error}");
    assert!(rows(&elsewhere).is_empty());

    fs::rename(&elsewhere, &file).unwrap();
    store.write(&entries, None).unwrap();
    assert_eq!(rows(&file).len(), 1);
}

#[test]
fn what_another_controller_wrote_since_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    store
        .write(&Slot::ALL.map(|slot| (slot, configuration("ours"))), None)
        .unwrap();
    drop(store);
    let theirs = encode(&configuration("theirs")).unwrap();
    other(dir.path())
        .execute(
            "replace into store(key, value, expiry) values(?, ?, null)",
            params![key(Slot::Staged), &theirs[..]],
        )
        .unwrap();
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(restored.adopted, [Slot::Staged]);
    assert_eq!(restored.configurations.staged.unwrap().id, "theirs");
    assert_eq!(restored.configurations.ready.unwrap().id, "ours");
}

#[test]
fn a_full_disk_fails_the_write_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    store
        .write(
            &[
                (Slot::Staged, configuration("old")),
                (Slot::Ready, configuration("old")),
            ],
            None,
        )
        .unwrap();
    // SQLite reports a limit on pages as it reports ENOSPC.
    let pages: i64 = store
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = |store: &Store, pages: i64| {
        let set = |_: &Row<'_>| Ok(());
        store
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, set)
            .unwrap();
    };
    limit(&store, pages);
    let large = configuration(&"x".repeat(100_000));
    let entries = [(Slot::Staged, configuration("new")), (Slot::Ready, large)];
    let error = store.write(&entries, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no space left; free space on its file system, then repeat the request"
    );

    limit(&store, 1_000_000);
    store
        .write(&[(Slot::Deployed, configuration("later"))], None)
        .unwrap();
    drop(store);
    let (_store, restored) = Store::open(dir.path()).unwrap();
    let ids: Vec<_> = ids(&restored)
        .into_iter()
        .map(|id| id.unwrap().to_string())
        .collect();
    assert_eq!(ids, ["old", "old", "later"], "both or none");
}

#[test]
fn a_store_that_is_readable_only_still_serves_its_configurations() {
    let dir = dir_with(&captured("zeek-6.0.9"));
    // Tests may run as root, whom no permission stops, but a trigger does.
    other(dir.path())
        .execute_batch(
            "create trigger m before insert on meta begin select raise(abort, 'no'); end;\
             create trigger s before insert on store begin select raise(abort, 'no'); end;",
        )
        .unwrap();
    let (mut store, restored) = Store::open(dir.path()).unwrap();
    assert!(restored.configurations.deployed.is_some());
    assert!(restored.not_writable.is_some());
    assert!(store.write(&[(Slot::Staged, configuration("x"))], None).is_err());
}

#[tokio::test]
async fn a_write_that_finds_no_room_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut thread = StoreThread::start(store).unwrap();
    // Another program has the file, for less time than we wait for it.
    let other = other(dir.path());
    other.execute_batch("begin exclusive").unwrap();
    let entries = || vec![(Slot::Staged, configuration("x"))];
    let mut accepted = 0;
    let refused = loop {
        match thread.write(WriteId(accepted), entries(), None) {
            Ok(()) => accepted += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.write, WriteId(accepted));
    assert_eq!(
        refused.outcome.unwrap_err(),
        "the configuration store does not take writes"
    );
    // One may be in the thread's hand.
    let room = u64::try_from(WRITES_MAX).unwrap();
    assert!((room..=room + 1).contains(&accepted), "{accepted}");

    other.execute_batch("rollback").unwrap();
    for number in 0..accepted {
        let ended = thread.ended().await.unwrap();
        assert_eq!((ended.write, ended.outcome), (WriteId(number), Ok(())));
    }
    assert_eq!(
        thread.counters(),
        StoreCounters {
            written: accepted,
            failed: 1
        }
    );
}

#[tokio::test]
async fn the_thread_reports_writes_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut thread = StoreThread::start(store).unwrap();
    for number in 0..10 {
        let entries = vec![(Slot::Staged, configuration(&number.to_string()))];
        thread.write(WriteId(number), entries, None).unwrap();
    }
    for number in 0..10 {
        let ended = thread.ended().await.unwrap();
        assert_eq!((ended.write, ended.outcome), (WriteId(number), Ok(())));
    }
    assert_eq!(
        thread.counters(),
        StoreCounters {
            written: 10,
            failed: 0
        }
    );
    drop(thread);
}
