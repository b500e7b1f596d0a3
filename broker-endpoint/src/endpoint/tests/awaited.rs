//! Peers whose subscription is awaited.

use super::*;

/// `zeek/supervisor`, in a `responder_syn_ack`.
const SYN_ACK_SUPERVISOR: &str = "00000012 0b 01 0f 7a65656b2f73757065727669736f72";

/// An endpoint that connects to the listener and awaits its subscription.
async fn awaiting() -> (Endpoint, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let endpoint = start(small());
    let awaited = vec![topic("zeek/supervisor")];
    let retry = Some(Duration::from_millis(1));
    endpoint.handle().peer_awaiting(address.into(), retry, awaited);
    (endpoint, listener)
}

#[tokio::test]
async fn a_peer_whose_subscription_was_lost_is_connected_to_again() {
    let (mut endpoint, listener) = awaiting().await;
    let mut deaf = Script::accept_peer(&listener, SYN_ACK_EMPTY).await;
    deaf.expect_end().await;
    let (error, _) = peer_unavailable(&mut endpoint).await;
    assert_eq!(error.to_string(), "its subscription has not arrived within 1 s");
    let mut hears = Script::accept_peer(&listener, SYN_ACK_SUPERVISOR).await;
    peer_added(&mut endpoint).await;
    publish(&endpoint, "zeek/supervisor", &Data::None).await;
    assert_eq!(&hears.frame().await[37..52], b"zeek/supervisor");
}

#[tokio::test]
async fn a_peer_is_added_when_its_subscription_comes() {
    let (mut endpoint, listener) = awaiting().await;
    let mut script = Script::accept_peer(&listener, SYN_ACK_EMPTY).await;
    let filter = b"\x01\x0fzeek/supervisor";
    script.say(&envelope_of_large(SMALL, 3, "<$>", filter)).await;
    peer_added(&mut endpoint).await;
}

#[tokio::test]
async fn a_peer_that_never_subscribes_is_taken_as_it_is() {
    let (mut endpoint, listener) = awaiting().await;
    for _ in 0..3 {
        Script::accept_peer(&listener, SYN_ACK_EMPTY)
            .await
            .expect_end()
            .await;
        peer_unavailable(&mut endpoint).await;
    }
    let _script = Script::accept_peer(&listener, SYN_ACK_EMPTY).await;
    peer_added(&mut endpoint).await;
}
