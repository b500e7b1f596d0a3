//! Who is refused, and how both sides say so.

use super::{
    testing::{Authority, Validity},
    tests::{check, context, error_of, exchange, handshake, mutual},
    *,
};

const OURS_REFUSED: &str = "peer refuses our certificate; the CA it is configured with must have signed ours";

/// Has two sides fail, and looks for these words in what the acceptor says and in what the connector says.
async fn check_refusal(acceptor: &TlsContext, connector: &TlsContext, accepted: &[&str], connected: &[&str]) {
    let (acceptor, connector) = handshake(acceptor, connector).await;
    check(&error_of(acceptor).await, accepted);
    check(&error_of(connector).await, connected);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_on_both_sides() {
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let signed = |ca: &Authority, name, validity| mutual(ca.sign(name, &[], &validity), ours.trust());
    let good = signed(&ours, "controller", Validity::Now);
    let strange = signed(&theirs, "stranger", Validity::Now);
    let untrusted = [
        "certificate of the peer (CN=stranger, SHA-256 ",
        ") is not trusted; our CA",
        "unable to get local issuer certificate",
    ];
    check_refusal(&good, &strange, &untrusted, &[OURS_REFUSED, "unknown ca"]).await;

    let distrustful = context(&theirs.mutual("stranger"));
    let untrusted = [
        "certificate of the peer (CN=controller, SHA-256 ",
        ", issued under CN=Our CA) is not trusted; our CA",
    ];
    check_refusal(&good, &distrustful, &[OURS_REFUSED], &untrusted).await;

    let expired = signed(&ours, "agent-1", Validity::Expired);
    let words = ["certificate of the peer (CN=agent-1, ", ") has expired; renew it"];
    check_refusal(&good, &expired, &words, &[OURS_REFUSED, "expired"]).await;
    check_refusal(&expired, &good, &[OURS_REFUSED, "expired"], &words).await;
    let future = signed(&ours, "agent-2", Validity::Future);
    let words = [
        "certificate of the peer (CN=agent-2, ",
        ") is not valid yet; check the clocks",
    ];
    check_refusal(&good, &future, &words, &[OURS_REFUSED]).await;
}

#[tokio::test]
async fn a_certificate_that_is_revoked_is_refused_in_both_directions() {
    let ca = Authority::new("Our CA");
    let [first, second] = ["agent-1", "agent-2"].map(|name| context(&ca.mutual(name)));
    let config = ca.mutual("controller");
    let revoked = Revoked::default();
    let controller = context(&config.with_revoked(&revoked));
    let (accepted, connected) = handshake(&controller, &first).await;
    let shown = peer_certificate(&accepted.expect("not revoked yet")).expect("a certificate");
    drop(connected);
    let is_first = move |certificate: &PeerCertificate| *certificate == shown;
    revoked.set(is_first.clone());
    let words = [
        "certificate of the peer (CN=agent-1, SHA-256 ",
        ") is revoked (deny list); ",
    ];
    check_refusal(&controller, &first, &words, &[OURS_REFUSED]).await;
    check_refusal(&first, &controller, &[OURS_REFUSED], &words).await;
    for good in [
        handshake(&controller, &second).await,
        handshake(&second, &controller).await,
    ] {
        exchange(good.0.expect("accepted"), good.1.expect("connected")).await;
    }
    // A CA's own certificate above it is not asked about.
    revoked.set(move |certificate| certificate.subject == "CN=Our CA");
    let (accepted, _connected) = handshake(&controller, &first).await;
    let shown = peer_certificate(&accepted.expect("not revoked any more"));
    let name = {
        let waits = revoked.comes_to_have(shown.as_ref());
        let sets = async { revoked.set(is_first) };
        tokio::join!(waits, sets).0
    };
    assert_eq!(name, shown.expect("a certificate").name());
}

#[tokio::test]
async fn sides_of_different_modes_say_so() {
    let certificates = context(&Authority::new("Test CA").mutual("controller"));
    let anonymous = context(&TlsConfig::Anonymous);
    let missing = "peer demands a certificate and we have none";
    check_refusal(
        &certificates,
        &anonymous,
        &["peer shows no certificate; give it one"],
        &[missing],
    )
    .await;
    let words = ["no cipher suite in common: one side probably uses certificates"];
    check_refusal(&anonymous, &certificates, &words, &words).await;
}
