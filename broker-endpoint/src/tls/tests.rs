use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};

use super::{
    context::describe_session,
    testing::{Authority, Validity},
    *,
};

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn context(config: &TlsConfig) -> TlsContext {
    TlsContext::new(config)
        .expect("the configuration is valid")
        .expect("TLS is on")
}

pub(super) fn mutual(identity: Identity, trust: Trust) -> TlsContext {
    context(&TlsConfig::Mutual { identity, trust })
}

pub(super) type Outcome = Result<Transport<DuplexStream>, TlsError>;

/// Both sides' results of a handshake. A side that fails hangs up.
pub(super) async fn handshake(acceptor: &TlsContext, connector: &TlsContext) -> (Outcome, Outcome) {
    let (left, right) = duplex(64 * 1024);
    let acceptance = Acceptance::Tls(acceptor.clone());
    let connection = Connection::Tls(connector.clone());
    tokio::join!(
        acceptance.accept(left, TIMEOUT),
        connection.connect(right, TIMEOUT)
    )
}

/// A side's error, which the connector may hear only when it reads (TLS 1.3).
pub(super) async fn error_of(outcome: Outcome) -> TlsError {
    match outcome {
        Err(error) => error,
        Ok(mut transport) => {
            let read = transport.read_u8().await;
            TlsError::from_transport(read.expect_err("the other side has nothing to say"))
                .expect("an error of TLS")
        }
    }
}

pub(super) async fn exchange(mut acceptor: Transport<DuplexStream>, mut connector: Transport<DuplexStream>) {
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
pub(super) fn check(error: &TlsError, fragments: &[&str]) {
    let text = error.to_string();
    for fragment in fragments {
        assert!(text.contains(fragment), "{fragment:?} is not in {text:?}");
    }
}

/// What an acceptor and a connector say about bytes that the other side sends, and nothing after them.
async fn errors_about(bytes: &[u8], acceptance: &Acceptance, connection: &Connection) -> [TlsError; 2] {
    let end = || async {
        let (end, mut other) = duplex(64 * 1024);
        other.write_all(bytes).await.expect("written");
        (end, other)
    };
    let ((accepted, _accepting), (connected, _connecting)) = (end().await, end().await);
    [
        acceptance.accept(accepted, TIMEOUT).await.expect_err("refused"),
        connection.connect(connected, TIMEOUT).await.expect_err("refused"),
    ]
}

/// Proves that the OpenSSL which is linked has the suite: the system's, or with the feature `vendored-openssl` ours.
#[tokio::test]
async fn two_anonymous_sides_use_zeeks_suite() {
    let anonymous = context(&TlsConfig::Anonymous);
    let (acceptor, connector) = handshake(&anonymous, &anonymous).await;
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    for side in [&acceptor, &connector] {
        assert!(is_tls(side));
        assert_eq!(peer_certificate(side), None);
        assert_eq!(
            describe_session(side).as_deref(),
            Some("TLSv1.2 AECDH-AES256-SHA")
        );
    }
    exchange(acceptor, connector).await;
}

#[tokio::test]
async fn two_sides_with_certificates_of_one_ca_know_each_other() {
    let ca = Authority::new("Test CA");
    let names = ["controller.example", "192.0.2.1", "2001:db8::1"];
    let acceptor = mutual(ca.sign("controller", &names, &Validity::Now), ca.trust());
    let connector = context(&ca.mutual("agent-1"));
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    let of_connector = peer_certificate(&acceptor).expect("a certificate");
    assert_eq!(of_connector.subject, "CN=agent-1");
    assert_eq!(of_connector.names, ["agent-1"]);
    assert_eq!(
        peer_certificate(&connector).expect("a certificate").names,
        ["controller", "controller.example", "192.0.2.1", "2001:db8::1"]
    );
    exchange(acceptor, connector).await;
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_only() {
    let ca = Authority::new("Test CA");
    let longest = "x".repeat(Passphrase::LEN_MAX);
    mutual(ca.sign_encrypted("agent-2", &longest), ca.trust());
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
    assert!(!format!("{error} {error:?}").contains("battery"), "{error:?}");
    let error = with(None).expect_err("missing");
    assert!(
        matches!(error, TlsConfigError::PassphraseMissing { .. }),
        "{error}"
    );
}

#[test]
fn a_passphrase_has_a_length_limit_and_is_never_shown() {
    let error = Passphrase::new("x".repeat(Passphrase::LEN_MAX + 1)).expect_err("too long");
    assert_eq!(error.to_string(), "passphrase of 128 bytes is longer than 127");
    assert_eq!(format!("{:?}", Passphrase::new("secret")), "Ok(Passphrase(..))");
    let options = ZeekTlsOptions {
        ssl_passphrase: "secret".into(),
        ..ZeekTlsOptions::default()
    };
    assert!(!format!("{options:?}").contains("secret"));
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
    let connector = mutual(ca.sign("agent-1", &[], &Validity::Ending), trust);
    let (acceptor, connector) = handshake(&acceptor, &connector).await;
    exchange(acceptor.expect("accepted"), connector.expect("connected")).await;
}

#[tokio::test]
async fn what_is_no_tls_is_named_by_its_first_byte() {
    let anonymous = context(&TlsConfig::Anonymous);
    let acceptance = Acceptance::Tls(anonymous.clone());
    let connection = Connection::Tls(anonymous);
    let instead = "instead of TLS; switch TLS off here or on there (Zeek: Broker::disable_ssl)";
    let port = "is this the port that it means to reach?";
    let text = "peer speaks HTTP or another text protocol instead of TLS";
    for (bytes, name, remedy) in [
        (
            &b"\0\0\0\x17\x06ZEEK"[..],
            "peer speaks plaintext Broker",
            instead,
        ),
        (b"GET / HTTP/1.1\r\n", text, port),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", text, port),
        (
            b"\xff\xff\xff\xff\xff",
            "peer speaks neither TLS nor Broker",
            port,
        ),
    ] {
        let [accepted, connected] = errors_about(bytes, &acceptance, &connection).await;
        check(&accepted, &[name, remedy]);
        // It has not looked at that byte by itself.
        check(&connected, &["peer speaks plaintext instead of TLS", instead]);
    }
    // The first byte said TLS; the rest is a scanner's, or was changed on the way.
    for bytes in [&b"\x16\x03\x01\xff\xff"[..], b"\x16GET / HTTP/1.1\r\n\r\n"] {
        let [accepted, _] = errors_about(bytes, &acceptance, &connection).await;
        assert!(matches!(accepted, TlsError::Garbled), "{accepted:?}");
    }
}

#[tokio::test]
async fn a_port_for_both_tells_tls_from_plaintext() {
    let anonymous = context(&TlsConfig::Anonymous);
    let acceptance = Acceptance::Either(anonymous.clone());

    let (left, mut right) = duplex(1024);
    right.write_all(b"GET /").await.expect("written");
    let mut transport = acceptance.accept(left, TIMEOUT).await.expect("accepted");
    assert!(!is_tls(&transport));
    let mut request = [0; 5];
    transport.read_exact(&mut request).await.expect("read");
    assert_eq!(&request, b"GET /", "the byte that was looked at is not lost");

    let (left, right) = duplex(64 * 1024);
    let connection = Connection::Tls(anonymous);
    let (acceptor, connector) = tokio::join!(
        acceptance.accept(left, TIMEOUT),
        connection.connect(right, TIMEOUT)
    );
    let (acceptor, connector) = (acceptor.expect("accepted"), connector.expect("connected"));
    assert!(is_tls(&acceptor));
    exchange(acceptor, connector).await;

    let (left, right) = duplex(1024);
    drop(right);
    let mut transport = acceptance
        .accept(left, TIMEOUT)
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
    let error = connection.connect(left, TIMEOUT).await.expect_err("ended");
    assert!(matches!(error, TlsError::Closed), "{error:?}");

    tokio::time::pause();
    for first in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let (left, mut right) = duplex(1024);
        right.write_all(first).await.expect("written");
        let error = acceptance.accept(left, TIMEOUT).await.expect_err("silent");
        assert!(matches!(error, TlsError::TimedOut { .. }), "{error:?}");
        check(&error, &["not complete after 30 s"]);
    }
    let (left, _right) = duplex(1024);
    let error = connection.connect(left, TIMEOUT).await.expect_err("silent");
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
        let error = acceptance.accept(left, TIMEOUT).await.expect_err("ended");
        assert_eq!(error.to_string(), ENDED, "accepted, {len} bytes");
    }
    for len in [0, 1, 5, answer.len() - 1, answer.len()] {
        let (left, mut right) = duplex(64 * 1024);
        right.write_all(&answer[..len]).await.expect("written");
        right.shutdown().await.expect("shut down");
        let error = connection.connect(left, TIMEOUT).await.expect_err("ended");
        assert_eq!(error.to_string(), ENDED, "connected, {len} bytes");
        drop(right);
    }

    // The system of a killed process resets connections with unread bytes.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
    let ((ours, _), mut killed) = (accepted.expect("accepted"), connected.expect("connected"));
    killed.write_all(&hello).await.expect("written");
    let handshake = acceptance.accept(ours, TIMEOUT);
    let kill = async {
        killed.readable().await.expect("an answer");
        drop(killed);
    };
    let error = tokio::join!(handshake, kill).0.expect_err("reset");
    assert_eq!(error.to_string(), ENDED);
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_normal_end() {
    let anonymous = context(&TlsConfig::Anonymous);
    let (acceptor, connector) = handshake(&anonymous, &anonymous).await;
    let mut acceptor = acceptor.expect("accepted");
    drop(connector.expect("connected"));
    assert_eq!(acceptor.read(&mut [0; 8]).await.expect("no error"), 0);
}
