//! A CA of the controller's own.

use broker_endpoint::tls::TlsConfig;

use super::*;

const OWN: &str = "--name=hub --own-ca=T --http-listen=10.0.0.1:2148";

fn own_ca(given: &str) -> OwnCa {
    read(&format!("{OWN} {given}")).unwrap().own_ca.unwrap()
}

#[test]
fn it_sets_what_is_not_set() {
    let config = read(&format!(
        "{OWN} --http-host=*.example,hub.example --websocket-listen=10.0.0.2:2149"
    ))
    .unwrap();
    let file = |name: &str| Path::new("/state/nodes/hub/ca").join(name);
    let tls = [&config.daemon.broker_tls, &config.daemon.http.tls];
    for tls in tls {
        let identity = tls.identity().unwrap();
        assert_eq!(identity.certificate, file("controller.pem"));
        assert_eq!(identity.key, file("controller.key"));
    }
    assert!(tls[0].asks_for_certificates() && !tls[1].asks_for_certificates());
    assert!(
        matches!(tls[1], TlsConfig::ClientsMayShow { trust, .. } if trust.ca_file == Some(file("ca.pem")))
    );
    assert_eq!(config.daemon.roles, ["* agent".parse().unwrap()]);
    for key in [
        "ssl_certificate",
        "ssl_cafile",
        "http_key",
        "http_client_ca",
        "roles",
    ] {
        assert_eq!(shown(&config, key).origin, Origin::Setting("own_ca"), "{key}");
    }
    let own = config.own_ca.unwrap();
    assert_eq!((&*own.common_name, &*own.host), ("controller:hub", "hub.example"));
    let names = own.names.join(" ");
    let rest = " localhost 127.0.0.1 ::1 *.example hub.example 10.0.0.1 10.0.0.2";
    assert!(names.ends_with(rest) && names.len() > rest.len(), "{names}");
}

#[test]
fn it_leaves_what_is_set() {
    let config = read(&format!("{OWN} --roles=bob␣admin Broker::disable_ssl=T")).unwrap();
    assert_eq!(config.daemon.roles, ["bob admin".parse().unwrap()]);
    assert!(matches!(config.daemon.broker_tls, TlsConfig::Off));
    let files = "Broker::ssl_certificate=/c Broker::ssl_keyfile=/k Broker::ssl_capath=/a";
    let config = read(&format!("{OWN} {files}")).unwrap();
    assert_eq!(
        config.daemon.broker_tls.identity().unwrap().certificate,
        Path::new("/c")
    );
    assert_eq!(shown(&config, "ssl_cafile").value, "\"\"");
    let config = read("--name=hub --http-listen=127.0.0.1:0").unwrap();
    assert!(config.own_ca.is_none() && config.daemon.roles.is_empty());
    assert!(matches!(config.daemon.http.tls, TlsConfig::Off));
}

#[test]
fn agents_find_the_controller_by_the_best_name_that_is_known() {
    assert_eq!(own_ca("").host, "10.0.0.1");
    assert_eq!(own_ca("--http-host=*.example").host, "10.0.0.1");
    let at = |listen: &str| {
        let given = format!("--name=hub --own-ca=T --http-listen={listen}");
        read(&given).unwrap().own_ca.unwrap().host
    };
    assert_eq!(at("[2001:db8::1]:2148"), "[2001:db8::1]");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(at("0.0.0.0:2148"), host.trim());
}

#[test]
fn what_makes_no_sense_with_it_is_refused() {
    for (given, words) in [
        ("--own-ca=T", "agents enrol over HTTP: give http_listen"),
        (
            "--own-ca=T --http-listen=0.0.0.0:2148 --http-certificate=/c --http-key=/k",
            "http_certificate: agents enrol over HTTP, and know the controller there by a certificate of its own CA",
        ),
        (
            "--own-ca=T --http-listen=0.0.0.0:2148 --http-client-ca=/ca",
            "leave http_client_ca out, or own_ca",
        ),
        (
            &format!("--own-ca=T --http-listen=0.0.0.0:2148 --name={}", "x".repeat(54)),
            "choose a shorter name",
        ),
        ("--certificate-lifetime=0sec", "valid for a second to 20 years"),
        (
            "--certificate-lifetime=100000days",
            "valid for a second to 20 years",
        ),
        ("--own-ca=maybe", "own_ca: \"maybe\" is not"),
    ] {
        let errors = read(given).unwrap_err();
        let errors: Vec<String> = errors.iter().collect();
        let errors = errors.join("\n");
        assert!(errors.contains(words), "{given}: {errors}");
    }
}
