use bytes::BytesMut;

use super::*;
use crate::{envelope::TTL_DEFAULT, topic::Topic};

const OWN: EndpointId = EndpointId::from_bytes([0x77; 16]);
const PEER: EndpointId = EndpointId::from_bytes([0xee; 16]);
const OTHER: EndpointId = EndpointId::from_bytes([0x11; 16]);
const LIVENESS: Liveness = Liveness {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(15),
};

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peering() -> Peering {
    Peering::new(OWN, PEER, Some(LIVENESS), at(0))
}

fn data(sender: EndpointId, receiver: EndpointId, topic: &'static str) -> Envelope {
    Envelope {
        sender,
        receiver,
        kind: EnvelopeKind::Data,
        ttl: TTL_DEFAULT,
        topic: Topic::from_static(topic),
        payload: Bytes::from_static(b"\x00"),
    }
}

fn handle(
    peering: &mut Peering,
    envelope: &Envelope,
    now: Duration,
) -> Result<Option<PeeringOutput>, Rejection> {
    let mut frame = BytesMut::new();
    envelope.encode(&mut frame);
    peering.handle_frame(frame.freeze(), now)
}

#[test]
fn data_for_us_and_for_all_is_delivered() {
    for receiver in [EndpointId::NIL, OWN] {
        let data = data(PEER, receiver, "zeek/x");
        let output = handle(&mut peering(), &data, at(1));
        assert_eq!(output, Ok(Some(PeeringOutput::Deliver(data))));
    }
}

#[test]
fn data_that_is_not_ours_is_rejected() {
    for (envelope, error) in [
        (
            data(OTHER, OWN, "zeek/x"),
            format!("data message claims to come from {OTHER}"),
        ),
        (
            data(EndpointId::NIL, OWN, "zeek/x"),
            format!("data message claims to come from {}", EndpointId::NIL),
        ),
        (
            data(OWN, OWN, "zeek/x"),
            format!("data message claims to come from {OWN}"),
        ),
        (
            data(PEER, OTHER, "zeek/x"),
            format!("data message is addressed to {OTHER}"),
        ),
        (
            data(PEER, OWN, "<$>/local/data/statuses"),
            "data message on a topic reserved for local use".to_owned(),
        ),
    ] {
        let rejection = handle(&mut peering(), &envelope, at(1)).unwrap_err();
        assert_eq!(rejection.to_string(), error);
    }
    let rejection = peering()
        .handle_frame(Bytes::from_static(b"short"), at(1))
        .unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "envelope of 5 bytes ends within its header or topic"
    );
}

#[test]
fn commands_are_ignored_whatever_they_hold() {
    let mut command = data(PEER, OWN, "store/<$>/data/clone");
    command.kind = EnvelopeKind::Command;
    assert_eq!(handle(&mut peering(), &command, at(1)), Ok(None));
}

#[test]
fn a_routing_update_replaces_the_filter_and_a_malformed_one_does_not() {
    let filter: Filter = [Topic::from_static("zeek/a")].into_iter().collect();
    let update = RoutingUpdate::envelope(&filter, PEER, OWN).unwrap();
    let output = handle(&mut peering(), &update, at(1));
    assert_eq!(output, Ok(Some(PeeringOutput::FilterChanged(filter))));
    let cut = Envelope {
        payload: update.payload.slice(..4),
        ..update
    };
    assert_eq!(
        handle(&mut peering(), &cut, at(1)).unwrap_err().to_string(),
        "malformed routing update: length 6 exceeds the 2 remaining bytes at byte 1"
    );
}

#[test]
fn every_ping_is_answered_whomever_it_is_addressed_to() {
    for receiver in [OWN, OTHER, EndpointId::NIL] {
        let ping = Envelope::ping(PEER, receiver, ByeToken(9).encode());
        let Ok(Some(PeeringOutput::Send(answer))) = handle(&mut peering(), &ping, at(1)) else {
            panic!("no answer");
        };
        assert_eq!(
            (answer.sender, answer.receiver, answer.kind),
            (OWN, PEER, EnvelopeKind::Pong)
        );
        assert_eq!(answer.payload, ping.payload);
    }
}

#[test]
fn leaving_ends_with_the_pong_or_after_three_seconds() {
    let mut peering = Peering::new(OWN, PEER, None, at(0));
    let bye = peering.leave(at(10));
    assert_eq!(
        (bye.sender, bye.receiver, &bye.topic),
        (OWN, PEER, &Topic::CONTROL)
    );
    assert_eq!(peering.deadline(), Some(at(13)));
    let other = Envelope::ping(OWN, PEER, ByeToken(99).encode()).pong(PEER, OWN);
    assert_eq!(handle(&mut peering, &other, at(11)), Ok(None));
    let late = data(PEER, OWN, "zeek/x");
    assert!(matches!(
        handle(&mut peering, &late, at(11)),
        Ok(Some(PeeringOutput::Deliver(_)))
    ));
    assert_eq!(peering.handle_timeout(at(12)), None);
    let mut unconfirmed = peering.clone();
    assert_eq!(
        unconfirmed.handle_timeout(at(13)),
        Some(PeeringOutput::Close(PeeringEnd::LeftUnconfirmed))
    );
    let pong = bye.pong(PEER, OWN);
    assert_eq!(
        handle(&mut peering, &pong, at(12)),
        Ok(Some(PeeringOutput::Close(PeeringEnd::Left)))
    );
}

#[test]
fn a_pong_that_is_not_awaited_has_no_effect() {
    let pong = Envelope::ping(OWN, PEER, BYE.encode()).pong(PEER, OWN);
    assert_eq!(handle(&mut peering(), &pong, at(1)), Ok(None));
}

#[test]
fn a_silent_peer_is_pinged_once_and_then_dropped() {
    let mut peering = peering();
    assert_eq!(peering.deadline(), Some(at(5)));
    assert_eq!(peering.handle_timeout(at(4)), None);
    let Some(PeeringOutput::Send(ping)) = peering.handle_timeout(at(5)) else {
        panic!("no ping");
    };
    assert_eq!((ping.kind, ping.receiver), (EnvelopeKind::Ping, PEER));
    assert!(
        !ping.payload.is_empty(),
        "Zeek 6.1 closes the connection for an empty payload"
    );
    assert_eq!(ByeToken::decode(&ping.payload), None);
    assert_eq!(peering.deadline(), Some(at(15)));
    assert_eq!(peering.handle_timeout(at(14)), None);
    let end = peering.handle_timeout(at(15));
    let Some(PeeringOutput::Close(end @ PeeringEnd::Silent { .. })) = end else {
        panic!("{end:?}");
    };
    assert_eq!(end.to_string(), "peer was silent for 15 s");
}

/// As after a machine was suspended: a peer that has not been asked cannot have failed to answer.
#[test]
fn a_peer_that_was_not_pinged_is_not_dropped_however_late_it_is() {
    let mut late = peering();
    let ping = late.handle_timeout(at(1000));
    assert!(matches!(ping, Some(PeeringOutput::Send(_))), "{ping:?}");
    // As much time as if it had been asked in time.
    assert_eq!(late.deadline(), Some(at(1010)));
    assert_eq!(late.handle_timeout(at(1009)), None);
    let mut answering = late.clone();
    answering
        .handle_frame(Bytes::from_static(b"?"), at(1009))
        .unwrap_err();
    assert_eq!(answering.deadline(), Some(at(1014)));
    let end = late.handle_timeout(at(1010));
    assert!(
        matches!(end, Some(PeeringOutput::Close(PeeringEnd::Silent { silence })) if silence == at(1010)),
        "{end:?}"
    );
}

#[test]
fn anything_from_the_peer_shows_that_it_lives() {
    let mut peering = peering();
    assert!(peering.handle_timeout(at(5)).is_some());
    peering.handle_frame(Bytes::from_static(b"?"), at(9)).unwrap_err();
    assert_eq!(peering.deadline(), Some(at(14)));
    assert!(matches!(
        peering.handle_timeout(at(14)),
        Some(PeeringOutput::Send(_))
    ));
}

#[test]
fn without_liveness_there_is_no_deadline() {
    let mut peering = Peering::new(OWN, PEER, None, at(0));
    assert_eq!(peering.deadline(), None);
    assert_eq!(peering.handle_timeout(at(1_000_000)), None);
}

fn update(topics: &[&'static str]) -> Envelope {
    let filter: Filter = topics.iter().map(|topic| Topic::from_static(topic)).collect();
    RoutingUpdate::envelope(&filter, PEER, OWN).unwrap()
}

fn awaiting(announced: &'static str) -> Peering {
    let topics = ["zeek/old", "zeek/supervisor"].map(Topic::from_static);
    let announced = [Topic::from_static(announced)].into_iter().collect();
    let mut peering = peering();
    peering.await_subscription(topics.to_vec(), &announced, at(0));
    peering
}

#[test]
fn a_peer_that_does_not_subscribe_to_what_is_awaited_is_left_after_a_second() {
    let mut peering = awaiting("zeek/supervisors");
    assert_eq!(peering.deadline(), Some(SUBSCRIPTION_TIMEOUT));
    let early = Duration::from_millis(999);
    handle(&mut peering, &update(&["zeek/x"]), early).unwrap();
    assert_eq!(handle(&mut peering, &data(PEER, OWN, "zeek/x"), early), Ok(None));
    assert_eq!(peering.handle_timeout(early), None);
    let end = PeeringOutput::Close(PeeringEnd::Unsubscribed);
    assert_eq!(peering.handle_timeout(at(1)), Some(end));
}

#[test]
fn a_subscription_that_is_awaited_comes_in_the_handshake_or_soon_after_it() {
    assert!(!awaiting("zeek/super").is_awaiting());
    let mut peering = awaiting("zeek/x");
    assert!(peering.is_awaiting());
    handle(&mut peering, &update(&["zeek/old", "zeek/x"]), at(0)).unwrap();
    assert!(!peering.is_awaiting());
    let data = data(PEER, OWN, "zeek/x");
    assert_eq!(
        handle(&mut peering, &data, at(0)),
        Ok(Some(PeeringOutput::Deliver(data.clone())))
    );
    assert_eq!(peering.deadline(), Some(LIVENESS.interval));
    assert_eq!(peering.handle_timeout(at(1)), None);
}

#[test]
fn a_peer_that_is_left_is_not_awaited_any_more() {
    let mut peering = awaiting("zeek/x");
    peering.leave(at(0));
    assert_eq!(peering.deadline(), Some(BYE_TIMEOUT));
    assert_eq!(peering.handle_timeout(at(1)), None);
}
