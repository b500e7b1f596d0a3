//! Files and options that do not fit.

use std::{fs, path::PathBuf};

use super::{
    testing::{Authority, Validity},
    *,
};

#[test]
fn files_that_do_not_fit_are_named() {
    let ca = Authority::new("Test CA");
    let good = ca.sign("agent-1", &[], &Validity::Now);
    let other = ca.sign("agent-2", &[], &Validity::Now);
    let with = |certificate: &PathBuf, key: &PathBuf| Identity {
        certificate: certificate.clone(),
        key: key.clone(),
        passphrase: None,
    };
    let empty = ca.path("empty.pem");
    fs::write(&empty, "").unwrap();
    let nowhere = ca.path("nowhere");
    let endless = "/dev/zero".into();
    for (identity, trust, part, text) in [
        (
            with(&nowhere, &good.key),
            ca.trust(),
            Some(TlsPart::Certificate),
            format!("cannot read the certificate {nowhere:?}: "),
        ),
        (
            with(&good.key, &good.key),
            ca.trust(),
            Some(TlsPart::Certificate),
            format!("{:?} does not hold a certificate in PEM format: ", good.key),
        ),
        (
            with(&good.certificate, &good.certificate),
            ca.trust(),
            Some(TlsPart::Key),
            format!(
                "{:?} does not hold a private key in PEM format: ",
                good.certificate
            ),
        ),
        (
            with(&good.certificate, &other.key),
            ca.trust(),
            Some(TlsPart::Key),
            format!("private key {:?} does not belong to certificate ", other.key),
        ),
        (
            with(&endless, &good.key),
            ca.trust(),
            Some(TlsPart::Certificate),
            "cannot read the certificate \"/dev/zero\": it has more than 16 MiB".to_owned(),
        ),
        (
            good.clone(),
            Trust::default(),
            None,
            "TLS with certificates needs a CA file or CA folder; ".to_owned(),
        ),
        (
            good.clone(),
            Trust {
                ca_file: None,
                ca_path: Some(nowhere.clone()),
                ..Trust::default()
            },
            Some(TlsPart::CaFolder),
            format!("cannot read the folder of CA certificates {nowhere:?}: "),
        ),
        (
            good.clone(),
            Trust {
                ca_file: Some(empty.clone()),
                ca_path: None,
                ..Trust::default()
            },
            Some(TlsPart::CaFile),
            format!("{empty:?} does not hold a CA certificate in PEM format: there is none in it"),
        ),
    ] {
        let error = TlsContext::new(&TlsConfig::Mutual { identity, trust }).expect_err("refused");
        assert_eq!(error.part(), part, "{error}");
        let found = crate::with_causes(&error);
        assert!(found.starts_with(&text), "{found}");
    }
}

#[test]
fn a_folder_without_a_certificate_that_can_be_found_is_not_in_order() {
    let ca = Authority::new("test CA");
    let folder = ca.folder().join("authorities");
    fs::create_dir(&folder).unwrap();
    let config = TlsConfig::Mutual {
        identity: ca.sign("agent-1", &[], &Validity::Now),
        trust: Trust {
            ca_path: Some(folder.clone()),
            ..Trust::default()
        },
    };
    let check = || config.check().map_err(|error| error.part());
    assert_eq!(check(), Err(Some(TlsPart::CaFolder)));
    for name in ["ca.pem", "5ad8a5d6", "5ad8a5d6.r0", "xad8a5d6.0"] {
        fs::write(folder.join(name), "").unwrap();
    }
    assert_eq!(check(), Err(Some(TlsPart::CaFolder)));
    fs::write(folder.join("5ad8a5d6.0"), "").unwrap();
    assert_eq!(check(), Ok(()));
}

#[test]
fn zeeks_options_choose_the_mode_that_zeek_would() {
    type Spoil = fn(&mut ZeekTlsOptions);
    let options = ZeekTlsOptions::default();
    assert!(matches!(options.config(), Ok(TlsConfig::Anonymous)));
    let options = ZeekTlsOptions {
        disable_ssl: true,
        ssl_certificate: "ignored".into(),
        ..ZeekTlsOptions::default()
    };
    assert!(matches!(options.config(), Ok(TlsConfig::Off)));
    let complete = ZeekTlsOptions {
        ssl_certificate: "cert.pem".into(),
        ssl_keyfile: "key.pem".into(),
        ssl_capath: "/etc/ssl/zeek".into(),
        ..ZeekTlsOptions::default()
    };
    assert!(matches!(complete.config(), Ok(TlsConfig::Mutual { .. })));
    let incomplete: [(Spoil, &str); 4] = [
        (
            |options| options.ssl_certificate.clear(),
            "Broker::ssl_certificate",
        ),
        (|options| options.ssl_keyfile.clear(), "Broker::ssl_keyfile"),
        (|options| options.ssl_capath.clear(), "Broker::ssl_cafile"),
        (
            |options| {
                *options = ZeekTlsOptions {
                    ssl_passphrase: "x".into(),
                    ..ZeekTlsOptions::default()
                }
            },
            "Broker::ssl_certificate",
        ),
    ];
    for (spoil, option) in incomplete {
        let mut options = complete.clone();
        spoil(&mut options);
        let error = options.config().expect_err("incomplete");
        assert!(error.to_string().contains(option), "{error}");
    }
}
