//! Root enrols a host, and restores a backup, in directories of another user: what is made there is that user's, and no link leads root elsewhere.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use super::{Hub, Sensor};
use crate::support::controller::STORE;

const UID: u32 = 65_534;

fn is_root(home: &Path) -> bool {
    fs::metadata(home).expect("it is there").uid() == 0
}

/// Makes a directory of that user below one that only root can use otherwise.
fn make(home: &Path, name: &str) -> PathBuf {
    let directory = home.join(name);
    fs::create_dir_all(&directory).expect("it can be made");
    fs::set_permissions(home, Permissions::from_mode(0o711)).expect("it is root's");
    for above in directory.ancestors().take_while(|above| *above != home) {
        chown(above, Some(UID), Some(UID)).expect("this is root");
    }
    directory
}

/// Has that user put a link somewhere.
fn link(to: &Path, path: &Path) {
    symlink(to, path).expect("it can be made");
    lchown(path, Some(UID), Some(UID)).expect("this is root");
}

#[track_caller]
fn assert_untouched(path: &Path) {
    assert_eq!(fs::metadata(path).expect("it is there").uid(), 0);
    if path.is_dir() {
        assert_eq!(fs::read_dir(path).expect("it can be read").count(), 0);
    } else {
        assert_eq!(fs::read_to_string(path).expect("text"), "precious");
    }
}

#[test]
fn what_root_enrols_is_the_agents_and_a_link_leads_root_nowhere() {
    let sensor = Sensor::new();
    let home = sensor.home.path();
    if !is_root(home) {
        return;
    }
    let mut hub = Hub::started("30days");
    let token = hub.token("sensor1");
    let (state, precious) = (make(home, "state"), home.join("precious"));
    fs::create_dir(&precious).expect("it can be made");
    link(&precious, &state.join("enrolment"));
    sensor
        .enrol(&token, &[])
        .failed(1, "enrolment/lock: Permission denied");
    assert_untouched(&precious);
    fs::remove_file(state.join("enrolment")).expect("it is there");

    sensor.enrol(&token, &[]).printed();
    let enrolment = state.join("enrolment");
    let files = fs::read_dir(&enrolment).expect("it was made");
    let made: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(made.len(), 5, "{made:?}");
    for path in made.iter().chain([&enrolment]) {
        let found = fs::metadata(path).expect("it is there");
        assert_eq!(found.uid(), UID, "{}", path.display());
    }
    hub.stop();
}

#[test]
fn what_root_restores_is_the_controllers_and_a_link_leads_root_nowhere() {
    let mut old = Hub::started("30days");
    if !is_root(old.home.path()) {
        return;
    }
    // Only root can read it.
    let backup = old.home.path().join("backup.tar");
    let backup = backup.to_str().expect("a plain path");
    old.store(&["backup", backup]).printed();
    old.stop();

    let new = Hub::new();
    let home = new.home.path();
    let directory = make(home, "state/nodes/hub");
    let (file, ca) = (home.join("precious"), home.join("ca"));
    fs::write(&file, "precious").expect("it can be written");
    fs::create_dir(&ca).expect("it can be made");
    let lock = directory.join(format!("{STORE}.lock"));
    let links = [(&file, &lock), (&ca, &directory.join("ca"))];
    for (to, path) in links {
        link(to, path);
        new.store(&["restore", backup]).failed(1, "Permission denied");
        // What it has made until then, with the link.
        fs::remove_dir_all(&directory).expect("it is there");
        make(home, "state/nodes/hub");
    }
    assert_untouched(&file);
    assert_untouched(&ca);

    new.store(&["restore", backup]).printed();
    for name in [STORE, "ca", "ca/ca.key"] {
        let found = fs::metadata(directory.join(name)).expect("it was restored");
        assert_eq!(found.uid(), UID, "{name}");
    }
}
