//! What every daemon is configured with.

use broker_endpoint::tls::TlsConfig;
use mgmt_daemon::config::dump_json;

use super::*;

#[test]
fn the_default_name_holds_the_host_name() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected = format!("controller-{}", host.trim());
    assert_eq!(read("").unwrap().daemon.name, expected);
    // As Zeek's getenv: an empty variable is no variable.
    assert_eq!(read("$ZEEK_CONTROLLER_NAME=").unwrap().daemon.name, expected);
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = read("$ZEEK_CONTROLLER_NAME=a/b Management::connect_retry=x --log-format=xml").unwrap_err();
    assert_eq!(errors.iter().count(), 3);
    assert!(errors.is_usage());
    assert!(!read("$ZEEK_CONTROLLER_NAME=a/b").unwrap_err().is_usage());
}

#[test]
fn what_has_no_effect_is_named() {
    let (local, redefs) = script(
        "@load policy/tuning/json-logs\nredef Management::Agent::name = \"a\";\nredef Management::Controller::nmae = \
         \"x\";\nredef Site::local_nets += { 10.0.0.0/8 };\nredef Broker::disable_ssl = T;\n",
    );
    let config = read(&format!("Management::Agent::name=a {redefs}")).unwrap();
    let warnings = config.daemon.resolved.warnings.join("\n");
    assert_eq!(
        warnings
            .replace(&local.path().display().to_string(), "local.zeek")
            .lines()
            .collect::<Vec<_>>(),
        [
            "local.zeek:2: Management::Agent::name is no setting of the controller, ignored",
            "local.zeek:3: Zeek's controller has no setting Management::Controller::nmae, ignored",
            "local.zeek:4: redefinition of Site::local_nets ignored: it adds to a value; only = is read",
            "Management::Agent::name is no setting of the controller, ignored",
        ]
    );
}

#[test]
fn the_dump_shows_values_and_origins() {
    let config = read("--name=c").unwrap();
    let text = dump(&config);
    let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "redef Management::Controller::name = \"c\"; # option --name"
    );
    let json: serde_json::Value =
        serde_json::from_str(&dump_json(&config.daemon.resolved.effective)).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({ "name": "Management::Controller::name", "value": "\"c\"", "origin": "option --name" })
    );
    assert!(text.contains("TLS of native connections: anonymous"));
}

#[test]
fn tls_of_native_connections_is_chosen_as_by_zeek() {
    let tls = |given| read(given).unwrap().daemon.broker_tls;
    assert!(matches!(tls(""), TlsConfig::Anonymous));
    assert!(matches!(
        tls("Broker::disable_ssl=T Broker::ssl_certificate=cert.pem"),
        TlsConfig::Off
    ));
    let mutual = tls("Broker::ssl_certificate=cert.pem Broker::ssl_keyfile=/key.pem Broker::ssl_capath=cas");
    let TlsConfig::Mutual { identity, trust } = mutual else {
        panic!("{mutual:?}")
    };
    assert_eq!(identity.certificate, Path::new("/cwd/cert.pem"));
    assert_eq!(identity.key, Path::new("/key.pem"));
    assert_eq!(identity.passphrase, None);
    assert_eq!(trust.ca_file, None);
    assert_eq!(trust.ca_path.as_deref(), Some(Path::new("/cwd/cas")));
}

#[test]
fn the_passphrase_is_never_shown() {
    const SECRET: &str = "correct horse";
    let given = format!("Broker::ssl_passphrase={SECRET}").replace(' ', "␣");
    let whole = format!("{given} Broker::ssl_certificate=c Broker::ssl_keyfile=k Broker::ssl_cafile=a");
    let config = read(&whole).unwrap();
    let json = dump_json(&config.daemon.resolved.effective);
    for text in [dump(&config), json, format!("{config:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(dump(&config).contains("(not shown)"));

    let (_local, redefs) = script(&format!("redef Broker::ssl_passphrase = {SECRET};\n"));
    let text = read(&redefs).unwrap_err().to_string();
    assert!(
        text.contains("Broker::ssl_passphrase: \"(not shown)\" is not a string"),
        "{text}"
    );

    let errors = read(&format!("{given}{}", SECRET.repeat(10).replace(' ', "␣"))).unwrap_err();
    assert!(!errors.to_string().contains(SECRET), "{errors}");
}

#[test]
fn a_role_that_counts_in_no_cluster_is_told() {
    let suspected = |roles: &str| {
        let config = read(&format!("--name=hub --roles={roles}")).unwrap();
        let resolved = config.daemon.resolved;
        (resolved.suspicious, resolved.warnings.join("\n"))
    };
    assert_eq!(suspected("alice␣deploy␣lab"), (false, String::new()));
    let (is_suspicious, warnings) = suspected("alice␣deploy␣lab-*");
    assert!(is_suspicious);
    let words = "roles: \"alice deploy lab-*\" counts nowhere: \"lab-*\" is not the name of a cluster, which has letters";
    assert!(warnings.starts_with(words), "{warnings}");
}
