//! The clusters besides `default`.

use super::*;

fn of(cluster: &str, changes: Changes) -> Changes {
    Changes {
        cluster: Some(cluster.try_into().unwrap()),
        ..changes
    }
}

fn restored(dir: &Path) -> Restored {
    Store::open(dir).unwrap().1
}

#[test]
fn each_cluster_has_its_own_and_zeeks_tables_stay_as_they_are() {
    let store = captured("zeek-9.0.0-rc1");
    let dir = dir_with(&store);
    let (mut ours, before) = Store::open(dir.path()).unwrap();
    let instance = Instance::new("host1");
    let deployed = Changes {
        entries: vec![(Slot::Deployed, configuration("c2"))],
        dismissed: Some([instance.clone()].into()),
        ..Changes::default()
    };
    for (cluster, changes) in [
        ("a", changes(staged("c1"))),
        ("b", changes(staged("c1"))),
        ("b", deployed),
        ("a", changes(staged("c3"))),
    ] {
        ours.write(&of(cluster, changes)).unwrap();
    }
    drop(ours);
    assert_eq!(rows(&dir.path().join(FILE_NAME)), rows(&store));

    let after = restored(dir.path());
    assert_eq!(after.configurations, before.configurations);
    let [a, b] = ["a", "b"].map(|name| &after.clusters[name]);
    let id = |slot: &Option<Arc<Configuration>>| slot.as_ref().map(|config| config.id.to_string());
    assert_eq!([id(&a.staged), id(&a.deployed)], [Some("c3".into()), None]);
    assert_eq!(
        [id(&b.staged), id(&b.deployed)],
        [Some("c1".into()), Some("c2".into())]
    );
    assert_eq!(b.dismissed, [instance].into());

    let removal = Changes {
        is_removal: true,
        ..Changes::default()
    };
    let (mut ours, _) = Store::open(dir.path()).unwrap();
    ours.write(&of("b", removal)).unwrap();
    drop(ours);
    let after = restored(dir.path());
    assert_eq!(after.configurations, before.configurations);
    assert_eq!(after.clusters.len(), 1);
}

#[test]
fn what_cannot_be_read_of_a_cluster_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ours, _) = Store::open(dir.path()).unwrap();
    ours.write(&of("a", changes(staged("c1")))).unwrap();
    drop(ours);
    let connection = other(dir.path());
    connection
        .execute_batch(
            "update mgmt_clusters set staged = x'ff'; insert into mgmt_clusters(cluster) values('/')",
        )
        .unwrap();
    drop(connection);

    let (mut ours, found) = Store::open(dir.path()).unwrap();
    let unreadable: Vec<_> = found
        .unreadable
        .iter()
        .map(|row| (row.slot, &row.key[..]))
        .collect();
    assert_eq!(unreadable, [(Some(Slot::Staged), &b"a"[..]), (None, b"/")]);
    assert_eq!(found.clusters["a"].staged, None);
    ours.write(&of("a", changes(staged("c2")))).unwrap();
    drop(ours);
    let kept: Vec<u8> = other(dir.path())
        .query_row("select value from mgmt_unreadable", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, [0xff]);
    assert_eq!(restored(dir.path()).unreadable.len(), 1);
}
