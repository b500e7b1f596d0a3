use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};

use super::{
    testing::{Authority, Validity},
    *,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn context(config: &TlsConfig) -> TlsContext {
    TlsContext::new(config)
        .expect("the configuration is valid")
        .expect("TLS is on")
}

fn mutual(identity: Identity, trust: Trust) -> TlsContext {
    context(&TlsConfig::Mutual { identity, trust })
}

type Outcome = Result<Transport<DuplexStream>, TlsError>;

/// Both sides' results of a handshake. A side that fails hangs up.
async fn handshake(acceptor: &TlsContext, connector: &TlsContext) -> (Outcome, Outcome) {
    let (left, right) = duplex(64 * 1024);
    let acceptance = Acceptance::Tls(acceptor.clone());
    let connection = Connection::Tls(connector.clone());
    tokio::join!(
        acceptance.accept(left, PATIENCE),
        connection.connect(right, PATIENCE)
    )
}

/// The connector's error, which it may hear only when it reads (TLS 1.3).
async fn error_of(outcome: Outcome) -> TlsError {
    match outcome {
        Err(error) => error,
        Ok(mut transport) => {
            let error = transport
                .read_u8()
                .await
                .expect_err("the other side has nothing to say");
            TlsError::from_transport(error).expect("an error of TLS")
        }
    }
}

async fn exchange(mut acceptor: Transport<DuplexStream>, mut connector: Transport<DuplexStream>) {
    let mut buffer = [0; 5];
    connector.write_all(b"hello").await.expect("written");
    connector.flush().await.expect("flushed");
    acceptor.read_exact(&mut buffer).await.expect("read");
    assert_eq!(&buffer, b"hello");
    acceptor.write_all(b"world").await.expect("written");
    acceptor.flush().await.expect("flushed");
    connector.read_exact(&mut buffer).await.expect("read");
    assert_eq!(&buffer, b"world");
}

/// Asserts on an error's words, which are the product here.
fn check(error: &TlsError, fragments: &[&str]) {
    let text = error.to_string();
    for fragment in fragments {
        assert!(text.contains(fragment), "{fragment:?} is not in {text:?}");
    }
}

/// Proves that the OpenSSL which is linked has the suite: the system's, or with the feature `vendored-openssl` ours.
#[tokio::test]
async fn two_anonymous_sides_use_zeeks_suite() {
    let anonymous = context(&TlsConfig::Anonymous);
    let (acceptor, connector) = handshake(&anonymous, &anonymous).await;
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    for side in [&acceptor, &connector] {
        assert!(side.is_tls());
        assert_eq!(side.peer_certificate(), None);
        assert_eq!(side.session().as_deref(), Some("TLSv1.2 AECDH-AES256-SHA"));
    }
    exchange(acceptor, connector).await;
}

#[tokio::test]
async fn two_sides_with_certificates_of_one_ca_know_each_other() {
    let ca = Authority::new("Test CA");
    let acceptor = mutual(
        ca.sign(
            "controller",
            &["controller.example", "192.0.2.1", "2001:db8::1"],
            &Validity::Now,
        ),
        ca.trust(),
    );
    let connector = mutual(ca.sign("agent-1", &[], &Validity::Now), ca.trust());
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    assert_eq!(
        acceptor.peer_certificate(),
        Some(&PeerCertificate {
            subject: "CN=agent-1".into(),
            names: vec!["agent-1".into()]
        })
    );
    assert_eq!(
        connector.peer_certificate().expect("a certificate").names,
        ["controller", "controller.example", "192.0.2.1", "2001:db8::1"]
    );
    exchange(acceptor, connector).await;
}

#[tokio::test]
async fn an_encrypted_key_opens_with_its_passphrase_only() {
    let ca = Authority::new("Test CA");
    let identity = ca.sign_encrypted("agent-1", "correct horse");
    let with = |passphrase: Option<&str>| {
        TlsContext::new(&TlsConfig::Mutual {
            identity: Identity {
                passphrase: passphrase.map(|text| Passphrase::new(text).expect("short")),
                ..identity.clone()
            },
            trust: ca.trust(),
        })
    };
    assert!(with(Some("correct horse")).is_ok());
    let error = with(Some("battery staple")).expect_err("wrong");
    assert!(matches!(error, TlsConfigError::PassphraseWrong { .. }), "{error}");
    assert!(!error.to_string().contains("battery"), "{error}");
    assert!(!format!("{error:?}").contains("battery"), "{error:?}");
    let error = with(None).expect_err("missing");
    assert!(
        matches!(error, TlsConfigError::PassphraseMissing { .. }),
        "{error}"
    );
}

#[test]
fn a_passphrase_has_a_length_limit_and_is_never_shown() {
    assert!(Passphrase::new("x".repeat(Passphrase::LEN_MAX)).is_ok());
    let error = Passphrase::new("x".repeat(Passphrase::LEN_MAX + 1)).expect_err("too long");
    assert_eq!(error.to_string(), "passphrase of 128 bytes is longer than 127");
    let passphrase = Passphrase::new("secret").expect("short");
    assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    let options = ZeekTlsOptions {
        ssl_passphrase: "secret".into(),
        ..ZeekTlsOptions::default()
    };
    assert!(!format!("{options:?}").contains("secret"));
}

#[tokio::test]
async fn the_longest_passphrase_works() {
    let ca = Authority::new("Test CA");
    let identity = ca.sign_encrypted("agent-1", &"x".repeat(Passphrase::LEN_MAX));
    mutual(identity, ca.trust());
}

#[tokio::test]
async fn a_ca_folder_is_as_good_as_a_file() {
    let ca = Authority::new("Test CA");
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(ca.path("ca.pem"), folder.path().join("ca.pem")).expect("copied");
    let rehash = std::process::Command::new("openssl")
        .arg("rehash")
        .arg(folder.path())
        .status()
        .expect("openssl is installed");
    assert!(rehash.success());
    let trust = Trust {
        ca_path: Some(folder.path().to_owned()),
        ..Trust::default()
    };
    let acceptor = mutual(ca.sign("controller", &[], &Validity::Now), trust.clone());
    let connector = mutual(ca.sign("agent-1", &[], &Validity::Now), trust);
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    exchange(acceptor.expect("accepted"), connector.expect("connected")).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_named_on_both_sides() {
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let acceptor = mutual(ours.sign("controller", &[], &Validity::Now), ours.trust());
    let connector = mutual(theirs.sign("stranger", &[], &Validity::Now), ours.trust());
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    let error = acceptor.expect_err("refused");
    assert!(matches!(error, TlsError::Untrusted { .. }), "{error:?}");
    check(
        &error,
        &["CN=stranger", "unable to get local issuer certificate", "CA"],
    );
    let error = error_of(connector).await;
    assert!(matches!(error, TlsError::OursRefused { .. }), "{error:?}");
    check(&error, &["peer refuses our certificate", "unknown ca"]);

    let acceptor = mutual(ours.sign("controller", &[], &Validity::Now), ours.trust());
    let connector = mutual(theirs.sign("stranger", &[], &Validity::Now), theirs.trust());
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    let error = connector.expect_err("refused");
    check(
        &error,
        &["(CN=controller, issued under CN=Our CA)", "not trusted"],
    );
    let error = acceptor.expect_err("refused");
    assert!(matches!(error, TlsError::OursRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_named_with_its_subject() {
    let ca = Authority::new("Test CA");
    let good = mutual(ca.sign("controller", &[], &Validity::Now), ca.trust());
    let expired = mutual(ca.sign("agent-1", &[], &Validity::Expired), ca.trust());
    let future = mutual(ca.sign("agent-2", &[], &Validity::Future), ca.trust());

    let (acceptor, connector) = handshake(&good, &expired).await;
    let error = acceptor.expect_err("refused");
    assert!(matches!(error, TlsError::Expired { .. }), "{error:?}");
    check(&error, &["CN=agent-1", "expired", "renew"]);
    check(
        &error_of(connector).await,
        &["refuses our certificate", "expired"],
    );

    let (_, connector) = handshake(&expired, &good).await;
    assert!(
        matches!(connector, Err(TlsError::Expired { .. })),
        "{connector:?}"
    );

    let (acceptor, _) = handshake(&good, &future).await;
    let error = acceptor.expect_err("refused");
    assert!(matches!(error, TlsError::NotYetValid { .. }), "{error:?}");
    check(&error, &["CN=agent-2", "not valid yet", "clocks"]);
}

#[tokio::test]
async fn only_accepted_names_pass_where_names_are_given() {
    let ca = Authority::new("Test CA");
    let trust = Trust {
        names: vec!["Agent-1".into(), "192.0.2.7".into()],
        ..ca.trust()
    };
    let controller = mutual(ca.sign("controller", &[], &Validity::Now), trust);
    for (name, alternatives) in [
        ("agent-1", &[] as &[&str]),
        ("other", &["agent-1"]),
        ("other", &["192.0.2.7"]),
    ] {
        let agent = mutual(ca.sign(name, alternatives, &Validity::Now), ca.trust());
        let (acceptor, connector) = handshake(&controller, &agent).await;
        exchange(acceptor.expect("accepted"), connector.expect("connected")).await;
    }
    let stranger = mutual(ca.sign("agent-2", &["192.0.2.8"], &Validity::Now), ca.trust());
    for error in [
        handshake(&controller, &stranger).await.0,
        handshake(&stranger, &controller).await.1,
    ] {
        let error = error.expect_err("refused");
        assert!(matches!(error, TlsError::WrongName { .. }), "{error:?}");
        check(
            &error,
            &["names agent-2, 192.0.2.8", "we accept Agent-1, 192.0.2.7"],
        );
    }
}

#[tokio::test]
async fn sides_of_different_modes_say_so() {
    let ca = Authority::new("Test CA");
    let certificates = context(&ca.mutual("controller"));
    let anonymous = context(&TlsConfig::Anonymous);

    let (acceptor, connector) = handshake(&certificates, &anonymous).await;
    let (acceptor, connector) = (acceptor.expect_err("refused"), error_of(connector).await);
    assert!(matches!(acceptor, TlsError::NoPeerCertificate), "{acceptor:?}");
    assert!(matches!(connector, TlsError::OursMissing), "{connector:?}");

    let (acceptor, connector) = handshake(&anonymous, &certificates).await;
    let (acceptor, connector) = (acceptor.expect_err("refused"), error_of(connector).await);
    assert!(matches!(acceptor, TlsError::NoCommonCipher), "{acceptor:?}");
    assert!(matches!(connector, TlsError::NoCommonCipher), "{connector:?}");
    check(&connector, &["one side probably uses certificates"]);
}

#[tokio::test]
async fn plaintext_on_a_tls_port_is_named_by_its_first_byte() {
    let acceptance = Acceptance::Tls(context(&TlsConfig::Anonymous));
    for (bytes, name) in [
        (&b"\0\0\0\x17\x06ZEEK"[..], "plaintext Broker"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"\xff\xff", "something else"),
    ] {
        let (left, mut right) = duplex(1024);
        right.write_all(bytes).await.expect("written");
        let error = acceptance.accept(left, PATIENCE).await.expect_err("refused");
        assert!(
            matches!(error, TlsError::PlaintextPeer { first: Some(_) }),
            "{error:?}"
        );
        check(&error, &[name, "disable_ssl"]);
    }
}

#[tokio::test]
async fn a_plaintext_acceptor_is_named_by_the_connector() {
    let connection = Connection::Tls(context(&TlsConfig::Anonymous));
    for answer in [&b"\0\0\0\x05\x07ZEEK"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (left, mut right) = duplex(1024);
        right.write_all(answer).await.expect("written");
        let error = connection.connect(left, PATIENCE).await.expect_err("refused");
        assert!(
            matches!(error, TlsError::PlaintextPeer { first: None }),
            "{error:?}"
        );
        check(&error, &["plaintext", "disable_ssl"]);
    }
}

#[tokio::test]
async fn a_port_for_both_tells_tls_from_plaintext() {
    let anonymous = context(&TlsConfig::Anonymous);
    let acceptance = Acceptance::Either(anonymous.clone());

    let (left, mut right) = duplex(1024);
    right.write_all(b"GET /").await.expect("written");
    let mut transport = acceptance.accept(left, PATIENCE).await.expect("accepted");
    assert!(!transport.is_tls());
    let mut request = [0; 5];
    transport.read_exact(&mut request).await.expect("read");
    assert_eq!(&request, b"GET /", "the byte that was looked at is not lost");

    let (left, right) = duplex(64 * 1024);
    let connection = Connection::Tls(anonymous);
    let (acceptor, connector) = tokio::join!(
        acceptance.accept(left, PATIENCE),
        connection.connect(right, PATIENCE)
    );
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    assert!(acceptor.is_tls());
    exchange(acceptor, connector).await;

    let (left, right) = duplex(1024);
    drop(right);
    let mut transport = acceptance
        .accept(left, PATIENCE)
        .await
        .expect("an end is plaintext too");
    assert_eq!(transport.read(&mut request).await.expect("an end"), 0);
}

#[tokio::test]
async fn a_side_that_hangs_up_or_says_nothing_is_given_up() {
    let anonymous = context(&TlsConfig::Anonymous);
    let acceptance = Acceptance::Tls(anonymous.clone());
    let connection = Connection::Tls(anonymous);

    let (left, right) = duplex(1024);
    drop(right);
    let error = acceptance.accept(left, PATIENCE).await.expect_err("ended");
    assert!(matches!(error, TlsError::Closed), "{error:?}");
    let (left, right) = duplex(1024);
    drop(right);
    let error = connection.connect(left, PATIENCE).await.expect_err("ended");
    assert!(matches!(error, TlsError::Closed), "{error:?}");

    tokio::time::pause();
    for first in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let (left, mut right) = duplex(1024);
        right.write_all(first).await.expect("written");
        let error = acceptance.accept(left, PATIENCE).await.expect_err("silent");
        assert!(matches!(error, TlsError::TimedOut { .. }), "{error:?}");
        check(&error, &["not complete after 30 s"]);
    }
    let (left, _right) = duplex(1024);
    let error = connection.connect(left, PATIENCE).await.expect_err("silent");
    assert!(matches!(error, TlsError::TimedOut { .. }), "{error:?}");
}

/// A process that is killed says nothing about TLS: what it does speak only its bytes tell.
#[tokio::test]
async fn a_peer_that_dies_during_the_handshake_is_not_said_to_lack_tls() {
    const ENDED: &str = "peer ended the connection during the TLS handshake";
    let anonymous = context(&TlsConfig::Anonymous);
    let acceptance = Acceptance::Tls(anonymous.clone());
    let connection = Connection::Tls(anonymous.clone());

    // What each side sends first.
    let (left, mut right) = duplex(64 * 1024);
    let mut hello = vec![0; 1024];
    let (_, len) = tokio::join!(
        connection.connect(left, Duration::from_millis(100)),
        right.read(&mut hello)
    );
    hello.truncate(len.expect("a hello"));
    let (left, mut right) = duplex(64 * 1024);
    right.write_all(&hello).await.expect("written");
    let mut answer = vec![0; 1024];
    let (_, len) = tokio::join!(
        acceptance.accept(left, Duration::from_millis(100)),
        right.read(&mut answer)
    );
    answer.truncate(len.expect("an answer"));

    for len in [0, 1, 5, hello.len() - 1, hello.len()] {
        let (left, mut right) = duplex(64 * 1024);
        right.write_all(&hello[..len]).await.expect("written");
        drop(right);
        let error = acceptance.accept(left, PATIENCE).await.expect_err("ended");
        assert_eq!(error.to_string(), ENDED, "accepted, {len} bytes");
    }
    for len in [0, 1, 5, answer.len() - 1, answer.len()] {
        let (left, mut right) = duplex(64 * 1024);
        right.write_all(&answer[..len]).await.expect("written");
        right.shutdown().await.expect("shut down");
        let error = connection.connect(left, PATIENCE).await.expect_err("ended");
        assert_eq!(error.to_string(), ENDED, "connected, {len} bytes");
        drop(right);
    }

    // The system of a killed process resets connections with unread bytes.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
    let ((ours, _), mut killed) = (accepted.expect("accepted"), connected.expect("connected"));
    killed.write_all(&hello).await.expect("written");
    let handshake = acceptance.accept(ours, PATIENCE);
    let kill = async {
        killed.readable().await.expect("an answer");
        drop(killed);
    };
    let error = tokio::join!(handshake, kill).0.expect_err("reset");
    assert_eq!(error.to_string(), ENDED);
}

/// The first byte said TLS; the rest is a scanner's, or was changed on the way.
#[tokio::test]
async fn what_begins_with_tls_is_not_called_plaintext() {
    let acceptance = Acceptance::Tls(context(&TlsConfig::Anonymous));
    for bytes in [&b"\x16\x03\x01\xff\xff"[..], b"\x16GET / HTTP/1.1\r\n\r\n"] {
        let (left, mut right) = duplex(1024);
        right.write_all(bytes).await.expect("written");
        let error = acceptance.accept(left, PATIENCE).await.expect_err("garbage");
        assert!(matches!(error, TlsError::Garbled), "{error:?}");
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_normal_end() {
    let anonymous = context(&TlsConfig::Anonymous);
    let (acceptor, connector) = handshake(&anonymous, &anonymous).await;
    let mut acceptor = acceptor.expect("accepted");
    drop(connector.expect("connected"));
    assert_eq!(acceptor.read(&mut [0; 8]).await.expect("no error"), 0);
}
