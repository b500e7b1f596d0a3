//! With TLS: the daemon's certificate, and those of clients. What is wrong is told in words.

use std::{fs, net::TcpListener};

use broker_endpoint::tls::Identity;

use super::Served;
use crate::support::{
    certificates::{Authority, Validity},
    program::Outcome,
};

/// A controller whose certificate this CA has signed, and certificates of whose clients are of another one.
struct Protected {
    served: Served,
    ca: Authority,
    of_clients: Authority,
    installed: Identity,
}

impl Protected {
    fn start() -> Self {
        let [ca, of_clients] = ["CA", "CA of clients"].map(Authority::new);
        let installed = ca.sign("controller", &["127.0.0.1", "localhost"], &Validity::Now);
        let path = |path: &std::path::Path| path.display().to_string();
        let served = Served::start(&[
            "--http-certificate",
            &path(&installed.certificate),
            "--http-key",
            &path(&installed.key),
            "--http-client-ca",
            &path(&of_clients.path("ca.pem")),
            "--roles",
            "alice deploy",
            "--roles",
            "*.noc.example read",
        ]);
        Self {
            served,
            ca,
            of_clients,
            installed,
        }
    }

    /// Who the daemon takes mgmtctl for, with these options.
    fn whoami(&self, options: &[&str]) -> Outcome {
        self.served.remote("https", &[&["whoami"], options].concat())
    }

    fn ca_file(&self) -> String {
        self.ca.path("ca.pem").display().to_string()
    }

    /// The same with a certificate.
    fn by(&self, identity: &Identity) -> Outcome {
        let [certificate, key] =
            [&identity.certificate, &identity.key].map(|path| path.display().to_string());
        self.whoami(&["--ca", &self.ca_file(), "--cert", &certificate, "--key", &key])
    }

    /// Gives the daemon another certificate.
    fn install(&self, identity: &Identity) {
        fs::copy(&identity.certificate, &self.installed.certificate).expect("it can be copied");
        fs::copy(&identity.key, &self.installed.key).expect("it can be copied");
    }
}

#[test]
fn a_client_is_known_by_a_token_or_by_its_certificate() {
    let protected = Protected::start();
    let ca = protected.ca_file();
    protected.whoami(&["--ca", &ca]).failed(1, "say who you are");
    let token = protected
        .served
        .token("ops", &["--role", "admin", "--expires", "1h"]);
    let token = protected.served.token_file(&token);
    let whoami = protected.whoami(&["--ca", &ca, "--token-file", &token]);
    assert!(
        whoami.printed().starts_with("token ops at 127.0.0.1:"),
        "{whoami:?}"
    );
    let whoami = protected.whoami(&["--ca", &ca, "--token-file", &token, "--json"]);
    assert_eq!(whoami.json(0)["roles"][0]["role"], "admin");

    let sign =
        |name, alternatives: &[&str], validity| protected.of_clients.sign(name, alternatives, validity);
    let whoami = protected.by(&sign("alice", &[], &Validity::Now));
    let text = whoami.printed();
    assert!(text.starts_with("certificate CN=alice at 127.0.0.1:"), "{text}");
    assert!(text.ends_with(": deploy in all clusters\n"), "{text}");
    let whoami = protected.by(&sign("any", &["a.noc.example"], &Validity::Now));
    assert!(
        whoami.printed().ends_with(": read in all clusters\n"),
        "{whoami:?}"
    );
    protected
        .by(&sign("mallory", &[], &Validity::Now))
        .failed(1, "no role is configured for a name");
    protected
        .by(&sign("alice-old", &[], &Validity::Expired))
        .failed(3, "refuses our certificate: it has expired");
    // Of the daemon's CA, which is not that of clients.
    let foreign = protected.ca.sign("alice", &[], &Validity::Now);
    protected.by(&foreign).failed(3, "refuses our certificate");
    protected.served.controller.stop();
}

#[test]
fn a_daemon_that_is_not_the_one_that_is_meant_is_not_asked() {
    let protected = Protected::start();
    let ca = protected.ca_file();
    let other = protected.of_clients.path("ca.pem").display().to_string();
    protected
        .whoami(&["--ca", &other])
        .failed(3, "is of no CA that is trusted here: name its CA by --ca");
    let port = protected.served.address().port();
    let by_name = format!("https://localhost:{port}");
    protected
        .served
        .at(&by_name, &["whoami", "--ca", &ca])
        .failed(1, "say who you are");

    // A renewed certificate is used from the next connection on, here to the worse.
    protected.install(&protected.ca.sign("other", &["hub.example"], &Validity::Now));
    protected.served.local(&["reload"]).printed();
    protected
        .whoami(&["--ca", &ca])
        .failed(3, "the daemon's certificate is not for 127.0.0.1");
    protected
        .served
        .at(&by_name, &["whoami", "--ca", &ca])
        .failed(3, "is not for localhost");

    // It does not start to use one that has expired, and goes on with one that expires.
    protected.install(&protected.ca.sign("expired", &["127.0.0.1"], &Validity::Expired));
    protected
        .served
        .local(&["reload"])
        .failed(1, "nothing was reloaded");
    let Served { home, controller } = protected.served;
    controller.stop();
    let files = [&protected.installed.certificate, &protected.installed.key];
    let [certificate, key] = files.map(|path| path.display().to_string());
    let served = Served::start_in(home, &["--http-certificate", &certificate, "--http-key", &key]);
    served
        .remote("https", &["whoami", "--ca", &ca])
        .failed(3, "the daemon's certificate, or its CA's, has expired");
    served.controller.stop();
}

#[test]
fn what_is_no_server_or_speaks_otherwise_is_told() {
    let protected = Protected::start();
    let (served, ca) = (&protected.served, protected.ca_file());
    served
        .remote("http", &["status"])
        .failed(3, "this port speaks HTTP with TLS: use https://");
    let mut plain = Served::start(&[]);
    plain
        .remote("https", &["status", "--ca", &ca])
        .failed(3, "no TLS is spoken there");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = listener.local_addr().expect("an address");
    drop(listener);
    served
        .at(&format!("https://{gone}"), &["status"])
        .failed(3, "Connection refused");
    for (server, words) in [
        ("hub.example", "write https://HOST:PORT"),
        ("https://hub.example/path", "write https://HOST:PORT"),
        ("https://me@hub.example", "a token comes from a file"),
        ("ftp://hub.example", "it begins with https://"),
        ("http://192.0.2.1", "without TLS a token could be read on the way"),
    ] {
        served.at(server, &["status"]).failed(64, words);
    }
    served
        .at("https://127.0.0.1:1", &["status", "--cert", "a"])
        .failed(64, "--cert and --key belong together");
    served
        .at("https://127.0.0.1:1", &["status", "--ca", "nowhere"])
        .failed(3, "cannot use the CA nowhere");
    let empty = served.token_file("");
    served
        .at("https://127.0.0.1:1", &["status", "--token-file", &empty])
        .failed(64, "holds no token");
    served
        .at("https://127.0.0.1:1", &["status", "--token-file", "nowhere"])
        .failed(3, "cannot read nowhere");
    let broker = protected.served.controller.broker();
    served
        .at(&format!("https://{broker}"), &["status", "--ca", &ca])
        .failed(3, "Broker port");
    let websocket = plain.controller.websocket();
    plain
        .at(&format!("http://{websocket}"), &["status"])
        .failed(3, "this is the WebSocket port of a controller");
    plain.controller.stop();
    protected.served.controller.stop();
}
