//! Secrets that are told once, and the file of what is known of them. What is secret is not in it: its SHA-256 is, from which a secret of 256 random
//! bits cannot be found.

use std::{
    collections::BTreeMap,
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use broker_endpoint::read_file;
use mgmt_api::operator::{NotDone, NotDoneKind};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{files, process::random_bytes};

/// How many secrets a file may have.
const SECRETS_MAX: usize = 1000;

/// The SHA-256 of a secret.
pub type Hash = [u8; 32];

/// What is known of a secret.
pub trait Known: Clone + PartialEq + Serialize + DeserializeOwned {
    /// What several are called, to people and in the file.
    const NAME: &'static str;

    fn hash(&self) -> &Hash;

    /// Why these cannot be in one file, if they cannot.
    ///
    /// # Errors
    ///
    /// For people.
    fn check(all: &[Self]) -> Result<(), String>;
}

/// A new secret: 64 hexadecimal digits.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn make() -> Result<String, NotDone> {
    let random: [u8; 32] =
        random_bytes().map_err(|error| NotDone::new(NotDoneKind::Unavailable, error.to_string()))?;
    Ok(hex::encode(random))
}

pub fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// The place of the one with this hash. How long that takes says nothing about which it is, or how much of another one is equal.
pub fn place_of<T: Known>(all: &[T], hash: &Hash) -> Option<usize> {
    let all = all.iter().enumerate();
    all.fold(None, |found, (place, known)| {
        if is_same(known.hash(), hash) {
            Some(place)
        } else {
            found
        }
    })
}

fn is_same(one: &Hash, other: &Hash) -> bool {
    let pairs = one.iter().zip(other);
    std::hint::black_box(pairs.fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

/// Whether there is room for another one.
///
/// # Errors
///
/// If not.
pub fn check_room<T: Known>(all: &[T]) -> Result<(), NotDone> {
    if all.len() < SECRETS_MAX {
        return Ok(());
    }
    let reason = format!(
        "there are {SECRETS_MAX} {} already: revoke one that is not used",
        T::NAME
    );
    Err(NotDone::new(NotDoneKind::Conflict, reason))
}

/// What the bytes of such a file say.
///
/// # Errors
///
/// If it cannot be used, for people.
pub fn parse<T: Known>(bytes: &[u8]) -> Result<Vec<T>, String> {
    let mut fields: BTreeMap<String, Vec<T>> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let all = fields.remove(T::NAME);
    let all = all.ok_or_else(|| format!("missing field `{}`", T::NAME))?;
    if let Some(other) = fields.keys().next() {
        return Err(format!("unknown field `{}`", other.escape_debug()));
    }
    if all.len() > SECRETS_MAX {
        return Err(format!("there are more than {SECRETS_MAX}"));
    }
    T::check(&all)?;
    Ok(all)
}

/// What is known of secrets, in a file of which changes are made one after the other.
#[derive(Debug)]
pub struct SecretsFile<T> {
    path: PathBuf,
    known: PhantomData<fn() -> T>,
}

impl<T: Known> SecretsFile<T> {
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: PhantomData,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be used, for people.
    pub fn read(&self) -> Result<Vec<T>, String> {
        let failed =
            |reason: String| format!("cannot use the {} in {}: {reason}", T::NAME, self.path.display());
        match read_file(&self.path) {
            Ok(bytes) => parse(&bytes).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Changes what is in it, unless that is refused. What was put into it by hand stays. Returns all that is in it then.
    ///
    /// # Errors
    ///
    /// Also if it cannot be used, or written.
    pub fn change<A, E: From<NotDone>>(
        &mut self,
        change: impl FnOnce(&mut Vec<T>) -> Result<A, E>,
    ) -> Result<(Vec<T>, A), E> {
        let before = self.read().map_err(|reason| broken(&reason))?;
        let mut all = before.clone();
        let answer = change(&mut all)?;
        if all != before {
            self.write(&all).map_err(|error| {
                let reason = format!("cannot write the {} to {}: {error}", T::NAME, self.path.display());
                NotDone::new(NotDoneKind::Unavailable, reason)
            })?;
        }
        Ok((all, answer))
    }

    /// Writes it, whole or not at all: what was revoked stays so also after a loss of power.
    fn write(&self, all: &[T]) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&BTreeMap::from([(T::NAME, all)]))?;
        text.push(b'\n');
        files::replace(&self.path, &text, files::SECRET_MODE)?;
        files::sync_names(&self.path)
    }
}

/// Why nothing is done by a file that cannot be used.
pub fn broken(reason: &str) -> NotDone {
    NotDone::new(NotDoneKind::Conflict, format!("{reason}; mend it first"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Word {
        #[serde(with = "hex::serde")]
        sha256: Hash,
    }

    impl Known for Word {
        const NAME: &'static str = "words";

        fn hash(&self) -> &Hash {
            &self.sha256
        }

        fn check(all: &[Self]) -> Result<(), String> {
            let is_odd = all.iter().any(|word| word.sha256 == [1; 32]);
            if is_odd { Err("odd".to_owned()) } else { Ok(()) }
        }
    }

    #[test]
    fn the_file_has_no_secret_and_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let mut file = SecretsFile::<Word>::new(home.path().join("words.json"));
        assert_eq!(file.read(), Ok(Vec::new()), "none is there yet");
        let secret = make().unwrap();
        assert_eq!(secret.len(), 64);
        let word = Word {
            sha256: hash(&secret),
        };
        let (all, told) = file
            .change(|all| {
                all.push(word.clone());
                Ok::<_, NotDone>("told")
            })
            .unwrap();
        assert_eq!((&*all, told), (&[word][..], "told"));
        assert_eq!(file.read().unwrap(), all);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!fs::read_to_string(file.path()).unwrap().contains(&secret));
        assert_eq!(place_of(&all, &hash(&secret)), Some(0));
        assert_eq!(place_of(&all, &hash(&secret.to_uppercase())), None);
        // What changes nothing, or is refused, writes nothing.
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        file.change(|_| Ok::<_, NotDone>(())).unwrap();
        let refused = file.change(|all| {
            all.clear();
            Err::<(), _>(NotDone::new(NotDoneKind::Invalid, "no"))
        });
        assert_eq!(refused.unwrap_err().kind, NotDoneKind::Invalid);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_broken_file_is_told_and_not_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let mut file = SecretsFile::<Word>::new(home.path().join("words.json"));
        let word = |byte: u8| format!(r#"{{"sha256":"{}"}}"#, hex::encode([byte; 32]));
        for (content, words) in [
            (String::new(), "EOF"),
            ("{}".to_owned(), "missing field `words`"),
            (r#"{"words": [], "more": []}"#.to_owned(), "unknown field `more`"),
            (r#"{"words": [{"sha1": ""}]}"#.to_owned(), "unknown field `sha1`"),
            (format!(r#"{{"words": [{}]}}"#, word(1)), "odd"),
            (
                format!(r#"{{"words": [{}]}}"#, vec![word(0); SECRETS_MAX + 1].join(",")),
                "there are more than 1000",
            ),
        ] {
            fs::write(file.path(), &content).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.contains(words) && error.contains("words.json"), "{error}");
            let refused = file.change(|_| Ok::<_, NotDone>(())).unwrap_err();
            assert!(refused.reason.to_string().ends_with("; mend it first"));
            assert_eq!(fs::read_to_string(file.path()).unwrap(), content);
        }
        let all = vec![Word { sha256: [0; 32] }; SECRETS_MAX];
        assert_eq!(check_room(&all).unwrap_err().kind, NotDoneKind::Conflict);
        check_room(&all[1..]).unwrap();
    }
}
