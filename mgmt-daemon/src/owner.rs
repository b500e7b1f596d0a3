//! Root in the directories of another user.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf, absolute},
};

use nix::unistd::{Gid, Uid, User, geteuid, setgid, setgroups, setuid};

/// Of the mode of a directory: its group can change it, or all can.
const OTHERS_WRITE: u32 = 0o022;

/// Of the mode of a directory: all the same, only its owner can rename or remove what others have made in it.
const STICKY: u32 = 0o1000;

/// A user who is not root, and a group of that user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// Makes this process, if it is root's, one of the user to whom these directories belong, for good. They may be missing: then those above them count.
/// With root's rights it would follow any link that the user has put there.
///
/// # Errors
///
/// If the directories, with those above them, belong to several users who are not root, or to root alone and others can change them; if that cannot be
/// told, or if the user cannot be changed.
pub fn become_owner<'a>(directories: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    match owner(directories)? {
        Some(owner) => take(owner).map_err(|error| {
            let uid = owner.uid;
            io::Error::other(format!(
                "cannot become user {uid}, to whom it belongs ({error}): run the command as that user"
            ))
        }),
        None => Ok(()),
    }
}

fn take(Owner { uid, gid }: Owner) -> nix::Result<()> {
    let user = User::from_uid(Uid::from_raw(uid))?;
    setgroups(&[])?;
    setgid(user.map_or(Gid::from_raw(gid), |user| user.gid))?;
    setuid(Uid::from_raw(uid))
}

/// The one user but root who can change where these paths lead.
fn owner<'a>(directories: impl IntoIterator<Item = &'a Path>) -> io::Result<Option<Owner>> {
    let (mut owners, mut open) = (BTreeMap::new(), None);
    for directory in directories {
        let directory = absolute(directory)?;
        // A link of root's can lead to a directory of another user.
        let real = directory.ancestors().find_map(|above| above.canonicalize().ok());
        let real = real.iter().flat_map(|real| real.ancestors());
        for path in directory.ancestors().chain(real) {
            let found = match path.symlink_metadata() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if found.uid() != 0 {
                let owner = (found.gid(), path.to_owned());
                owners.entry(found.uid()).or_insert(owner);
            } else if found.is_dir() && found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0 {
                open.get_or_insert_with(|| path.to_owned());
            }
        }
    }
    let mut owners = owners.into_iter();
    let Some((uid, (gid, path))) = owners.next() else {
        // This process would stay root's.
        return match open {
            None => Ok(None),
            Some(path) => Err(can_be_changed(&path)),
        };
    };
    match owners.next() {
        None => Ok(Some(Owner { uid, gid })),
        Some(other) => Err(several((uid, &path), (other.0, &other.1.1))),
    }
}

fn can_be_changed(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is root's, and its group can change it (or all can): run the command as the daemon's user, or take that right away (chmod go-w)",
        path.display()
    ))
}

fn several(one: (u32, &PathBuf), other: (u32, &PathBuf)) -> io::Error {
    io::Error::other(format!(
        "{} belongs to user {}, and {} to user {}: run the command as the daemon's user",
        one.1.display(),
        one.0,
        other.1.display(),
        other.0
    ))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    };

    use super::*;

    #[test]
    fn who_can_change_where_a_path_leads_is_its_owner() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let uid = |path: &Path| owner([path]).unwrap().map(|owner| owner.uid);
        for (name, uid) in [("roots", 0), ("zeeks", 12_345), ("others", 54_321)] {
            fs::create_dir(path(name)).unwrap();
            chown(path(name), Some(uid), None).unwrap();
        }
        assert_eq!(uid(&path("roots/missing")), None);
        assert_eq!(uid(&path("zeeks")), Some(12_345));
        assert_eq!(uid(&path("zeeks/missing/too")), Some(12_345));
        // Links: of the user's into a directory of root's, to nothing, and of root's.
        for (name, to) in [("away", path("roots")), ("nowhere", path("nothing"))] {
            symlink(to, path("zeeks").join(name)).unwrap();
            lchown(path("zeeks").join(name), Some(12_345), None).unwrap();
            assert_eq!(uid(&path("zeeks").join(name)), Some(12_345), "{name}");
        }
        symlink(path("zeeks"), path("here")).unwrap();
        assert_eq!(uid(&path("here")), Some(12_345));
        assert_eq!(uid(&path("here/missing")), Some(12_345));
        // Its group could put a link in it, where root would stay root.
        for (mode, is_refused) in [(0o2770, true), (0o707, true), (0o1777, false), (0o2750, false)] {
            fs::set_permissions(path("roots"), Permissions::from_mode(mode)).unwrap();
            let outcome = owner([&*path("roots/missing")]).map(|owner| owner.map(|owner| owner.uid));
            match outcome {
                Err(error) if is_refused => {
                    assert!(error.to_string().contains("its group can change it"), "{error}");
                }
                outcome => assert_eq!((outcome.unwrap(), is_refused), (None, false), "{mode:o}"),
            }
        }
        // One user does not lead root to another one.
        symlink(path("others"), path("zeeks/elsewhere")).unwrap();
        let error = owner([&*path("zeeks/elsewhere")]).unwrap_err().to_string();
        assert!(error.contains("belongs to user 12345"), "{error}");
        owner([&*path("zeeks"), &*path("others")]).unwrap_err();
    }
}
