//! Our TLS against the `openssl` program with exactly the settings of Broker.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{context::describe_session, testing::Authority, *};

/// The sessions that come of Zeek's default settings and of certificates.
const ANONYMOUS: &str = "TLSv1.2 AECDH-AES256-SHA";
const CERTIFICATES: &str = "TLSv1.3 TLS_AES_256_GCM_SHA384";

const TIMEOUT: Duration = Duration::from_secs(60);

/// A running `openssl` and its ends.
struct Openssl {
    // Killed when dropped.
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Openssl {
    fn start(arguments: &[String]) -> Self {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl is installed");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        Self {
            _child: child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        }
    }

    async fn say(&mut self, line: &str) {
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("openssl reads");
    }

    /// The rest of the first line that begins so.
    async fn hear(&mut self, start: &str) -> String {
        let line = async {
            loop {
                let line = self.stdout.next_line().await.expect("openssl writes text");
                let line = line.unwrap_or_else(|| panic!("openssl ended without a line {start:?}"));
                if let Some(rest) = line.strip_prefix(start) {
                    return rest.to_owned();
                }
            }
        };
        tokio::time::timeout(TIMEOUT, line)
            .await
            .unwrap_or_else(|_| panic!("no line {start:?}"))
    }
}

/// Broker's settings as arguments of `s_client` and `s_server`.
fn arguments(config: &TlsConfig) -> Vec<String> {
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    match config {
        TlsConfig::Anonymous => ["-cipher", "AECDH-AES256-SHA@SECLEVEL=0", "-groups", "P-384"]
            .map(str::to_owned)
            .to_vec(),
        TlsConfig::Mutual { identity, trust } => [
            "-cipher",
            "HIGH:!aNULL:!MD5",
            "-cert",
            &text(&identity.certificate),
            "-key",
            &text(&identity.key),
            "-CAfile",
            &text(trust.ca_file.as_deref().expect("a file")),
            "-verify_return_error",
        ]
        .map(str::to_owned)
        .to_vec(),
        TlsConfig::Off | TlsConfig::ServerCertificate(_) | TlsConfig::ClientsMayShow { .. } => {
            panic!("not a mode of Broker with TLS")
        }
    }
}

fn context(config: &TlsConfig) -> TlsContext {
    TlsContext::new(config).expect("valid").expect("TLS is on")
}

async fn say(transport: &mut Transport<TcpStream>, line: &str) {
    transport
        .write_all(format!("{line}\n").as_bytes())
        .await
        .expect("written");
    transport.flush().await.expect("flushed");
}

async fn hear(transport: &mut Transport<TcpStream>, line: &str) {
    let mut heard = vec![0; line.len() + 1];
    tokio::time::timeout(TIMEOUT, transport.read_exact(&mut heard))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(String::from_utf8_lossy(&heard).trim_end(), line);
}

/// Lines go both ways, in such a session.
async fn check(mut openssl: Openssl, mut transport: Transport<TcpStream>, session: &str) {
    assert_eq!(describe_session(&transport).as_deref(), Some(session));
    say(&mut transport, "greetings").await;
    openssl.hear("greetings").await;
    openssl.say("welcome").await;
    hear(&mut transport, "welcome").await;
}

/// An `s_server`, and our connection to it.
async fn connect_to_s_server(
    ours: &TlsConfig,
    theirs: &TlsConfig,
    more: &[&str],
) -> (Openssl, Result<Transport<TcpStream>, TlsError>) {
    let mut command: Vec<String> = ["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
        .iter()
        .chain(more)
        .map(|&text| text.to_owned())
        .collect();
    command.extend(arguments(theirs));
    let mut server = Openssl::start(&command);
    let address = server.hear("ACCEPT ").await;
    let stream = TcpStream::connect(address).await.expect("connected");
    let connection = Connection::Tls(context(ours));
    (server, connection.connect(stream, TIMEOUT).await)
}

#[tokio::test]
async fn s_client_connects_with_zeeks_default_settings_and_with_certificates() {
    let ca = Authority::new("Test CA");
    for (ours, theirs, session) in [
        (TlsConfig::Anonymous, TlsConfig::Anonymous, ANONYMOUS),
        (ca.mutual("controller"), ca.mutual("agent-1"), CERTIFICATES),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        let mut command = vec!["s_client".to_owned(), "-connect".to_owned(), address];
        command.extend(arguments(&theirs));
        let client = Openssl::start(&command);
        let (stream, _) = listener.accept().await.expect("accepted");
        let acceptance = Acceptance::Tls(context(&ours));
        let transport = acceptance.accept(stream, TIMEOUT).await.expect("a session");
        check(client, transport, session).await;
    }
}

#[tokio::test]
async fn s_server_accepts_with_zeeks_default_settings_and_with_certificates() {
    let ca = Authority::new("Test CA");
    for (ours, theirs, more, session) in [
        (
            TlsConfig::Anonymous,
            TlsConfig::Anonymous,
            &["-nocert"][..],
            ANONYMOUS,
        ),
        // Not -verify: only this one insists on a certificate.
        (
            ca.mutual("controller"),
            ca.mutual("agent-1"),
            &["-Verify", "4"],
            CERTIFICATES,
        ),
    ] {
        let (server, connected) = connect_to_s_server(&ours, &theirs, more).await;
        check(server, connected.expect("a session"), session).await;
    }
}

#[tokio::test]
async fn s_server_hears_that_its_certificate_is_of_another_ca() {
    let (ca, other) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let (ours, theirs) = (ca.mutual("controller"), other.mutual("stranger"));
    let (_server, connected) = connect_to_s_server(&ours, &theirs, &[]).await;
    let error = connected.expect_err("refused");
    assert!(matches!(error, TlsError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("CN=stranger"), "{error}");
}
