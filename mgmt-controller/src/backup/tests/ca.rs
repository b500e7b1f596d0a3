//! The CA of the controller's own.

use broker_endpoint::tls::PrivateKey;

use super::*;

fn new_ca() -> CertificateAuthority {
    CertificateAuthority::create("CA", PrivateKey::generate().unwrap(), 0..1).unwrap()
}

#[test]
fn the_ca_is_part_of_a_backup_and_goes_with_its_key() {
    let old = Host::with("c1");
    files::create_dir(&old.places().ca).unwrap();
    let ca = new_ca();
    let [certificate, key] = [Part::Ca, Part::CaKey].map(|part| old.places().path(part));
    files::write(&certificate, ca.certificate_pem().unwrap().as_bytes()).unwrap();
    files::write(&key, &ca.key().to_pem().unwrap()).unwrap();
    let enrolments = old.places().path(Part::Enrolments);
    files::write(&enrolments, br#"{"enrolments": []}"#).unwrap();
    let backup = old.backup();
    assert_eq!(verify_backup(&backup).unwrap(), [""; 0]);

    let new = Host::new();
    restore(&new.places(), &backup).unwrap();
    for part in [Part::Ca, Part::CaKey, Part::Enrolments] {
        let [was, is] = [&old, &new].map(|host| fs::read(host.places().path(part)).unwrap());
        assert_eq!(was, is);
    }
    let mode = |part: Part| {
        fs::metadata(new.places().path(part))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(Part::CaKey), mode(Part::Enrolments)), (0o600, 0o600));
    assert!(!restore(&new.places(), &backup).unwrap().keeps_ca);
    // Where the controller had none when it was backed up, the one that agents know meanwhile stays, without enrolments.
    let without = Host::with("c2");
    let done = restore(&new.places(), &without.backup()).unwrap();
    assert!(done.keeps_ca);
    assert_eq!(
        fs::read(new.places().path(Part::CaKey)).unwrap(),
        fs::read(&key).unwrap()
    );
    assert!(!new.places().path(Part::Enrolments).exists());
    assert_eq!(done.kept.len(), 3);

    let fault = |host: &Host| match make(&host.places(), &host.0.path().join("new"), true) {
        Err(BackupError::Unusable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let other = new_ca();
    files::write(&key, &other.key().to_pem().unwrap()).unwrap();
    assert!(fault(&old).contains("does not belong to the certificate"));
    assert_eq!(verify(&old.places()).unwrap().len(), 1);
    fs::remove_file(&key).unwrap();
    assert!(fault(&old).contains("is missing"));
}

#[test]
fn what_an_interrupted_restore_has_left_is_not_used_until_it_is_repeated() {
    let host = Host::with("c1");
    let backup = host.backup();
    let (places, store) = (host.places(), host.places().store);
    let unfinished = crate::store::unfinished(&store);
    files::write(&unfinished, b"").unwrap();
    let words = "a restore was interrupted";
    let opened = Store::open(store.parent().unwrap()).unwrap_err();
    let checked = Store::check(store.parent().unwrap()).unwrap_err();
    let backed_up = make(&places, &host.0.path().join("new"), false).unwrap_err();
    for error in [opened.to_string(), checked.to_string(), backed_up.to_string()] {
        assert!(error.contains(words), "{error}");
    }
    assert!(verify(&places).unwrap()[0].contains(words));
    // It fails once more, and is as it was.
    let obstacle = files::with_suffix(&store, &format!(".{}", std::process::id()));
    files::create_dir(&obstacle).unwrap();
    restore(&places, &backup).unwrap_err();
    fs::remove_dir(&obstacle).unwrap();
    Store::open(store.parent().unwrap()).unwrap_err();
    restore(&places, &backup).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(verify(&places).unwrap(), [""; 0]);
    host.stage("c2");
}
