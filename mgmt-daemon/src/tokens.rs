//! The file of tokens. What is secret of a token is not in it: its SHA-256 is, from which a token of 256 random bits cannot be found.

use std::{io, path::Path};

use broker_endpoint::read_file;
use jiff::{SignedDuration, Timestamp};
use mgmt_api::{
    access::{Grant, Role},
    operator::{MadeToken, NewToken, NotDone, NotDoneKind, Token},
    plain_name::{PLAIN_NAME, is_plain_name},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{files, process::random_bytes};

/// How many tokens a file may have.
const TOKENS_MAX: usize = 1000;

/// What the file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Entry>,
}

/// The same, to be written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    tokens: &'a [Entry],
}

/// The SHA-256 of what is secret of a token.
pub type Hash = [u8; 32];

/// A token, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    name: String,
    #[serde(with = "hex::serde")]
    sha256: Hash,
    role: Role,
    /// None for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clusters: Option<Vec<String>>,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl Entry {
    /// A new token, as it goes to the file, and as it is told once.
    ///
    /// # Errors
    ///
    /// If it makes no sense.
    pub(crate) fn make(new: NewToken, now: Timestamp) -> Result<(Self, MadeToken), NotDone> {
        let invalid = |reason: String| NotDone::new(NotDoneKind::Invalid, reason);
        let random: [u8; 32] =
            random_bytes().map_err(|error| NotDone::new(NotDoneKind::Unavailable, error.to_string()))?;
        let secret = format!("mgmt_{}", hex::encode(random));
        let end = |seconds: u64| {
            let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
            let end = seconds.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
            end.map(in_seconds).ok_or_else(|| {
                invalid("a token can end in a second or later, and before the year 10000".to_owned())
            })
        };
        let entry = Self {
            sha256: hash(&secret),
            role: new.role,
            created: in_seconds(now),
            expires: new.seconds.map(end).transpose()?,
            clusters: new.clusters,
            name: new.name,
        };
        entry.check().map_err(invalid)?;
        let token = entry.token();
        Ok((entry, MadeToken { secret, token }))
    }

    /// Why it cannot be used, if it cannot.
    fn check(&self) -> Result<(), String> {
        if !is_plain_name(&self.name) {
            return Err(format!(
                "{:?} cannot be the name of a token: it {PLAIN_NAME}",
                self.name
            ));
        }
        let clusters = self.clusters.as_deref();
        if clusters.is_some_and(<[String]>::is_empty) {
            return Err(format!("token {} counts in no cluster", self.name));
        }
        if let Some(wrong) = clusters.and_then(|names| names.iter().find(|name| !is_plain_name(name))) {
            return Err(format!("{wrong:?} cannot be the name of a cluster: it {PLAIN_NAME}"));
        }
        if let Some(end) = &self.expires
            && end.parse::<Timestamp>().is_err()
        {
            return Err(format!("{end:?} is no time, as in 2027-01-31T12:00:00Z"));
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Without what is secret.
    pub(crate) fn token(&self) -> Token {
        Token {
            name: self.name.clone(),
            role: self.role,
            clusters: self.clusters.clone(),
            created: self.created.clone(),
            expires: self.expires.clone(),
        }
    }

    pub(crate) fn grant(&self) -> Grant {
        Grant::of(self.role, self.clusters.as_deref())
    }

    /// Whether it is the one with this hash.
    pub(crate) fn is(&self, hash: &Hash) -> bool {
        is_same(&self.sha256, hash)
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        let end = self.expires.as_ref();
        // One that is no time has been refused before.
        end.is_some_and(|end| end.parse::<Timestamp>().is_ok_and(|end| end <= now))
    }
}

/// As RFC 3339 has it, without fractions of a second.
pub fn in_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

pub fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether two are equal. How long that takes says nothing about how much of them is.
pub fn is_same(one: &Hash, other: &Hash) -> bool {
    let pairs = one.iter().zip(other);
    std::hint::black_box(pairs.fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

/// The tokens in a file; none if it is not there.
///
/// # Errors
///
/// If it cannot be read, or one of its tokens cannot be used.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let failed = |reason: String| format!("cannot use the tokens in {}: {reason}", path.display());
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error.to_string())),
    };
    parse(&bytes).map_err(failed)
}

/// How many tokens the bytes of such a file are.
///
/// # Errors
///
/// If one of them cannot be used.
pub fn count(bytes: &[u8]) -> Result<usize, String> {
    Ok(parse(bytes)?.len())
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let File { tokens } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if tokens.len() > TOKENS_MAX {
        return Err(format!("there are more than {TOKENS_MAX}"));
    }
    for (place, token) in tokens.iter().enumerate() {
        token.check()?;
        if tokens.iter().take(place).any(|other| other.name == token.name) {
            return Err(format!("there are two of the name {}", token.name));
        }
    }
    Ok(tokens)
}

/// Adds a token to those in the file.
///
/// # Errors
///
/// If there is one of its name, or no place.
pub(crate) fn add(tokens: &mut Vec<Entry>, new: Entry) -> Result<(), NotDone> {
    let conflict = |reason: String| Err(NotDone::new(NotDoneKind::Conflict, reason));
    if tokens.iter().any(|token| token.name == new.name) {
        return conflict(format!("there is a token {} already: revoke it first", new.name));
    }
    if tokens.len() >= TOKENS_MAX {
        return conflict(format!(
            "there are {TOKENS_MAX} tokens already: revoke one that is not used"
        ));
    }
    tokens.push(new);
    Ok(())
}

/// Writes the file, whole or not at all.
pub(crate) fn write(path: &Path, tokens: &[Entry]) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(&Written { tokens })?;
    text.push(b'\n');
    files::replace(path, &text, files::SECRET_MODE)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn new(name: &str) -> NewToken {
        NewToken {
            name: name.to_owned(),
            role: Role::Deploy,
            clusters: Some(vec!["lab".to_owned()]),
            seconds: Some(60),
        }
    }

    #[test]
    fn the_file_has_no_secret_and_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        assert_eq!(read(&path), Ok(Vec::new()), "none is there yet");
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (entry, made) = Entry::make(new("prometheus"), now).unwrap();
        assert_eq!(made.secret.len(), "mgmt_".len() + 64);
        assert_eq!(made.token.expires.as_deref(), Some("2027-01-15T08:01:00Z"));
        write(&path, std::slice::from_ref(&entry)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            !fs::read_to_string(&path)
                .unwrap()
                .contains(&made.secret["mgmt_".len()..])
        );
        let tokens = read(&path).unwrap();
        assert_eq!(tokens, [entry]);
        assert!(tokens[0].is(&hash(&made.secret)));
        assert!(!tokens[0].is(&hash(&made.secret.to_uppercase())));
        assert!(!tokens[0].has_expired(now));
        assert!(tokens[0].has_expired(now + SignedDuration::from_secs(60)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let now = Timestamp::now();
        for (spoil, words) in [
            (
                (|new| new.name = "a b".into()) as fn(&mut NewToken),
                "cannot be the name of a token",
            ),
            (|new| new.name = String::new(), "cannot be the name of a token"),
            (|new| new.name = "x".repeat(65), "64 bytes at most"),
            (|new| new.clusters = Some(Vec::new()), "in no cluster"),
            (|new| new.clusters = Some(vec!["/".into()]), "name of a cluster"),
            (|new| new.seconds = Some(0), "can end in a second or later"),
            (|new| new.seconds = Some(u64::MAX), "before the year 10000"),
        ] {
            let mut new = new("a");
            spoil(&mut new);
            let refusal = Entry::make(new, now).unwrap_err();
            assert!(refusal.reason.to_string().contains(words), "{refusal:?}");
        }
        let mut tokens = Vec::new();
        let (entry, _) = Entry::make(new("a"), now).unwrap();
        add(&mut tokens, entry.clone()).unwrap();
        assert_eq!(add(&mut tokens, entry).unwrap_err().kind, NotDoneKind::Conflict);
    }

    #[test]
    fn a_broken_file_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        let (entry, _) = Entry::make(new("a"), Timestamp::now()).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        for (content, words) in [
            (String::new(), "EOF"),
            ("{}".to_owned(), "missing field `tokens`"),
            (format!(r#"{{"tokens": [{text}, {text}]}}"#), "two of the name a"),
            (
                format!(r#"{{"tokens": [{}]}}"#, text.replace("deploy", "cook")),
                "unknown variant `cook`",
            ),
            (
                format!(r#"{{"tokens": [{}]}}"#, text.replace("expires", "expire")),
                "unknown field `expire`",
            ),
        ] {
            fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(words) && error.contains("tokens.json"), "{error}");
        }
    }
}
