//! Files and options that do not fit.

use std::fs;

use super::{
    testing::{Authority, Validity},
    *,
};

fn error(identity: &Identity, trust: &Trust) -> TlsConfigError {
    TlsContext::new(&TlsConfig::Mutual {
        identity: identity.clone(),
        trust: trust.clone(),
    })
    .expect_err("refused")
}

#[test]
fn files_that_do_not_fit_are_named() {
    let ca = Authority::new("Test CA");
    let good = ca.sign("agent-1", &[], &Validity::Now);
    let other = ca.sign("agent-2", &[], &Validity::Now);
    let missing = Identity {
        certificate: ca.path("nowhere.crt"),
        ..good.clone()
    };
    let found = error(&missing, &ca.trust());
    assert!(matches!(found, TlsConfigError::Unreadable { .. }), "{found:?}");
    assert!(found.to_string().contains("nowhere.crt"), "{found}");

    let swapped = [
        (
            TlsPart::Certificate,
            Identity {
                certificate: good.key.clone(),
                ..good.clone()
            },
        ),
        (
            TlsPart::Key,
            Identity {
                key: good.certificate.clone(),
                ..good.clone()
            },
        ),
    ];
    for (expected, identity) in swapped {
        let found = error(&identity, &ca.trust());
        assert!(
            matches!(found, TlsConfigError::NotPem { what, .. } if what == expected),
            "{found:?}"
        );
        assert_eq!(found.part(), Some(expected));
    }

    let mixed = Identity {
        key: other.key,
        ..good.clone()
    };
    let found = error(&mixed, &ca.trust());
    assert!(matches!(found, TlsConfigError::KeyMismatch { .. }), "{found:?}");
    assert!(found.to_string().contains("does not belong"), "{found}");
}

#[test]
fn authorities_that_do_not_fit_are_named() {
    let ca = Authority::new("Test CA");
    let good = ca.sign("agent-1", &[], &Validity::Now);
    let found = error(&good, &Trust::default());
    assert!(matches!(found, TlsConfigError::Missing { .. }), "{found:?}");
    let nowhere = Trust {
        ca_path: Some(ca.folder().join("nowhere")),
        ..Trust::default()
    };
    let found = error(&good, &nowhere);
    assert!(matches!(found, TlsConfigError::Unreadable { .. }), "{found:?}");
    assert_eq!(found.part(), Some(TlsPart::CaFolder));

    let empty = ca.path("empty.pem");
    fs::write(&empty, "").unwrap();
    let empty = Trust {
        ca_file: Some(empty),
        ..Trust::default()
    };
    assert_eq!(error(&good, &empty).part(), Some(TlsPart::CaFile));
    let endless = Identity {
        certificate: "/dev/zero".into(),
        ..good
    };
    let found = error(&endless, &ca.trust());
    assert_eq!(found.part(), Some(TlsPart::Certificate));
    assert!(
        crate::with_causes(&found).ends_with("it has more than 16 MiB"),
        "{found}"
    );
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
    for (incomplete, option) in [
        (
            ZeekTlsOptions {
                ssl_certificate: String::new(),
                ..complete.clone()
            },
            "Broker::ssl_certificate",
        ),
        (
            ZeekTlsOptions {
                ssl_keyfile: String::new(),
                ..complete.clone()
            },
            "Broker::ssl_keyfile",
        ),
        (
            ZeekTlsOptions {
                ssl_capath: String::new(),
                ..complete.clone()
            },
            "Broker::ssl_cafile",
        ),
        (
            ZeekTlsOptions {
                ssl_passphrase: "x".into(),
                ..ZeekTlsOptions::default()
            },
            "Broker::ssl_certificate",
        ),
    ] {
        let error = incomplete.config().expect_err("incomplete");
        assert!(error.to_string().contains(option), "{error}");
    }
}
