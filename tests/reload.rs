//! What a daemon reads again while it runs: certificates, its log level, its configuration file.

use std::{fs, path::Path};

use broker_endpoint::tls::{Identity, TlsConfig};
use mgmt_api::{ClientRequest, ClientResponse, topics};
use rustix::process::Signal;

use crate::support::{
    certificates::{Authority, Validity},
    controller::{Controller, Remains},
    home,
    http::failing,
    limit::Limit,
    mgmtctl::ask,
    peer::{Peer, data_of},
    zeek_client::ZeekClient,
};

/// How many connections are there while certificates are renewed.
const LIVE: usize = 50;

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

#[test]
fn certificates_are_renewed_under_live_connections() {
    let home = home();
    let [old, new] = ["Old CA", "New CA"].map(Authority::new);
    let installed = Installed::new(home.path(), &old);
    let mut controller = Controller::start_in(&home, &installed.settings());
    let directory = controller.working_dir("controller");
    let tls = of(&old);
    let mut live: Vec<Peer> = (0..LIVE)
        .map(|_| Peer::connect(controller.broker(), tls.clone(), topics::CONTROLLER))
        .collect();
    assert!(zeek_client_is_served(&mut controller, &old));

    installed.renew(&new);
    for _ in 0..100 {
        controller.signal(Signal::HUP);
    }
    // It comes after them, and says when it is done.
    let reloaded = ask(&directory, &["reload"]);
    assert_eq!(
        reloaded.printed(),
        "reloaded certificates, tokens, roles and logs, log level info\n"
    );

    Peer::connect(controller.broker(), of(&new), topics::CONTROLLER);
    Peer::cannot_connect(controller.broker(), tls);
    assert!(zeek_client_is_served(&mut controller, &new));
    assert!(!zeek_client_is_served(&mut controller, &old));
    for (number, peer) in live.iter_mut().enumerate() {
        answers(peer, &format!("live-{number}"));
    }
    drop(live);
    let Remains { stderr, .. } = controller.stop();
    assert!(
        stderr.contains("reloaded certificates, tokens, roles and logs"),
        "{stderr}"
    );
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
        "reloaded certificates, tokens, roles and logs, log level debug; restart the daemon to change request_timeout as configured now\n"
    );
    fs::write(&path, "log_level = 7\nnmae = 1\n").expect("it can be written");
    ask(&directory, &["reload"]).failed(1, "controller.toml:2: the controller has no setting nmae");
    let Remains { stderr, .. } = controller.stop();
    assert!(stderr.contains(" DEBUG "), "{stderr}");
    let before = stderr.split("reloaded certificates").next().unwrap_or_default();
    assert!(!before.contains(" DEBUG "), "{before}");
}
