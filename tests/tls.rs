//! Certificates on both ports of the controller, from the operator's view: Zeek's settings, the real zeek-client, and who is
//! turned away with which words. That agents with certificates are served is in `agents`.

use broker_endpoint::tls::{Identity, TlsConfig};

use crate::support::{
    certificates::{Authority, PASSPHRASE, Validity, native_settings},
    controller::{Controller, binary},
    home,
    peer::Peer,
    program::{Outcome, run},
    secure::named,
    zeek_client::ZeekClient,
};

/// A controller whose WebSocket port has this certificate, and further fields of the option.
fn controller(identity: &Identity, further: &str) -> Controller {
    let option = format!(
        "Management::Controller::tls_options_websocket=Cluster::WebSocketTLSOptions($cert_file=\"{}\", \
         $key_file=\"{}\"{further})",
        identity.certificate.display(),
        identity.key.display()
    );
    Controller::start(&[option])
}

/// zeek-client with TLS and a certificate: it then verifies the controller's, and the name in it.
fn get_instances(controller: &mut Controller, ca: &Authority, identity: &Identity) -> Outcome {
    let certificate = [
        format!("ssl.certificate={}", identity.certificate.display()),
        format!("ssl.keyfile={}", identity.key.display()),
    ];
    get_instances_with(controller, ca, certificate)
}

fn get_instances_with(
    controller: &mut Controller,
    ca: &Authority,
    certificate: impl IntoIterator<Item = String>,
) -> Outcome {
    let mut settings = vec![
        "ssl.enable=True".to_owned(),
        format!("ssl.cafile={}", ca.path("ca.pem").display()),
        "client.peering_attempts=10".to_owned(),
    ];
    settings.extend(certificate);
    let mut arguments: Vec<String> = settings
        .into_iter()
        .flat_map(|setting| ["--set".to_owned(), setting])
        .collect();
    arguments.push("get-instances".to_owned());
    ZeekClient::release("1.5.0").run(controller.websocket(), &arguments, None)
}

fn assert_served(outcome: &Outcome) {
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    assert_eq!(outcome.stdout, "{}\n");
}

fn assert_refused(outcome: &Outcome, reason: &str) {
    assert_eq!(outcome.exit, 1, "{outcome:?}");
    assert!(outcome.stderr.contains(reason), "{outcome:?}");
}

/// A certificate for where the controllers of tests listen.
fn for_controller(ca: &Authority, validity: &Validity) -> Identity {
    ca.sign("controller", &["127.0.0.1"], validity)
}

#[test]
fn zeek_client_verifies_the_controllers_certificate() {
    let [ca, other] = ["Cluster CA", "Other CA"].map(Authority::new);
    let client = ca.sign("operator", &[], &Validity::Now);

    let mut good = controller(&for_controller(&ca, &Validity::Now), "");
    assert_served(&get_instances(&mut good, &ca, &client));
    // The server did not ask for the client's own certificate.
    let stranger = other.sign("operator", &[], &Validity::Now);
    assert_served(&get_instances(&mut good, &ca, &stranger));
    assert_refused(
        &get_instances(&mut good, &other, &client),
        "CERTIFICATE_VERIFY_FAILED",
    );

    let mut expired = controller(&for_controller(&ca, &Validity::Expired), "");
    assert_refused(
        &get_instances(&mut expired, &ca, &client),
        "certificate has expired",
    );

    let mut elsewhere = controller(
        &ca.sign("controller", &["controller.example"], &Validity::Now),
        "",
    );
    assert_refused(
        &get_instances(&mut elsewhere, &ca, &client),
        "IP address mismatch",
    );
}

#[test]
fn a_plaintext_client_is_told_that_the_port_demands_tls() {
    let ca = Authority::new("Cluster CA");
    let mut controller = controller(&for_controller(&ca, &Validity::Now), "");
    let arguments = ["get-instances"];
    let outcome = ZeekClient::release("1.5.0").run(controller.websocket(), &arguments, None);
    assert_refused(&outcome, "websocket error in connect()");
    assert!(outcome.stderr.contains("TLS"), "{outcome:?}");
}

#[test]
fn the_controller_verifies_clients_where_it_is_told_to() {
    let [ca, other] = ["Cluster CA", "Other CA"].map(Authority::new);
    let further = format!(
        ", $enable_peer_verification=T, $ca_file=\"{}\"",
        ca.path("ca.pem").display()
    );
    let mut controller = controller(&for_controller(&ca, &Validity::Now), &further);
    assert_served(&get_instances(
        &mut controller,
        &ca,
        &ca.sign("operator", &[], &Validity::Now),
    ));
    let stranger = other.sign("stranger", &[], &Validity::Now);
    assert_eq!(get_instances(&mut controller, &ca, &stranger).exit, 1);
    let late = ca.sign("late", &[], &Validity::Expired);
    assert_eq!(get_instances(&mut controller, &ca, &late).exit, 1);
    assert_eq!(get_instances_with(&mut controller, &ca, []).exit, 1);
    let stderr = controller.stop().stderr;
    for words in [
        &*format!(
            "certificate of the peer ({}) is not trusted",
            named("stranger", &stranger)
        ),
        &format!("certificate of the peer ({}) has expired", named("late", &late)),
        "the client shows no certificate; give it one, signed by our CA (zeek-client: ssl.certificate and ssl.keyfile)",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert!(!stderr.contains("Broker::ssl_certificate"), "{stderr}");
}

#[test]
fn agents_without_a_good_certificate_are_refused_with_the_reason() {
    let [ca, other] = ["Cluster CA", "Other CA"].map(Authority::new);
    let settings = native_settings(&ca, &ca.sign("controller", &[], &Validity::Now));
    let controller = Controller::start(&settings);
    let mutual = |identity| TlsConfig::Mutual {
        identity,
        trust: ca.trust(),
    };
    let stranger = other.sign("stranger", &[], &Validity::Now);
    let late = ca.sign("late", &[], &Validity::Expired);
    for tls in [
        mutual(stranger.clone()),
        mutual(late.clone()),
        TlsConfig::Anonymous,
        TlsConfig::Off,
    ] {
        Peer::cannot_connect(controller.broker(), tls);
    }
    let stderr = controller.stop().stderr;
    for words in [
        &*format!(
            "certificate of the peer ({}) is not trusted",
            named("stranger", &stranger)
        ),
        &format!("certificate of the peer ({}) has expired", named("late", &late)),
        "peer shows no certificate; give it one, signed by our CA (Zeek: Broker::ssl_certificate)",
        "peer speaks plaintext Broker instead of TLS",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert!(!stderr.contains("ssl.certificate"), "{stderr}");
}

/// Whether another controller runs has nothing to do with it.
#[test]
fn a_key_that_cannot_be_used_is_the_whole_reason() {
    let home = home();
    let ca = Authority::new("test CA");
    let [one, other] = ["one", "other"].map(|name| ca.sign(name, &[], &Validity::Now));
    let encrypted = ca.sign_encrypted("encrypted", PASSPHRASE);
    for (certificate, key, words) in [
        (&one.certificate, &other.key, "does not belong to certificate"),
        (
            &encrypted.certificate,
            &encrypted.key,
            "those of the WebSocket and the HTTP port must not be encrypted, as there is no setting for their passphrases",
        ),
    ] {
        let option = format!(
            "Management::Controller::tls_options_websocket=[$cert_file=\"{}\", $key_file=\"{}\"]",
            certificate.display(),
            key.display()
        );
        let directories = ["--state-dir", "state", "--spool-dir", "spool"];
        let arguments = [&directories[..], &["--listen", "off", &option]].concat();
        let refused = run(binary(), home.path(), &arguments);
        refused.failed(1, words);
        assert!(
            !refused.stderr.contains("the process that has the port"),
            "{refused:?}"
        );
    }
}
