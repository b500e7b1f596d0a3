//! Our TLS against the `openssl` program with exactly the settings of Broker.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    testing::{Authority, Validity},
    *,
};

const PATIENCE: Duration = Duration::from_secs(60);

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
        tokio::time::timeout(PATIENCE, line)
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
        TlsConfig::Off | TlsConfig::ServerCertificate(_) => panic!("not a mode of Broker with TLS"),
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
    tokio::time::timeout(PATIENCE, transport.read_exact(&mut heard))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(String::from_utf8_lossy(&heard).trim_end(), line);
}

/// `s_client` connects to us and lines go both ways.
async fn check_s_client(ours: &TlsConfig, theirs: &TlsConfig, session: &str) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("bound").to_string();
    let mut command = vec!["s_client".to_owned(), "-connect".to_owned(), address];
    command.extend(arguments(theirs));
    let mut client = Openssl::start(&command);

    let (stream, _) = listener.accept().await.expect("accepted");
    let acceptance = Acceptance::Tls(context(ours));
    let mut transport = acceptance.accept(stream, PATIENCE).await.expect("a session");
    assert_eq!(transport.session().as_deref(), Some(session));
    client.say("greetings").await;
    hear(&mut transport, "greetings").await;
    say(&mut transport, "welcome").await;
    client.hear("welcome").await;
}

/// We connect to `s_server` and lines go both ways.
async fn check_s_server(ours: &TlsConfig, theirs: &TlsConfig, more: &[&str], session: &str) {
    let mut command: Vec<String> = ["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
        .map(str::to_owned)
        .to_vec();
    command.extend(arguments(theirs));
    command.extend(more.iter().map(|&text| text.to_owned()));
    let mut server = Openssl::start(&command);
    let address = server.hear("ACCEPT ").await;

    let stream = TcpStream::connect(address).await.expect("connected");
    let connection = Connection::Tls(context(ours));
    let mut transport = connection.connect(stream, PATIENCE).await.expect("a session");
    assert_eq!(transport.session().as_deref(), Some(session));
    say(&mut transport, "greetings").await;
    server.hear("greetings").await;
    server.say("welcome").await;
    hear(&mut transport, "welcome").await;
}

#[tokio::test]
async fn s_client_with_zeeks_default_settings_connects() {
    let anonymous = TlsConfig::Anonymous;
    check_s_client(&anonymous, &anonymous, "TLSv1.2 AECDH-AES256-SHA").await;
}

#[tokio::test]
async fn s_server_with_zeeks_default_settings_accepts() {
    let anonymous = TlsConfig::Anonymous;
    check_s_server(&anonymous, &anonymous, &["-nocert"], "TLSv1.2 AECDH-AES256-SHA").await;
}

#[tokio::test]
async fn s_client_with_a_certificate_connects() {
    let ca = Authority::new("Test CA");
    let (ours, theirs) = (ca.mutual("controller"), ca.mutual("agent-1"));
    check_s_client(&ours, &theirs, "TLSv1.3 TLS_AES_256_GCM_SHA384").await;
}

#[tokio::test]
async fn s_server_with_a_certificate_accepts() {
    let ca = Authority::new("Test CA");
    let (ours, theirs) = (ca.mutual("controller"), ca.mutual("agent-1"));
    // Not -verify: only this one insists on a certificate.
    check_s_server(
        &ours,
        &theirs,
        &["-Verify", "4"],
        "TLSv1.3 TLS_AES_256_GCM_SHA384",
    )
    .await;
}

#[tokio::test]
async fn s_server_hears_that_its_certificate_is_of_another_ca() {
    let (ca, other) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let ours = TlsConfig::Mutual {
        identity: ca.sign("controller", &[], &Validity::Now),
        trust: ca.trust(),
    };
    let mut command: Vec<String> = ["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
        .map(str::to_owned)
        .to_vec();
    command.extend(arguments(&other.mutual("stranger")));
    let mut server = Openssl::start(&command);
    let address = server.hear("ACCEPT ").await;
    let stream = TcpStream::connect(address).await.expect("connected");
    let error = Connection::Tls(context(&ours))
        .connect(stream, PATIENCE)
        .await
        .expect_err("refused");
    assert!(matches!(error, TlsError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("CN=stranger"), "{error}");
}
