//! Peers that do not read, and owners that do not listen.

use broker_codec::{Data, binary, peering::Liveness};
use bytes::BytesMut;
use futures_util::FutureExt;

use super::*;

/// Wants everything, and reads nothing until it is told to.
async fn subscriber_of_everything(address: SocketAddr) -> Script {
    let mut script = Script::connect_narrowly(address).await;
    script.become_peer(SYN_ACK_EVERYTHING).await;
    script
}

/// More than the buffers of a connection in the system take.
const MANY: u64 = 400;

/// So many messages to another peer are time enough to read what there is to be read.
const TURNS: u64 = 100;

/// Sends a message again and again until it is not read any more, although another peer is served; how many bytes were taken.
async fn write_until_ignored(
    script: &mut Script,
    message: &[u8],
    max: usize,
    endpoint: &Endpoint,
    other: &mut Endpoint,
) -> usize {
    let mut written = 0;
    let mut turns = 0;
    while turns < TURNS {
        // Parts of it, too: the stream is one of whole messages.
        match script.0.try_write(&message[written % message.len()..]) {
            Ok(len) => {
                written += len;
                turns = 0;
                assert!(written < max, "more than {max} bytes were read");
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                publish(endpoint, "x", &Data::Count(turns)).await;
                assert_eq!(super::message(other).await.data, Data::Count(turns));
                turns += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// Another peer, which subscribes to what is published here.
async fn add_good_peer(endpoint: &mut Endpoint, address: SocketAddr) -> Endpoint {
    let mut good = subscribed(&["x"]);
    good.handle().peer(address.into(), None);
    peer_added(endpoint).await;
    peer_added(&mut good).await;
    good
}

fn large(number: u64) -> Data {
    Data::Vector(vec![
        Data::Count(number),
        Data::String("x".repeat(50_000).as_str().into()),
    ])
}

/// An endpoint with a peer that does not read, and one that does.
async fn stuck_and_good() -> (Endpoint, Script, Endpoint) {
    let mut endpoint = start(EndpointConfig {
        outbound_messages_max: 10,
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let script = subscriber_of_everything(address).await;
    peer_added(&mut endpoint).await;
    let good = add_good_peer(&mut endpoint, address).await;
    (endpoint, script, good)
}

/// Publishes many large messages; the good peer gets each before the next is sent.
async fn publish_many(endpoint: &Endpoint, good: &mut Endpoint) {
    for number in 0..MANY {
        publish(endpoint, "x", &large(number)).await;
        assert_eq!(message(good).await.data, large(number));
    }
}

/// The numbers of the messages that a script gets until a certain one.
async fn numbers_until(script: &mut Script, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let frame = script.frame().await;
        // Envelope, topic, list of two, tag of the count.
        let number = frame[37 + 1 + 2 + 1..][..8].try_into().expect("eight bytes");
        numbers.push(u64::from_be_bytes(number));
    }
    numbers
}

#[tokio::test]
async fn the_oldest_messages_for_a_stuck_peer_are_dropped_and_others_hear_everything() {
    let (endpoint, mut script, mut good) = stuck_and_good().await;
    publish_many(&endpoint, &mut good).await;
    let dropped = endpoint.handle().counters().get(Counted::Overflowed);
    let numbers = numbers_until(&mut script, MANY - 1).await;
    assert!(dropped > 0);
    assert_eq!(
        u64::try_from(numbers.len()).expect("few") + dropped,
        MANY,
        "each is sent or counted"
    );
    assert!(numbers.is_sorted());
    let tail: Vec<u64> = (MANY - 10..MANY).collect();
    assert!(numbers.ends_with(&tail), "the latest are all there: {numbers:?}");
}

#[tokio::test]
async fn a_peer_that_pings_and_does_not_read_is_not_read_from_for_ever() {
    let (endpoint, mut script, mut good) = stuck_and_good().await;
    let ping = from_hex(&envelope_of_large(SMALL, 4, "<$>", &vec![0; 60_000]));
    // It can write only as long as its peer reads, and pongs do not pile up.
    write_until_ignored(&mut script, &ping, 1 << 28, &endpoint, &mut good).await;
    let counters = endpoint.handle().counters();
    assert!(
        (64..200).contains(&counters.get(Counted::MessagesIn)),
        "as many as pongs may wait: {counters:?}"
    );
    publish_many(&endpoint, &mut good).await;
}

#[tokio::test]
async fn the_system_buffers_little_for_a_stuck_peer() {
    let mut endpoint = start(small());
    let address = listen(&endpoint, "127.0.0.1").await;
    let _script = subscriber_of_everything(address).await;
    peer_added(&mut endpoint).await;
    // 20 MB, all of which our own queue has room for.
    for number in 0..MANY {
        publish(&endpoint, "x", &large(number)).await;
    }
    // When another peer has heard something later, everything before is where it can go.
    let mut good = subscribed(&["last"]);
    good.handle().peer(address.into(), None);
    // Whose ID is smaller sees the peering first, and what is published before the other sees it goes nowhere.
    peer_added(&mut endpoint).await;
    peer_added(&mut good).await;
    publish(&endpoint, "last", &Data::Count(1)).await;
    message(&mut good).await;
    let counters = endpoint.handle().counters();
    assert_eq!(counters.get(Counted::Overflowed), 0);
    // Without a limit it is 2.5 MB and more.
    assert!(counters.get(Counted::BytesOut) < 1 << 20, "{counters:?}");
}

#[tokio::test]
async fn a_peer_that_speaks_and_takes_nothing_is_given_up() {
    // Not so short that a busy machine could take it for silence before the peer has begun to speak.
    let timeout = Duration::from_secs(2);
    let mut endpoint = start(EndpointConfig {
        outbound_messages_max: 10,
        liveness: Some(Liveness {
            interval: timeout / 2,
            timeout,
        }),
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let Script(stream) = subscriber_of_everything(address).await;
    peer_added(&mut endpoint).await;
    // It is never silent.
    let (_unread, mut speaking) = stream.into_split();
    let ping = from_hex(&envelope_of_large(SMALL, 4, "<$>", b"ping"));
    let speaker = tokio::spawn(async move { while speaking.write_all(&ping).await.is_ok() {} });
    let reason = loop {
        // As long as it is there, something waits for it.
        publish(&endpoint, "x", &large(0)).await;
        if let Some(event) = endpoint.recv().now_or_never() {
            match event {
                Some(EndpointEvent::PeerLost { reason, .. }) => break reason,
                other => panic!("expected a loss, got {other:?}"),
            }
        }
        tokio::task::yield_now().await;
    };
    assert!(
        matches!(reason, EndReason::Stuck { silence } if silence >= timeout),
        "{reason:?}"
    );
    speaker.await.expect("no panic");
}

#[tokio::test]
async fn a_peer_that_made_room_while_we_stood_still_is_not_given_up() {
    let timeout = Duration::from_secs(2);
    let mut endpoint = start(EndpointConfig {
        liveness: Some(Liveness {
            interval: timeout / 2,
            timeout,
        }),
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    // Several, because it is chance what an endpoint does first that has two things to do.
    let mut scripts = Vec::new();
    for number in 0..8_u8 {
        let mut script = Script::connect_narrowly(address).await;
        let id = format!("eeeeeeeeeeee4eee8eee0000000000{number:02x}");
        script.become_peer_with_id(&id, SYN_ACK_EVERYTHING).await;
        peer_added(&mut endpoint).await;
        scripts.push((script, id, 0));
    }
    // More than there is room for on the way.
    let mut payload = BytesMut::new();
    binary::encode(&large(0), &mut payload).expect("encodable");
    let len = 40 * (4 + 37 + 1 + payload.len());
    for _ in 0..40 {
        publish(&endpoint, "x", &large(0)).await;
    }
    let mut idle = 0;
    let mut bytes_out = 0;
    while idle < TURNS {
        tokio::task::yield_now().await;
        let counters = endpoint.handle().counters();
        idle = if counters.get(Counted::BytesOut) == bytes_out {
            idle + 1
        } else {
            0
        };
        bytes_out = counters.get(Counted::BytesOut);
    }

    std::thread::sleep(timeout + timeout / 8);
    let mut buffer = vec![0; 64 * 1024];
    for (script, id, read) in &mut scripts {
        let pong =
            envelope_of_large(SMALL, 5, "<$>", b"alive").replace("eeeeeeeeeeee4eee8eeeeeeeeeeeeeee", id);
        script
            .0
            .try_write(&from_hex(&pong))
            .expect("there is room for it");
        while let Ok(len @ 1..) = script.0.try_read(&mut buffer) {
            *read += len;
        }
        assert!((1..len).contains(read), "a part was on its way: {read}");
    }
    for (script, _, read) in &mut scripts {
        script.read(len - *read).await;
    }
    assert_eq!(endpoint.handle().peers().len(), scripts.len());
    assert_eq!(endpoint.handle().counters().get(Counted::PeersLost), 0);
}

#[tokio::test]
async fn messages_that_wait_for_the_owner_take_bounded_memory() {
    const LEN: u32 = 60_000;
    let mut endpoint = start(EndpointConfig {
        subscriptions: vec![topic("in")],
        message_max: LEN,
        // One of the largest.
        inbound_bytes_max: EndpointConfig::weight(LEN as usize + 4),
        ..small()
    });
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut script = Script::peer_with(address).await;
    peer_added(&mut endpoint).await;
    let mut good = add_good_peer(&mut endpoint, address).await;
    let mut payload = BytesMut::new();
    binary::encode(&large(1), &mut payload).expect("encodable");
    let all = EndpointId::NIL.to_string();
    let message = from_hex(&envelope_of_large(&all, 1, "in", &payload));
    // It can write only as long as its peer reads.
    write_until_ignored(&mut script, &message, 1 << 28, &endpoint, &mut good).await;
    let counters = endpoint.handle().counters();
    assert_eq!(counters.get(Counted::Rejected), 0);
    // One has the memory, one waits for it.
    assert_eq!(counters.get(Counted::MessagesIn), 2, "{counters:?}");
}

#[tokio::test]
async fn an_owner_that_does_not_listen_can_still_publish_and_misses_nothing() {
    let mut endpoint = start(EndpointConfig {
        subscriptions: vec![topic("in")],
        inbound_events_max: 1,
        ..plaintext()
    });
    let mut other = subscribed(&["out"]);
    let address = listen(&endpoint, "127.0.0.1").await;
    meet(&mut endpoint, address, &mut other).await;
    for number in 0..100 {
        publish(&other, "in", &Data::Count(number)).await;
    }
    for number in 0..100 {
        publish(&endpoint, "out", &Data::Count(number)).await;
        assert_eq!(message(&mut other).await.data, Data::Count(number));
    }
    for number in 0..100 {
        assert_eq!(message(&mut endpoint).await.data, Data::Count(number));
    }
}
