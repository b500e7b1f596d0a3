mod clusters;
mod revisions;
mod zeek;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use broker_codec::{
    Data,
    data::{Address, Port, ZeekString},
};

use mgmt_api::{Configuration, Instance};
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{
    sqlite::{BROKER_VERSION, encode},
    *,
};
use crate::core::{Slot, WRITES_MAX, WriteId};

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

fn configuration(id: &str) -> Arc<Configuration> {
    Arc::new(Configuration {
        id: id.into(),
        ..Configuration::default()
    })
}

fn staged(id: &str) -> Vec<(Slot, Arc<Configuration>)> {
    vec![(Slot::Staged, configuration(id))]
}

fn write(store: &mut Store, entries: Vec<(Slot, Arc<Configuration>)>) -> Result<(), WriteError> {
    store.write(&changes(entries))
}

fn changes(entries: Vec<(Slot, Arc<Configuration>)>) -> Changes {
    Changes {
        entries,
        ..Changes::default()
    }
}

fn all(restored: &Restored) -> Vec<(Slot, Arc<Configuration>)> {
    let entry = |slot| Some((slot, restored.configurations.get(slot)?.clone().into()));
    Slot::ALL.into_iter().filter_map(entry).collect()
}

/// The slots that hold something, and the ids.
fn ids(restored: &Restored) -> Vec<(Slot, ZeekString)> {
    let entries = all(restored).into_iter();
    entries
        .map(|(slot, configuration)| (slot, configuration.id.clone()))
        .collect()
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
fn a_damaged_or_foreign_file_is_refused_and_not_touched() {
    let good = fs::read(captured("zeek-9.0.0-rc1")).unwrap();
    let mut scribbled = good.clone();
    scribbled[4_096..6_000].fill(0x5a);
    let database = |sql: &str| {
        let dir = tempfile::tempdir().unwrap();
        other(dir.path()).execute_batch(sql).unwrap();
        fs::read(dir.path().join(FILE_NAME)).unwrap()
    };
    for (bad, is_foreign) in [
        (
            b"no database, but long enough for a header of one hundred bytes".repeat(9),
            false,
        ),
        (good[..10_000].to_vec(), false),
        (scribbled, false),
        (database("create table bookmarks(url text)"), true),
        (
            database("create table store(name text); create table meta(key text primary key, value text)"),
            true,
        ),
        (
            database("create table store(key blob primary key, value blob, expiry integer)"),
            true,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        fs::write(&file, &bad).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        match error {
            StoreError::Damaged { .. } => assert!(!is_foreign, "{error}"),
            StoreError::Foreign { .. } => assert!(is_foreign, "{error}"),
            _ => panic!("{error}"),
        }
        let advice = "move it away to start without configurations";
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(fs::read(&file).unwrap(), bad);
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
    assert!(matches!(ids[..], [(Slot::Deployed, _)]), "it is still good");
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
    let both = [Slot::Staged, Slot::Ready].map(|slot| (slot, configuration("new")));
    write(&mut store, both.into()).unwrap();
    write(&mut store, staged("newer")).unwrap();
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
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.write(&Changes {
            entries: vec![(Slot::Deployed, configuration(id))],
            dismissed,
            ..Changes::default()
        })
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
    write("c3", Some(names(&[b"host2", b"sensor3"]))).unwrap();
    let page = include_str!("../../../docs/deployments.md");
    let (_, command) = page.split_once("sqlite3 FILE \"").unwrap();
    let (to_forget_one, _) = command.split_once('"').unwrap();
    other(dir.path()).execute_batch(to_forget_one).unwrap();
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
    let (file, elsewhere) = (dir.path().join(FILE_NAME), dir.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    let error = write(&mut store, staged("c1")).unwrap_err();
    assert!(matches!(error, WriteError::Moved), "{error}");
    assert!(rows(&elsewhere).is_empty());

    fs::rename(&elsewhere, &file).unwrap();
    write(&mut store, staged("c1")).unwrap();
    assert_eq!(rows(&file).len(), 1);
}

#[test]
fn a_full_disk_fails_the_write_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let both = [Slot::Staged, Slot::Ready].map(|slot| (slot, configuration("old")));
    write(&mut store, both.into()).unwrap();
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
    let error = write(&mut store, [staged("new"), vec![(Slot::Ready, large)]].concat()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no space left; free space on its file system, then repeat the request"
    );

    limit(&store, 1_000_000);
    write(&mut store, vec![(Slot::Deployed, configuration("later"))]).unwrap();
    drop(store);
    let (_store, restored) = Store::open(dir.path()).unwrap();
    let expected = [
        (Slot::Staged, "old"),
        (Slot::Ready, "old"),
        (Slot::Deployed, "later"),
    ];
    assert_eq!(
        ids(&restored),
        expected.map(|(slot, id)| (slot, id.into())),
        "both or none"
    );
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
    assert!(write(&mut store, staged("x")).is_err());
}

#[tokio::test]
async fn writes_end_in_their_order_and_one_that_finds_no_room_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut thread = StoreThread::start(store, WRITES_MAX).unwrap();
    // Another program has the file, for less time than we wait for it.
    let other = other(dir.path());
    other.execute_batch("begin exclusive").unwrap();
    let mut accepted = 0;
    let refused = loop {
        match thread.write(WriteId(accepted), changes(staged("x"))) {
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
        let written = Written {
            write: WriteId(number),
            outcome: Ok(()),
        };
        assert_eq!(thread.ended().await, Some(Done::Written(written)));
    }
}
