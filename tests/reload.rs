//! What a daemon reads again while it runs: certificates, its log level, its configuration file.

use std::{fs, net::SocketAddr, path::Path};

use broker_endpoint::tls::{Identity, TlsConfig};
use mgmt_api::{ClientRequest, ClientResponse, topics};
use rustix::process::Signal;

use crate::support::{
    certificates::{Authority, Validity},
    controller::{Controller, Remains},
    home,
    http::failing,
    limit::Limit,
    mgmtctl::{self, ask},
    peer::{Peer, data_of},
    secure::Protected,
    websocket::request,
    zeek_client::ZeekClient,
};

/// How many connections are there while certificates are renewed: over Broker, WebSocket, and HTTP.
const LIVE: [usize; 3] = [18, 16, 16];

/// Files as a certificate's owner has them: certificate, key and the CA of others.
struct Installed {
    identity: Identity,
    ca: std::path::PathBuf,
}

impl Installed {
    fn new(directory: &Path, by: &Authority) -> Self {
        let path = |name: &str| directory.join(name);
        let installed = Self {
            identity: Identity {
                certificate: path("own.pem"),
                key: path("own.key"),
                passphrase: None,
            },
            ca: path("ca.pem"),
        };
        installed.renew(by);
        installed
    }

    /// Puts what this CA has signed in their place.
    fn renew(&self, by: &Authority) {
        let new = by.sign("controller", &["127.0.0.1"], &Validity::Now);
        let copy = |from: &Path, to: &Path| fs::copy(from, to).expect("the file can be copied");
        copy(&new.certificate, &self.identity.certificate);
        copy(&new.key, &self.identity.key);
        copy(&by.path("ca.pem"), &self.ca);
    }

    fn settings(&self) -> Vec<String> {
        let (certificate, key) = (self.identity.certificate.display(), self.identity.key.display());
        vec![
            format!("Broker::ssl_certificate={certificate}"),
            format!("Broker::ssl_keyfile={key}"),
            format!("Broker::ssl_cafile={}", self.ca.display()),
            format!(
                "Management::Controller::tls_options_websocket=Cluster::WebSocketTLSOptions($cert_file=\"{certificate}\", \
                 $key_file=\"{key}\")"
            ),
            "--http-listen=127.0.0.1:0".to_owned(),
            format!("--http-certificate={certificate}"),
            format!("--http-key={key}"),
        ]
    }
}

/// What a peer has that trusts a CA and has a certificate of it.
fn of(ca: &Authority) -> TlsConfig {
    TlsConfig::Mutual {
        identity: ca.sign("peer", &[], &Validity::Now),
        trust: ca.trust(),
    }
}

fn answers(peer: &mut Peer, reqid: &str) {
    let request = ClientRequest::GetInstances { reqid: reqid.into() };
    peer.publish(topics::CONTROLLER, &data_of(&request));
    let limit = Limit::new(format_args!("the answer to {reqid}"));
    peer.hear(&limit, |event| {
        let response: ClientResponse = event.parse().ok()?;
        (*response.reqid() == reqid).then_some(())
    });
}

/// With TLS; it verifies the controller's certificate if it has one itself.
fn zeek_client_is_served(controller: &mut Controller, ca: &Authority) -> bool {
    let own = ca.sign("operator", &[], &Validity::Now);
    let settings = [
        "ssl.enable=True".to_owned(),
        format!("ssl.cafile={}", ca.path("ca.pem").display()),
        format!("ssl.certificate={}", own.certificate.display()),
        format!("ssl.keyfile={}", own.key.display()),
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = settings.chain(["get-instances"]).collect();
    let outcome = ZeekClient::release("1.5.0").run(controller.websocket(), &arguments, None);
    outcome.exit == 0
}

/// Stages a configuration over HTTP, of which there is an event.
fn stage(to: SocketAddr, ca: &Authority, token: &str) {
    let client = Protected {
        ca: &ca.path("ca.pem"),
        identity: None,
    };
    let staged = client.ask(
        to,
        "PUT /v1/clusters/default/configurations/staged",
        &format!("{token}If-None-Match: *\r\n"),
        r#"{"instances": [], "nodes": []}"#,
    );
    let staged = staged.expect("its CA is the one now");
    assert!(staged.starts_with("HTTP/1.1 200 OK\r\n"), "{staged}");
}

#[test]
fn certificates_are_renewed_under_live_connections() {
    // Connections are not to wait for it.
    mgmtctl::binary();
    let home = home();
    let [old, new] = ["Old CA", "New CA"].map(Authority::new);
    let installed = Installed::new(home.path(), &old);
    let mut controller = Controller::start_in(&home, &installed.settings());
    let directory = controller.working_dir("controller");
    let tls = of(&old);
    assert!(zeek_client_is_served(&mut controller, &old));
    let ca = old.path("ca.pem");
    let client = Protected {
        ca: &ca,
        identity: None,
    };
    // Each may have so many streams of events.
    let token = |name: &str| {
        let made = ask(&directory, &["token", "create", name, "--role", "deploy"]);
        format!("Authorization: Bearer {}\r\n", made.printed().trim_end())
    };
    let tokens = ["a", "b"].map(token);
    let (websocket, http) = (controller.websocket(), controller.daemon.listens("http"));
    let [peers, clients, readers] = LIVE.map(|number| 0..number);
    let mut peers: Vec<Peer> = peers
        .map(|_| Peer::connect(controller.broker(), tls.clone(), topics::CONTROLLER))
        .collect();
    let clients = clients.map(|_| client.websocket(websocket));
    let mut clients: Vec<_> = clients.collect::<Result<_, _>>().expect("they are good");
    let readers = readers.zip(tokens.iter().cycle());
    let mut readers: Vec<_> = readers.map(|(_, token)| client.events(http, token)).collect();

    installed.renew(&new);
    for _ in 0..100 {
        controller.signal(Signal::HUP);
    }
    // It comes after them, and says when it is done.
    let reloaded = ask(&directory, &["reload"]);
    assert_eq!(
        reloaded.printed(),
        "reloaded, log level info, tokens: 2, lines of roles: 0, entries of the deny list: 0\n"
    );

    // Each is used before a client would have to answer a second ping.
    for (number, peer) in peers.iter_mut().enumerate() {
        answers(peer, &format!("peer-{number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let reqid = format!("client-{number}");
        client.send(&request("get_instances_request", &reqid, &[]));
        client.text_about(&reqid);
    }
    stage(http, &new, &tokens[0]);
    for reader in &mut readers {
        reader.next();
    }
    drop((peers, clients, readers));

    Peer::connect(controller.broker(), of(&new), topics::CONTROLLER);
    Peer::cannot_connect(controller.broker(), tls);
    assert!(zeek_client_is_served(&mut controller, &new));
    assert!(!zeek_client_is_served(&mut controller, &old));
    client
        .websocket(websocket)
        .expect_err("its CA is not the one any more");
    client.ask(http, "GET /livez", "", "").expect_err("likewise");
    let Remains { stderr, .. } = controller.stop();
    let reloads = stderr.matches("reloaded, log level").count();
    assert!((1..=101).contains(&reloads), "{reloads}: {stderr}");
    assert!(!stderr.contains("nothing was reloaded"), "{stderr}");
}

#[test]
fn one_whose_expired_certificate_is_renewed_is_ready_again() {
    let home = home();
    let ca = Authority::new("CA");
    let installed = Installed::new(home.path(), &ca);
    let expired = ca.sign("expired", &["127.0.0.1"], &Validity::Expired);
    fs::copy(&expired.certificate, &installed.identity.certificate).expect("the file can be copied");
    fs::copy(&expired.key, &installed.identity.key).expect("the file can be copied");
    let controller = Controller::start_in(&home, &installed.settings());
    let directory = controller.working_dir("controller");
    let told = failing(&directory);
    assert!(told.len() == 1 && told[0].contains("has expired"), "{told:?}");
    installed.renew(&ca);
    assert_eq!(failing(&directory).len(), 1, "it is not in use yet");
    ask(&directory, &["reload"]).printed();
    assert_eq!(failing(&directory), [""; 0]);
    controller.stop();
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let home = home();
    let [old, new] = ["Old CA", "New CA"].map(Authority::new);
    let installed = Installed::new(home.path(), &old);
    let mut controller = Controller::start_in(&home, &installed.settings());
    let directory = controller.working_dir("controller");
    let expired = new.sign("expired", &["127.0.0.1"], &Validity::Expired);
    for (file, content, reason) in [
        (&installed.identity.key, b"no key".to_vec(), "own.key"),
        (
            &installed.identity.certificate,
            fs::read(&expired.certificate).expect("it is there"),
            "own.pem",
        ),
    ] {
        let before = fs::read(file).expect("it is there");
        fs::write(file, content).expect("it can be written");
        let refused = ask(&directory, &["reload"]);
        refused.failed(1, "nothing was reloaded, what was in use stays: ");
        refused.failed(1, reason);
        fs::write(file, before).expect("it can be written");
        assert!(zeek_client_is_served(&mut controller, &old));
    }
    let Remains { stderr, .. } = controller.stop();
    assert!(stderr.contains(r#""reloads_failed":2"#), "{stderr}");
}

#[test]
fn the_log_level_is_read_again_and_what_needs_a_restart_is_named() {
    let home = home();
    let path = home.path().join("controller.toml");
    fs::write(&path, "log_level = \"info\"\n").expect("it can be written");
    let option = format!("--config={}", path.display());
    let controller = Controller::start_in(&home, &[option]);
    let directory = controller.working_dir("controller");
    fs::write(&path, "log_level = \"debug\"\nrequest_timeout = \"7sec\"\n").expect("it can be written");
    let reloaded = ask(&directory, &["reload"]);
    assert_eq!(
        reloaded.printed(),
        "reloaded, log level debug, tokens: 0, lines of roles: 0, entries of the deny list: 0; restart the daemon to change request_timeout as \
         configured now\n"
    );
    fs::write(&path, "log_level = 7\nnmae = 1\n").expect("it can be written");
    ask(&directory, &["reload"]).failed(1, "controller.toml:2: the controller has no setting nmae");
    let Remains { stderr, .. } = controller.stop();
    assert!(stderr.contains(" DEBUG "), "{stderr}");
    let before = stderr.split("reloaded, log level").next().unwrap_or_default();
    assert!(!before.contains(" DEBUG "), "{before}");
}
