use bytes::Bytes;

use super::*;
use crate::{
    envelope::{EnvelopeKind, TTL_DEFAULT},
    filter::FILTER_TOPICS_MAX,
};

const fn id(byte: u8) -> EndpointId {
    EndpointId::from_bytes([byte; 16])
}

fn topic(text: &'static str) -> Topic {
    Topic::from_static(text)
}

fn envelope(receiver: EndpointId, text: &'static str) -> Envelope {
    Envelope {
        sender: id(7),
        receiver,
        kind: EnvelopeKind::Data,
        ttl: TTL_DEFAULT,
        topic: topic(text),
        payload: Bytes::new(),
    }
}

/// A router with peers 1 and 2 that want `zeek/a` and `zeek/b`, and one that is not established yet.
fn router() -> Router {
    let mut router = Router::new(id(7));
    for (number, filter) in [(1, "zeek/a"), (2, "zeek/b")] {
        let conn = ConnId(u64::from(number));
        assert!(matches!(
            router.admit(conn, id(number), Side::Responder),
            Admission::Proceed { .. }
        ));
        router.established(conn, [topic(filter)].into_iter().collect());
    }
    router.admit(ConnId(3), id(3), Side::Responder);
    router
}

fn recipients(router: &Router, receiver: EndpointId, text: &'static str) -> Vec<u64> {
    let envelope = envelope(receiver, text);
    let among = Recipients::all();
    router.recipients(&envelope, &among).map(|conn| conn.0).collect()
}

#[test]
fn messages_go_to_whom_they_match_or_name() {
    let mut router = router();
    let all = EndpointId::NIL;
    assert_eq!(recipients(&router, all, "zeek/a/x"), [1]);
    assert_eq!(recipients(&router, all, "zeek/"), [0; 0]);
    assert_eq!(recipients(&router, id(2), "zeek/a"), [2]);
    assert_eq!(recipients(&router, id(3), "zeek/a"), [0; 0], "not established");
    assert_eq!(recipients(&router, id(9), "zeek/a"), [0; 0], "unknown");
    router.update_filter(ConnId(2), [topic("")].into_iter().collect());
    assert_eq!(recipients(&router, all, "zeek/a"), [1, 2]);
    assert_eq!(recipients(&router, all, "<$>/local/data/errors"), [0; 0]);
    assert_eq!(recipients(&router, id(1), "<$>/local/data/errors"), [0; 0]);
    router.lost(ConnId(1));
    assert_eq!(recipients(&router, all, "zeek/a"), [2]);
}

#[test]
fn only_established_peers_are_listed() {
    let router = router();
    assert!(router.peers().eq([(id(1), ConnId(1)), (id(2), ConnId(2))]));
    assert_eq!(router.connection_with(id(2)), Some(ConnId(2)));
    assert_eq!(router.connection_with(id(3)), Some(ConnId(3)));
    assert_eq!(router.connection_with(id(4)), None);
}

#[test]
fn a_subscription_is_announced_to_each_peer_once() {
    let mut router = router();
    let updates = router.subscribe(topic("zeek/x")).unwrap();
    let receivers: Vec<_> = updates
        .iter()
        .map(|event| match event {
            RouterEvent::Send { conn, envelope } => (*conn, envelope.sender, envelope.receiver),
            other @ RouterEvent::Verdict { .. } => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(receivers, [(ConnId(1), id(7), id(1)), (ConnId(2), id(7), id(2))]);
    assert_eq!(router.subscribe(topic("zeek/x/y")), Ok(Vec::new()));
    assert_eq!(router.subscribe(topic("<$>/local/x")), Ok(Vec::new()));
}

#[test]
fn a_filter_that_cannot_be_announced_is_refused_and_the_one_before_stays() {
    let mut router = Router::new(id(7));
    router.filter = (0..FILTER_TOPICS_MAX)
        .map(|number| Topic::new(format!("{number:05}")).unwrap())
        .collect();
    let count = FILTER_TOPICS_MAX + 1;
    assert_eq!(
        router.subscribe(topic("one more")),
        Err(RoutingUpdateError::TooMany { count })
    );
    assert_eq!(router.filter.topics().len(), FILTER_TOPICS_MAX);
}

#[test]
fn events_of_unknown_connections_change_nothing() {
    let mut router = router();
    assert_eq!(router.lost(ConnId(99)), []);
    assert_eq!(router.established(ConnId(99), Filter::new()), []);
    assert_eq!(
        router.established(ConnId(1), Filter::new()),
        [],
        "it is established already"
    );
    assert_eq!(router.peers().count(), 2);
}
