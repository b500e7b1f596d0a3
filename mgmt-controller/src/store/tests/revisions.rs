//! Revisions of clusters.

use mgmt_api::{ClusterRole, Node};

use super::*;
use crate::core::{RecallId, Recorded, Revision, sealed};

fn with_nodes(id: &str, nodes: u8) -> Arc<Configuration> {
    let node = |number| Node::new(format!("w{number}"), "host1", ClusterRole::Worker);
    Arc::new(Configuration::new(
        id,
        [Instance::new("host1")],
        (0..nodes).map(node),
    ))
}

fn revision(number: u32, config: &Configuration) -> Revision {
    let (checksum, bytes) = sealed(config).unwrap();
    Revision {
        number,
        configuration: config.id.clone(),
        checksum,
        bytes,
        at: Some(1_795_877_280),
        asked_by: Some("token t\u{fc}".into()),
        note: None,
    }
}

/// What is written when these configurations are deployed under these numbers, and others go.
fn recorded(cluster: &str, added: &[(u32, &Arc<Configuration>)], pruned: &[u32]) -> Changes {
    let added = added.iter();
    let added = added.map(|(number, config)| (revision(*number, config), Arc::clone(config)));
    let recorded = Recorded {
        added: added.collect(),
        pruned: pruned.into(),
    };
    let entries = recorded
        .added
        .iter()
        .map(|(_, config)| (Slot::Deployed, Arc::clone(config)));
    Changes {
        cluster: ClusterName::try_from(cluster).unwrap().besides_default(),
        entries: entries.collect(),
        recorded,
        ..Changes::default()
    }
}

fn name(cluster: &str) -> ClusterName {
    cluster.try_into().unwrap()
}

fn numbers(configurations: &Configurations) -> Vec<u32> {
    let revisions = configurations.revisions.iter();
    revisions.map(|revision| revision.number).collect()
}

fn reopened(dir: &Path) -> Restored {
    Store::open(dir).unwrap().1
}

#[test]
fn revisions_of_each_cluster_come_and_go_with_what_is_deployed_and_zeeks_tables_stay_as_they_are() {
    let dir = dir_with(&captured("zeek-9.0.0-rc1"));
    let (mut ours, before) = Store::open(dir.path()).unwrap();
    assert!(
        before.configurations.revisions.is_empty(),
        "a store of Zeek's has none"
    );
    let [one, two, three] = [1, 2, 3].map(|nodes| with_nodes(&format!("c{nodes}"), nodes));
    for changes in [
        recorded("default", &[(1, &one), (2, &two)], &[]),
        recorded("a", &[(1, &three)], &[]),
        recorded("default", &[(3, &three)], &[1]),
    ] {
        ours.persist(&changes).unwrap();
    }
    let recall = |store: &mut Store, cluster, number| store.recall(&name(cluster), number);
    assert_eq!(recall(&mut ours, "default", 2).as_ref(), Ok(&*two));
    assert_eq!(recall(&mut ours, "a", 1).as_ref(), Ok(&*three));
    let gone = recall(&mut ours, "default", 1).unwrap_err();
    assert!(gone.ends_with("it is not there any more"), "{gone}");
    drop(ours);

    let after = reopened(dir.path());
    assert!(after.unreadable.is_empty());
    let found: Vec<_> = after.configurations.revisions.iter().cloned().collect();
    assert_eq!(found, [revision(2, &two), revision(3, &three)]);
    assert_eq!(
        after.configurations.deployed_revision(),
        Some(&revision(3, &three))
    );
    assert_eq!(numbers(&after.clusters["a"]), [1]);

    // All or nothing.
    let (mut ours, _) = Store::open(dir.path()).unwrap();
    other(dir.path())
        .execute_batch(
            "create trigger full before insert on mgmt_revisions begin select raise(abort, 'full'); end",
        )
        .unwrap();
    ours.persist(&recorded("default", &[(4, &one)], &[2]))
        .unwrap_err();
    drop(ours);
    assert_eq!(reopened(dir.path()).configurations, after.configurations);
}

#[test]
fn a_cluster_that_is_deleted_leaves_no_revision_to_the_next_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_nodes("c1", 1);
    let removal = Changes {
        cluster: Some(name("a")),
        is_removal: true,
        ..Changes::default()
    };
    let (mut ours, _) = Store::open(dir.path()).unwrap();
    ours.persist(&removal).unwrap();
    ours.persist(&recorded("a", &[(1, &config)], &[])).unwrap();
    ours.persist(&recorded("b", &[(1, &config)], &[])).unwrap();
    ours.persist(&removal).unwrap();
    ours.recall(&name("a"), 1).unwrap_err();
    ours.recall(&name("b"), 1).unwrap();
    drop(ours);
    // By an earlier release, which does not know of them.
    other(dir.path())
        .execute_batch("delete from mgmt_clusters where cluster = 'b'")
        .unwrap();
    let (mut ours, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(restored.clusters.len(), 0);
    let staged = changes(staged("c2"));
    ours.persist(&Changes {
        cluster: Some(name("b")),
        ..staged
    })
    .unwrap();
    drop(ours);
    assert!(reopened(dir.path()).clusters["b"].revisions.is_empty());
}

#[test]
fn revisions_that_cannot_be_read_are_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|nodes| with_nodes(&format!("c{nodes}"), nodes));
    let (mut ours, _) = Store::open(dir.path()).unwrap();
    let all = [1, 2, 3, 4].map(|number| (number, &one));
    ours.persist(&recorded("default", &all, &[])).unwrap();
    drop(ours);
    other(dir.path())
        .execute_batch(
            "update mgmt_revisions set configuration = x'ff' where number = 1;\
             update mgmt_revisions set checksum = '00' where number = 2;\
             update mgmt_revisions set checksum = null where number = 4;\
             insert into mgmt_revisions(cluster, number) values('default', 'x'), ('/', 1), ('default', -1)",
        )
        .unwrap();
    let (mut ours, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored.configurations), [1, 2, 3]);
    assert_eq!(restored.unreadable.len(), 4, "{:?}", restored.unreadable);
    let report = ours.inspect().unwrap();
    assert_eq!(report.clusters[0].revisions, 3);
    let told = report.unreadable.join("\n");
    for words in [
        "revision 1 of cluster default: its configuration cannot be read: not a Broker value",
        "revision 2 of cluster default: its configuration is not what its checksum is of",
        "row mgmt_revisions cannot be read: a revision of cluster default: it has no number",
        "row mgmt_revisions cannot be read: a revision of cluster default: it has no checksum or no size",
        "row mgmt_revisions cannot be read: a revision of cluster /: ",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let refused = ours.recall(&ClusterName::default_cluster(), 1).unwrap_err();
    assert!(refused.contains("not a Broker value"), "{refused}");

    // The next one has the number of one that cannot be read.
    ours.persist(&recorded("default", &[(4, &two)], &[])).unwrap();
    let recalled = ours.recall(&ClusterName::default_cluster(), 4);
    assert_eq!(recalled.as_ref(), Ok(&*two));
    drop(ours);
    let kept: Vec<u8> = other(dir.path())
        .query_row(
            "select value from mgmt_unreadable where key = 'default'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(kept, encode(&one).unwrap());
}

#[tokio::test]
async fn what_is_fetched_comes_in_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let config = with_nodes("c1", 1);
    let mut thread = StoreThread::start(store, 2).unwrap();
    let changes = recorded("default", &[(1, &config)], &[]);
    thread.write(WriteId(1), changes).unwrap();
    let default = ClusterName::default_cluster;
    thread.recall(RecallId(1), default(), 1).unwrap();
    let written = Written {
        write: WriteId(1),
        outcome: Ok(()),
    };
    assert_eq!(thread.ended().await, Some(Done::Written(written)));
    assert_eq!(
        thread.ended().await,
        Some(Done::Recalled(RecallId(1), Ok(config)))
    );
}
