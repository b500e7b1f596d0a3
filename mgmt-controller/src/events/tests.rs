use futures_util::FutureExt;
use mgmt_api::{Proof, Transport, access::Grant};
use tokio::time::{advance, pause};

use super::*;

fn push(feed: &Feed, cluster: &str) {
    feed.push(Event {
        cluster: cluster.into(),
        ..Event::default()
    });
}

/// What a reader hears without waiting: numbers of events, `reset`, or nothing more.
fn heard(reader: &mut Reader) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(next) = reader.next().now_or_never() {
        heard.push(match next {
            Next::Event(number, _) => number.to_string(),
            Next::Reset => RESET.to_owned(),
            Next::Silence => "silence".to_owned(),
        });
    }
    heard
}

fn reader(feed: &Feed, last: usize, cluster: Option<&str>, last_id: Option<&str>) -> Reader {
    let cluster = cluster.map(str::to_owned);
    let wanted = Wanted { cluster, last };
    feed.clone()
        .reader(wanted, testkit::operator(), last_id.map(str::as_bytes))
        .unwrap()
}

#[tokio::test]
async fn a_reader_hears_what_it_wants_and_lacks() {
    let feed = Feed::new(7);
    let mut early = reader(&feed, 0, None, None);
    for cluster in ["a", "b", "a", "b", "a"] {
        push(&feed, cluster);
    }
    assert_eq!(heard(&mut early), ["0", "1", "2", "3", "4"]);
    assert_eq!(heard(&mut reader(&feed, 0, None, None)), [""; 0]);
    assert_eq!(heard(&mut reader(&feed, 2, None, None)), ["3", "4"]);
    assert_eq!(heard(&mut reader(&feed, 2, Some("a"), None)), ["2", "4"]);
    assert_eq!(heard(&mut reader(&feed, 9, Some("c"), None)), [""; 0]);
    assert_eq!(heard(&mut reader(&feed, 9, None, Some("7-2"))), ["3", "4"]);
    assert_eq!(heard(&mut reader(&feed, 0, Some("a"), Some("7-2"))), ["4"]);
    // Of another run, of none yet, of none at all.
    for unknown in ["6-2", "7-5", "7", "-", "x-y", "7-18446744073709551615"] {
        let mut late = reader(&feed, 0, None, Some(unknown));
        assert_eq!(heard(&mut late), ["reset", "0", "1", "2", "3", "4"], "{unknown}");
    }
    let sent = format!("{:?}", Next::Event(4, Arc::new(Event::default())).sent(7));
    assert!(
        sent.contains("id: 7-4") && sent.contains("event: cluster"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_reader_that_is_too_far_behind_is_told_and_hears_what_is_remembered() {
    let feed = Feed::new(7);
    let mut slow = reader(&feed, 0, None, None);
    push(&feed, "a");
    assert_eq!(heard(&mut slow), ["0"]);
    for _ in 0..=EVENTS_MAX {
        push(&feed, "a");
    }
    let told = heard(&mut slow);
    assert_eq!(told.len(), EVENTS_MAX + 1);
    assert_eq!(told[..2], ["reset", "2"]);
    assert_eq!(
        heard(&mut reader(&feed, EVENTS_MAX + 7, None, None)).len(),
        EVENTS_MAX
    );
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_there_and_what_happens_wakes_a_reader() {
    pause();
    let feed = Feed::new(7);
    let mut waiting = reader(&feed, 0, Some("a"), None);
    let mut next = Box::pin(waiting.next());
    assert!(next.as_mut().now_or_never().is_none());
    push(&feed, "b");
    assert!(next.as_mut().now_or_never().is_none());
    advance(SILENCE_MAX + Duration::from_millis(1)).await;
    assert!(matches!(next.as_mut().now_or_never(), Some(Next::Silence)));
    drop(next);
    let mut next = Box::pin(waiting.next());
    assert!(next.as_mut().now_or_never().is_none());
    push(&feed, "a");
    assert!(matches!(next.await, Next::Event(1, _)));
}

#[tokio::test]
async fn only_so_many_readers_follow_at_a_time() {
    let feed = Feed::new(7);
    let mut readers: Vec<Reader> = (0..READERS_MAX).map(|_| reader(&feed, 0, None, None)).collect();
    assert!(
        feed.clone()
            .reader(Wanted::default(), testkit::operator(), None)
            .is_err()
    );
    readers.pop();
    assert!(feed.reader(Wanted::default(), testkit::operator(), None).is_ok());
}

#[tokio::test]
async fn a_token_has_a_share_of_the_readers_and_the_control_socket_its_own() {
    let feed = Feed::new(7);
    let reads = |name: &str| {
        let principal = Principal {
            transport: Transport::Http {
                by: Proof::Token { name: name.into() },
            },
            grant: Some(Grant::of(Role::Read, None)),
            ..testkit::operator()
        };
        feed.clone().reader(Wanted::default(), principal, None)
    };
    let mut readers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        readers.extend((0..READERS_OF_ONE_MAX).map(|_| reads(name).unwrap()));
        assert!(reads(name).is_err(), "{name} has its share");
    }
    assert!(reads("e").is_err(), "all are taken");
    reader(&feed, 0, None, None);
    readers.pop();
    assert!(reads("a").is_err());
    assert!(reads("e").is_ok());
}

#[tokio::test]
async fn users_of_the_control_sockets_group_leave_others_theirs() {
    let feed = Feed::new(7);
    let reads = |uid| {
        let principal = Principal {
            transport: Transport::ControlSocket { uid, pid: 7 },
            grant: Some(Grant::of(Role::Read, None)),
            ..testkit::operator()
        };
        feed.clone().reader(Wanted::default(), principal, None)
    };
    let mut readers = Vec::new();
    for uid in 1..=4 {
        readers.extend((0..READERS_OF_ONE_MAX).map(|_| reads(uid).unwrap()));
        assert!(reads(uid).is_err(), "{uid} has its share");
    }
    assert!(reads(5).is_err(), "all are taken");
    readers.extend((0..READERS_MAX).map(|_| reader(&feed, 0, None, None)));
}

#[tokio::test]
async fn a_reader_hears_of_no_cluster_that_it_may_not_read() {
    let feed = Feed::new(7);
    for cluster in ["a", "b", "a", "default"] {
        push(&feed, cluster);
    }
    let principal = Principal {
        transport: Transport::Http {
            by: Proof::Token { name: "t".into() },
        },
        address: None,
        certificate: None,
        grant: Some(Grant::of(Role::Read, Some(&["a".to_owned()]))),
    };
    let reader = |cluster: Option<&str>| {
        let cluster = cluster.map(str::to_owned);
        let wanted = Wanted { cluster, last: 9 };
        feed.clone().reader(wanted, principal.clone(), None).unwrap()
    };
    let mut all = reader(None);
    assert_eq!(heard(&mut all), ["0", "2"]);
    assert_eq!(heard(&mut reader(Some("b"))), [""; 0]);
    push(&feed, "b");
    push(&feed, "a");
    assert_eq!(heard(&mut all), ["5"]);
}
