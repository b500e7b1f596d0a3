use broker_endpoint::tls::PrivateKey;

use super::*;

const DAY: Seconds = 24 * 60 * 60;

fn authority(home: &Path) -> Authority {
    let own_ca = OwnCa {
        dir: home.join("ca"),
        common_name: "controller:hub".to_owned(),
        names: Vec::new(),
        host: "hub".to_owned(),
        lifetime: Duration::from_secs(60),
    };
    Authority::open(own_ca, Revoked::default()).unwrap()
}

#[test]
fn a_ca_that_is_not_valid_now_is_told_with_the_remedy() {
    for (valid, is_good) in [
        (0..1, false),
        (now() + DAY..now() + 2 * DAY, false),
        (0..now() + DAY, true),
    ] {
        let home = tempfile::tempdir().unwrap();
        let own = authority(home.path());
        let dir = home.path().join("ca");
        let key = PrivateKey::generate().unwrap();
        let ca = CertificateAuthority::create("CA", key, valid).unwrap();
        let mut own = Arc::into_inner(own.0).unwrap();
        own.valid = ca.valid().unwrap();
        let failing = Authority(Arc::new(own)).failing();
        assert_eq!(failing.is_none(), is_good);
        let words = format!("the CA in {} is valid from ", dir.display());
        assert!(
            failing.is_none_or(|failing| failing.starts_with(&words) && failing.contains("set the clock"))
        );
    }
}

/// What is asked to renew a certificate of this name that has ended so long ago, signed by a key.
fn renews(by: &Authority, name: &str, ended: Seconds, signed_by: &PrivateKey, own: &PrivateKey) -> Renews {
    let valid = now() - 400 * DAY..now() - ended;
    let certificate = by.0.ca.issue((name, &[]), &own.public().unwrap(), valid);
    Renews {
        certificate: certificate.unwrap(),
        signature: hex::encode(signed_by.sign(b"request").unwrap()),
    }
}

#[test]
fn a_certificate_is_renewed_by_its_key_and_for_a_month_after_its_end() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [own, other] = homes.each_ref().map(|home| authority(home.path()));
    let [key, wrong] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let renewed = |renews: &Renews| match own.renewed(renews, "request") {
        Ok(name) => name,
        Err(NotIssued::Wrong(reason)) => format!("wrong: {reason}"),
        Err(NotIssued::Refused(reason)) => format!("refused: {reason}"),
        Err(other @ (NotIssued::TooMany(_) | NotIssued::Failed(_))) => panic!("{other:?}"),
    };
    for ended in [-DAY, DAY, 29 * DAY] {
        assert_eq!(renewed(&renews(&own, "sensor1", ended, &key, &key)), "sensor1");
    }
    for (renews, words) in [
        (
            renews(&own, "sensor1", 31 * DAY, &key, &key),
            "refused: the certificate of sensor1 has expired at ",
        ),
        (
            renews(&own, "controller:hub", -DAY, &key, &key),
            "refused: the certificate is not an agent's",
        ),
        (
            renews(&other, "sensor1", -DAY, &key, &key),
            "wrong: the certificate to be renewed is not of this controller's CA",
        ),
        (
            renews(&own, "sensor1", -DAY, &wrong, &key),
            "wrong: the request is not signed by the key",
        ),
        (
            Renews {
                signature: "no digits".to_owned(),
                ..renews(&own, "sensor1", -DAY, &key, &key)
            },
            "wrong: the request is not signed by the key",
        ),
        (
            Renews {
                certificate: "no certificate".to_owned(),
                signature: String::new(),
            },
            "wrong: the certificate to be renewed: it is no certificate in PEM format",
        ),
    ] {
        let told = renewed(&renews);
        assert!(told.starts_with(words), "{told}");
    }
    // The request is another one than was signed.
    let good = renews(&own, "sensor1", -DAY, &key, &key);
    assert!(matches!(own.renewed(&good, "other"), Err(NotIssued::Wrong(_))));
}
