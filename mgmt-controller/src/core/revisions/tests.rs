use mgmt_api::{ClusterRole, Instance, Node};

use super::*;

fn config(id: &str, nodes: usize) -> Arc<Configuration> {
    let nodes = (0..nodes).map(|number| Node::new(format!("worker-{number}"), "host1", ClusterRole::Worker));
    Arc::new(Configuration::new(id, [Instance::new("host1")], nodes))
}

/// Deploys configurations one after the other.
fn deployed(configs: impl IntoIterator<Item = Arc<Configuration>>) -> Revisions {
    let mut revisions = Revisions::default();
    let mut deployed = None;
    for config in configs {
        let recorded = revisions.record(deployed.as_ref(), &config, Origin::default());
        revisions.apply(recorded);
        deployed = Some(config);
    }
    revisions
}

fn numbers(revisions: &Revisions) -> Vec<u32> {
    revisions.iter().map(|revision| revision.number).collect()
}

#[test]
fn what_says_the_same_has_the_same_checksum_whatever_its_id() {
    let sum = |config: &Configuration| sealed(config).unwrap().0;
    assert_eq!(sum(&config("c1", 2)), sum(&config("c2", 2)));
    assert_ne!(sum(&config("c1", 2)), sum(&config("c1", 1)));
    let mut moved = (*config("c1", 2)).clone();
    let mut instance = Instance::new("host1");
    instance.host = "10.0.0.1".parse().unwrap();
    moved.instances = [instance].into();
    assert_ne!(sum(&config("c1", 2)), sum(&moved));
}

#[test]
fn so_many_are_kept_and_no_number_comes_twice() {
    let many = u32::try_from(REVISIONS_MAX).unwrap();
    let revisions = deployed((0..REVISIONS_MAX + 3).map(|number| config(&number.to_string(), 1)));
    assert_eq!(numbers(&revisions), (4..=many + 3).collect::<Vec<_>>());
}

#[test]
fn so_many_bytes_are_kept_and_the_deployed_one_however_long_it_is() {
    let mut revisions = deployed([config("c1", 1)]);
    let bytes = revisions.0[0].bytes;
    let long = |revisions: &mut Revisions, bytes| {
        let last = revisions.0.last_mut().unwrap();
        last.bytes = bytes;
    };
    let deploy = |revisions: &mut Revisions, id: &str| {
        let deployed = Configuration {
            id: revisions.0.last().unwrap().configuration.clone(),
            ..Configuration::default()
        };
        let recorded = revisions.record(Some(&deployed.into()), &config(id, 1), Origin::default());
        revisions.apply(recorded.clone());
        recorded.pruned
    };
    long(&mut revisions, REVISIONS_BYTES_MAX - 2 * bytes);
    assert_eq!(deploy(&mut revisions, "c2"), Vec::<u32>::new());
    let pruned = deploy(&mut revisions, "c3");
    assert!(pruned.is_empty(), "these are just so many");
    assert_eq!(deploy(&mut revisions, "c4"), [1]);
    // One that is longer than all may be together: it is the deployed one, as no number is after it.
    long(&mut revisions, REVISIONS_BYTES_MAX + 1);
    assert_eq!(deploy(&mut revisions, "c5"), [2, 3, 4]);
    assert_eq!(numbers(&revisions), [5]);
    let deployed = config("c5", 1);
    let mut longer = revisions
        .record(Some(&deployed), &config("c6", 1), Origin::default())
        .added;
    longer[0].0.bytes = REVISIONS_BYTES_MAX + 1;
    assert_eq!(revisions.superfluous(&longer), [5]);
}

#[test]
fn what_another_controller_has_deployed_gets_the_number_before_the_next() {
    let of_zeek = config("z1", 3);
    let mut revisions = deployed([config("c1", 1)]);
    assert_eq!(revisions.of(&of_zeek), None);
    let origin = Origin {
        at: Some(1_795_877_280),
        asked_by: Some("ü".repeat(ASKED_BY_BYTES_MAX)),
        note: Some("more".into()),
    };
    let recorded = revisions.record(Some(&of_zeek), &config("c2", 2), origin);
    revisions.apply(recorded);
    let ids: Vec<_> = revisions
        .iter()
        .map(|revision| revision.configuration.clone())
        .collect();
    assert_eq!(ids, ["c1", "z1", "c2"]);
    let [_, unknown, last] = &revisions.0[..] else {
        panic!()
    };
    assert_eq!(
        (unknown.at, &unknown.asked_by, &unknown.note),
        (None, &None, &None)
    );
    assert_eq!(last.asked_by.as_ref().map(String::len), Some(ASKED_BY_BYTES_MAX));
    let told = last.summary(true);
    assert_eq!(told.time.as_deref(), Some("2026-11-28T14:48:00Z"));
    assert_eq!((told.revision, told.is_deployed), (3, true));
    assert_eq!(
        revisions.of(&config("c2", 2)).map(|revision| revision.number),
        Some(3)
    );
    assert_eq!(revisions.of(&of_zeek), None, "it is not deployed any more");
}

#[test]
fn a_number_from_the_store_leaves_room_for_the_next() {
    assert!(Revision::may_be_numbered(1) && Revision::may_be_numbered(NUMBER_MAX));
    assert!(!Revision::may_be_numbered(0) && !Revision::may_be_numbered(u32::MAX));
}
