//! HTTP over TCP: who may ask, what others get, and that each role may what it says. Without TLS on loopback; [`tls`] has the rest.

mod described;
mod roles;
mod shares;
mod tls;

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    cluster::{agent_command, start_agent},
    controller::{Controller, binary},
    daemon::Daemon,
    home,
    http::{assert_problem, connection_from},
    limit::Limit,
    mgmtctl,
    program::{Outcome, run},
};

/// A controller with an HTTP port.
struct Served {
    home: Arc<TempDir>,
    controller: Controller,
}

impl Served {
    fn start(further: &[&str]) -> Self {
        Self::start_in(home(), further)
    }

    fn start_in(home: Arc<TempDir>, further: &[&str]) -> Self {
        let arguments = [&["--http-listen", "127.0.0.1:0"], further].concat();
        let controller = Controller::start_in(&home, &arguments);
        Self { home, controller }
    }

    fn address(&self) -> SocketAddr {
        self.controller.daemon.listens("http")
    }

    fn directory(&self) -> PathBuf {
        self.controller.working_dir("controller")
    }

    /// mgmtctl on the control socket.
    #[track_caller]
    fn local(&self, arguments: &[&str]) -> Outcome {
        mgmtctl::ask(&self.directory(), arguments)
    }

    /// mgmtctl, as from elsewhere.
    fn remote(&self, scheme: &str, arguments: &[&str]) -> Outcome {
        let server = format!("{scheme}://{}", self.address());
        self.at(&server, arguments)
    }

    fn at(&self, server: &str, arguments: &[&str]) -> Outcome {
        let arguments = [&["--server", server], arguments].concat();
        run(mgmtctl::binary(), self.home.path(), &arguments)
    }

    /// Makes a token.
    #[track_caller]
    fn token(&self, name: &str, further: &[&str]) -> String {
        let made = self.local(&[&["token", "create", name], further].concat());
        made.printed().trim_end().to_owned()
    }

    /// Writes a token to a file, for mgmtctl.
    fn token_file(&self, token: &str) -> String {
        let path = self.home.path().join("token");
        fs::write(&path, format!("{token}\n")).expect("it can be written");
        path.display().to_string()
    }

    fn get(&self, path: &str, token: &str) -> String {
        self.send(&format!("GET {path}"), token, "")
    }

    fn send(&self, line: &str, token: &str, body: &str) -> String {
        send_from(Ipv4Addr::LOCALHOST, self.address(), line, &bearer(token), body)
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What is answered to a request with these fields, each with its line's end.
fn send_from(from: Ipv4Addr, to: SocketAddr, line: &str, fields: &str, body: &str) -> String {
    let host = if fields.contains("Host: ") {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\n{host}{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = connection_from(from, to);
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

#[track_caller]
fn assert_good(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

fn body(answer: &str) -> Value {
    assert_good(answer);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn a_request_needs_a_token_that_is_there() {
    let served = Served::start(&[]);
    let to = served.address();
    let with = |fields: &str| send_from(Ipv4Addr::LOCALHOST, to, "GET /v1", fields, "");
    let missing = with("");
    assert_problem(&missing, 401, "mgmtctl token create");
    assert!(missing.contains("www-authenticate: Bearer\r\n"), "{missing}");
    for fields in [
        "Authorization: Basic YTp\r\n",
        "Authorization: Basic YTo=\r\n",
        "Authorization: Basic YQ==\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "Authorization: \u{e9}\r\n",
    ] {
        assert_problem(&with(fields), 401, "Authorization: Bearer TOKEN, once");
    }
    assert_good(&send_from(Ipv4Addr::LOCALHOST, to, "GET /livez", "", ""));
    for path in ["/readyz", "/metrics", "/v1/clusters", "/v1/events", "/nowhere"] {
        let answer = send_from(Ipv4Addr::LOCALHOST, to, &format!("GET {path}"), "", "");
        assert_problem(&answer, 401, "say who you are");
    }

    let token = served.token("prometheus", &["--role", "read"]);
    assert_problem(
        &served.get("/v1", &token[1..]),
        401,
        "this is no token of this daemon",
    );
    let wrong = served.get("/v1", "mgmt_0");
    assert!(
        wrong.contains(r#"www-authenticate: Bearer error="invalid_token""#),
        "{wrong}"
    );
    for path in [
        "/v1",
        "/v1/whoami",
        "/readyz",
        "/v1/clusters",
        "/v1/clusters/default/status",
    ] {
        assert_good(&served.get(path, &token));
    }
    let metrics = served.get("/metrics", &token);
    assert!(
        metrics.contains("\nzeek_mgmt_controller_http_unauthenticated_total "),
        "{metrics}"
    );
    let whoami = body(&served.get("/v1/whoami", &token));
    assert_eq!(whoami["roles"], json!([{ "role": "read" }]));
    let who = whoami["who"].as_str().expect("text");
    assert!(who.starts_with("token prometheus at 127.0.0.1:"), "{who}");

    let listed = served.local(&["token", "list"]);
    assert!(
        listed.printed().contains("prometheus") && !listed.stdout.contains(&token),
        "{listed:?}"
    );
    served
        .local(&["token", "create", "prometheus", "--role", "read"])
        .failed(1, "revoke it first");
    served
        .local(&["token", "revoke", "other"])
        .failed(1, "there is no token other");
    served.local(&["token", "revoke", "prometheus"]).printed();
    assert_problem(&served.get("/v1", &token), 401, "or it was revoked");
    let audit = served.directory().join("audit.log");
    let stderr = served.controller.stop().stderr;
    assert!(
        stderr.contains("refused over HTTP: ") && !stderr.contains(&token),
        "{stderr}"
    );
    assert_audited(&audit, &token);
}

/// The audit log of what was asked, which does not tell the token.
#[track_caller]
fn assert_audited(audit: &Path, token: &str) {
    let audit = fs::read_to_string(audit).expect("it is there");
    for words in [
        r#""address":"127.0.0.1:"#,
        r#""request":"GET /v1","outcome":"refused","reason":"say who you are"#,
        r#""transport":"control_socket","principal":{"kind":"user""#,
        r#""request":"token_revoke","targets":["prometheus"],"outcome":"done""#,
        r#""principal":{"kind":"token","name":"prometheus"}"#,
        r#""request":"status","cluster":"default","outcome":"done""#,
    ] {
        assert!(audit.contains(words), "{words}: {audit}");
    }
    assert!(!audit.contains(token), "{audit}");
}

#[test]
fn a_browser_sends_a_token_as_a_password_and_changes_nothing() {
    const HTML: &str = "Accept: text/html,application/xhtml+xml;q=0.9\r\n";
    const ASKED: &str =
        "www-authenticate: Basic realm=\"a token of this daemon as the password\", charset=\"UTF-8\"\r\n";
    let served = Served::start(&[]);
    let to = served.address();
    let send = |line: &str, fields: &str| send_from(Ipv4Addr::LOCALHOST, to, line, fields, "");
    let missing = send("GET /", HTML);
    assert_problem(&missing, 401, "say who you are");
    assert!(missing.contains(ASKED), "{missing}");
    let basic = |token: &str| {
        let credentials = openssl::base64::encode_block(format!("any user:{token}").as_bytes());
        format!("Authorization: Basic {credentials}\r\n")
    };
    let wrong = send("GET /", &format!("{HTML}{}", basic("mgmt_0")));
    assert_problem(&wrong, 401, "this is no token of this daemon");
    assert!(wrong.contains(ASKED), "{wrong}");
    let token = served.token("t", &["--role", "admin"]);
    assert_good(&send("GET /", &format!("{HTML}{}", basic(&token))));
    assert_good(&send("HEAD /v1", &basic(&token)));
    let whoami = body(&send("GET /v1/whoami", &basic(&token)));
    assert_eq!(whoami["roles"], json!([{ "role": "admin" }]));
    for line in [
        "POST /v1/reload",
        "DELETE /v1/tokens/t",
        "PUT /v1/clusters/a/configurations/staged",
    ] {
        assert_problem(
            &send(line, &basic(&token)),
            403,
            "a browser's password changes nothing",
        );
    }
    // As many as of those that come otherwise.
    let attacker = Ipv4Addr::new(127, 0, 0, 2);
    let answers = (0..50).map(|_| send_from(attacker, to, "GET /", &basic("mgmt_0"), ""));
    assert!(
        answers
            .filter(|answer| answer.starts_with("HTTP/1.1 429 "))
            .count()
            > 10
    );
    let audit = served.directory().join("audit.log");
    served.controller.stop();
    // The page asks for several things, and was asked for once.
    let audit = fs::read_to_string(audit).expect("it is there");
    let words = r#""request":"GET /","outcome":"done""#;
    assert_eq!(audit.matches(words).count(), 1, "{audit}");
}

#[test]
fn a_request_of_a_page_or_for_a_name_from_elsewhere_is_refused() {
    let served = Served::start(&["--http-host", "hub.example"]);
    let (to, token) = (served.address(), served.token("t", &["--role", "admin"]));
    let port = to.port();
    let with = |fields: &str| {
        let fields = format!("{fields}{}", bearer(&token));
        send_from(Ipv4Addr::LOCALHOST, to, "GET /v1", &fields, "")
    };
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]",
        "hub.example",
        "HUB.example:80",
    ] {
        assert_good(&with(&format!("Host: {host}\r\n")));
    }
    for host in ["evil.example", "localhost.evil.example", "", "a.hub.example"] {
        assert_problem(
            &with(&format!("Host: {host}\r\n")),
            421,
            "this daemon is not known as",
        );
    }
    assert_problem(
        &with("Host: localhost\r\nHost: evil.example\r\n"),
        421,
        "not known",
    );
    for (host, origin) in [
        (format!("localhost:{port}"), format!("http://localhost:{port}")),
        ("hub.example".to_owned(), "https://hub.example".to_owned()),
    ] {
        assert_good(&with(&format!("Host: {host}\r\nOrigin: {origin}\r\n")));
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost:1",
        "http://127.0.0.1",
    ] {
        let fields = format!("Host: localhost:{port}\r\nOrigin: {origin}\r\n");
        assert_problem(&with(&fields), 403, "a web page of another host asks");
    }
    // Not even whether the daemon lives.
    let page = "Host: localhost\r\nOrigin: http://evil.example\r\n";
    assert_problem(
        &send_from(Ipv4Addr::LOCALHOST, to, "GET /livez", page, ""),
        403,
        "Origin",
    );
    served.controller.stop();
}

#[test]
fn wrong_tokens_slow_their_address_down_and_no_good_one() {
    let served = Served::start(&[]);
    let (to, token) = (served.address(), served.token("t", &["--role", "read"]));
    let attacker = Ipv4Addr::new(127, 0, 0, 2);
    let (mut wrong, mut slowed) = (0, 0);
    for number in 0..1000 {
        let answer = send_from(attacker, to, "GET /v1", &bearer(&format!("mgmt_{number}")), "");
        if answer.starts_with("HTTP/1.1 401 ") {
            wrong += 1;
        } else {
            assert_problem(&answer, 429, "too many tokens of 127.0.0.2 were wrong");
            assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
            slowed += 1;
        }
        // Good ones are taken all the while, also of one who has the same address.
        if number % 100 == 0 {
            assert_good(&served.get("/v1", &token));
            assert_good(&send_from(attacker, to, "GET /v1", &bearer(&token), ""));
        }
    }
    assert!(wrong >= 10 && slowed > wrong, "{wrong} {slowed}");
    assert_good(&served.get("/v1", &token));
    assert_good(&send_from(
        Ipv4Addr::new(127, 0, 0, 3),
        to,
        "GET /v1",
        &bearer(&token),
        "",
    ));
    let stderr = served.controller.stop().stderr;
    assert!(stderr.lines().count() < 100, "the log is not flooded");
}

#[test]
fn an_address_has_so_many_connections_and_leaves_others_theirs() {
    let served = Served::start(&[]);
    let (to, token) = (served.address(), served.token("t", &["--role", "read"]));
    let crowd = Ipv4Addr::new(127, 0, 0, 2);
    let known: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = connection_from(crowd, to);
            let request = format!("HEAD /v1 HTTP/1.1\r\nHost: {to}\r\n{}\r\n", bearer(&token));
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut status = [0; 15];
            stream.read_exact(&mut status).expect("an answer");
            assert_eq!(&status, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    let answer = send_from(crowd, to, "GET /livez", "", "");
    assert_eq!(answer, "", "it is closed at once");
    assert_good(&served.get("/v1", &token));
    drop(known);
    served.controller.stop();
}

#[test]
fn silent_connections_make_room_for_those_that_ask() {
    let served = Served::start(&[]);
    let (to, token) = (served.address(), served.token("t", &["--role", "read"]));
    // All places, and all of each of these addresses.
    let crowds = (2..6).map(|last| Ipv4Addr::new(127, 0, 0, last));
    let mut silent: Vec<TcpStream> = crowds
        .flat_map(|crowd| (0..64).map(move |_| connection_from(crowd, to)))
        .collect();
    for from in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)] {
        assert_good(&send_from(from, to, "GET /v1", &bearer(&token), ""));
    }
    // It is one that was silent for longest.
    let mut end = Vec::new();
    let _ = silent[0].read_to_end(&mut end);
    assert!(end.is_empty());
    served.controller.stop();
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let served = Served::start(&[]);
    let token = served.token("t", &["--role", "admin"]);
    assert_problem(&served.get("/v2", &token), 404, "there is no such path");
    assert_problem(
        &served.send("PUT /v1/tokens", &token, "{}"),
        405,
        "no such method",
    );
    assert_problem(&served.send("POST /v1/tokens", &token, "{"), 400, "EOF");
    for (body, words) in [
        (
            r#"{"name": "a b", "role": "read"}"#,
            "cannot be the name of a token",
        ),
        (
            r#"{"name": "a", "role": "read", "clusters": []}"#,
            "counts in no cluster",
        ),
    ] {
        assert_problem(&served.send("POST /v1/tokens", &token, body), 422, words);
    }
    let body = r#"{"name": "a", "role": "cook"}"#;
    assert_problem(
        &served.send("POST /v1/tokens", &token, body),
        400,
        "unknown variant `cook`",
    );
    let to = served.address();
    let mut stream = connection_from(Ipv4Addr::LOCALHOST, to);
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        .expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    served.controller.stop();
}

#[test]
fn tokens_in_the_file_are_read_again_and_a_broken_file_changes_nothing() {
    let served = Served::start(&[]);
    let token = served.token("t", &["--role", "read"]);
    let file = served.directory().join("tokens.json");
    let good = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, good.replace("\"read\"", "\"admin\"")).expect("it can be written");
    assert_problem(
        &served.send("POST /v1/reload", &token, ""),
        403,
        "any other change admin",
    );
    served.local(&["reload"]).printed();
    assert_good(&served.send("POST /v1/reload", &token, ""));

    fs::write(&file, "{").expect("it can be written");
    served.local(&["reload"]).failed(1, "cannot use the tokens in ");
    assert_good(&served.get("/v1", &token));
    served
        .local(&["token", "create", "u", "--role", "read"])
        .failed(1, "; mend it first");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "{");

    let Served { home, controller } = served;
    controller.stop();
    let served = Served::start_in(home, &[]);
    assert_problem(&served.get("/v1", &token), 401, "this is no token");
    fs::write(&file, good).expect("it can be written");
    served.local(&["reload"]).printed();
    assert_good(&served.get("/v1", &token));
    let stderr = served.controller.stop().stderr;
    assert!(
        stderr.contains("no token is in use until it is mended"),
        "{stderr}"
    );
}

#[test]
fn without_tls_it_listens_on_loopback_addresses_only() {
    let home = home();
    let check = |further: &[&str]| {
        let settings = [
            "check-config",
            "--state-dir=state",
            "--spool-dir=spool",
            "--listen=127.0.0.1:0",
            "--websocket-listen=127.0.0.1:0",
        ];
        run(binary(), home.path(), &[&settings, further].concat())
    };
    check(&["--http-listen=127.0.0.1:0"]).printed();
    check(&["--http-listen=0.0.0.0:0"])
        .failed(1, "give http_certificate and http_key, or a loopback address");
    check(&["--http-listen=hub.example:1"]).failed(1, "is not off, or an IP address with a port");
    check(&["--http-client-ca=ca.pem"]).failed(1, "it needs http_certificate and http_key");
    check(&["--http-certificate=c.pem"]).failed(1, "it needs http_key");
    check(&["--roles=alice cook"]).failed(1, "is not PATTERN ROLE");
    check(&["--roles=alice read", "--roles=* agent"]).printed();
    check(&["--http-certificate=c.pem", "--http-key=k.pem"]).failed(1, "c.pem");
    fs::write(home.path().join("tokens"), "").expect("it can be written");
    check(&["--tokens=tokens"]).failed(1, "cannot use the tokens in ");
    let refused = run(binary(), home.path(), &["--http-listen=[::]:0"]);
    refused.failed(2, "can be reached from other hosts");
}

/// An agent with an HTTP port, and its directory.
fn agent(home: &TempDir) -> (Daemon, PathBuf) {
    let mut command = agent_command(home, "sensor", "127.0.0.1:0");
    command.args([
        "--simulate",
        "--controller",
        "off",
        "--http-listen",
        "127.0.0.1:0",
    ]);
    let daemon = start_agent(home, &mut command);
    (daemon, home.path().join("state/nodes/sensor"))
}

#[test]
fn an_agent_has_the_same_port() {
    let home = home();
    let (daemon, directory) = agent(&home);
    let to = daemon.listens("http");
    let local = |arguments: &[&str]| mgmtctl::ask(&directory, arguments);
    local(&["token", "create", "t", "--role", "read", "--cluster", "lab"])
        .failed(1, "an agent has no clusters");
    let token = local(&["token", "create", "t", "--role", "read"]);
    let token = token.printed().trim_end().to_owned();
    let send = |line: &str, body: &str| send_from(Ipv4Addr::LOCALHOST, to, line, &bearer(&token), body);
    assert_good(&send("GET /v1/status", ""));
    assert_good(&send("GET /metrics", ""));
    let stop = send("POST /v1/nodes/stop", r#"{"all": true}"#);
    assert_problem(&stop, 403, "takes the role deploy");
    let whoami = local(&["whoami"]);
    assert!(
        whoami.printed().ends_with(": admin in all clusters\n"),
        "{whoami:?}"
    );
    daemon.stop();
}

#[test]
fn a_controller_whose_directory_is_gone_is_not_ready() {
    let served = Served::start(&[]);
    let token = served.token("prometheus", &["--role", "read"]);
    let (directory, elsewhere) = (served.directory(), served.home.path().join("elsewhere"));
    let until = |words: &str| {
        let limit = Limit::new(format_args!("{words} of /readyz"));
        limit.poll(|| served.get("/readyz", &token).contains(words).then_some(()));
    };
    fs::rename(&directory, &elsewhere).expect("it is there");
    until("is gone, and what is written there is lost");
    fs::rename(&elsewhere, &directory).expect("it is there");
    until("HTTP/1.1 200 OK");
    served.controller.stop();
}
