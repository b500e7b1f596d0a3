//! A peer is read as fast as its messages are dealt with.

use super::*;
use crate::credit::CREDITS;

#[tokio::test]
async fn a_peer_is_read_as_far_as_it_has_credit_and_others_meanwhile() {
    let mut endpoint = subscribed(&["in"]);
    let address = listen(&endpoint, "127.0.0.1").await;
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = start(plaintext());
        meet(&mut endpoint, address, &mut peer).await;
        peers.push(peer);
    }
    let [greedy, modest] = [&peers[0], &peers[1]].map(Endpoint::handle);
    let say = async |peer: &EndpointHandle, number: usize| {
        let data = Data::Count(number as u64);
        peer.publish(topic("in"), &data).await.expect("published");
    };
    for number in 0..3 * CREDITS {
        say(&greedy, number).await;
    }
    let mut under_way = Vec::new();
    for number in 0..CREDITS {
        let message = message(&mut endpoint).await;
        assert_eq!(message.data, Data::Count(number as u64));
        under_way.push(message.credit);
    }
    // Whatever there is to read of the greedy one, the next message is the other one's.
    for number in 0..3 {
        say(&modest, number).await;
        assert_eq!(message(&mut endpoint).await.peer, modest.id());
    }
    // Each one that is dealt with lets one more in.
    for number in CREDITS..3 * CREDITS {
        under_way.remove(0);
        let message = message(&mut endpoint).await;
        assert_eq!(message.data, Data::Count(number as u64));
        under_way.push(message.credit);
    }
}
