//! Stores that Zeek wrote, and what ours has in common with them.

use broker_codec::Data;

use super::*;

const SERIES: [(&str, &str); 2] = [("zeek-9.0.0-rc1", "2.8.0"), ("zeek-6.0.9", "2.6.0")];

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
        let ids = ids(&restored);
        assert_eq!(ids[0].1, ids[2].1, "what is staged is deployed");
    }
}

#[test]
fn what_zeek_9_wrote_we_write_alike() {
    for store in [captured("zeek-9.0.0-rc1"), fixture("python3-broker")] {
        let dir = dir_with(&store);
        let (mut ours, restored) = Store::open(dir.path()).unwrap();
        assert_eq!(restored.unreadable, []);
        write(&mut ours, all(&restored)).unwrap();
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
    write(&mut ours, all(&restored)).unwrap();
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
    assert_eq!(ids(&restored), []);
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
    write(&mut store, staged("id")).unwrap();
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
fn what_another_controller_wrote_since_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let ours = Slot::ALL.map(|slot| (slot, configuration("ours")));
    write(&mut store, ours.into()).unwrap();
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
