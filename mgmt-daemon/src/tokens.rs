//! Tokens, as their file has them.

use jiff::{SignedDuration, Timestamp};
use mgmt_api::{
    access::{Grant, Role},
    operator::{MadeToken, NewToken, NotDone, NotDoneKind, Token},
    plain_name::{PLAIN_NAME, is_plain_name},
};
use serde::{Deserialize, Serialize};

use crate::secrets::{self, Hash, Known, check_room, hash};

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
        let secret = format!("mgmt_{}", secrets::make()?);
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
        entry.check_itself().map_err(invalid)?;
        let token = entry.token();
        Ok((entry, MadeToken { secret, token }))
    }

    /// Why it cannot be used, if it cannot.
    fn check_itself(&self) -> Result<(), String> {
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
            return Err(format!(
                "{wrong:?} cannot be the name of a cluster: it {PLAIN_NAME}"
            ));
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

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        let end = self.expires.as_ref();
        // One that is no time has been refused before.
        end.is_some_and(|end| end.parse::<Timestamp>().is_ok_and(|end| end <= now))
    }
}

/// As RFC 3339 has it, without fractions of a second.
fn in_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

impl Known for Entry {
    const NAME: &'static str = "tokens";

    fn hash(&self) -> &Hash {
        &self.sha256
    }

    fn check(all: &[Self]) -> Result<(), String> {
        for (place, token) in all.iter().enumerate() {
            token.check_itself()?;
            if all.iter().take(place).any(|other| other.name == token.name) {
                return Err(format!("there are two of the name {}", token.name));
            }
        }
        Ok(())
    }
}

/// Whether the bytes of such a file can be used.
///
/// # Errors
///
/// If not, for people.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    secrets::parse::<Entry>(bytes).map(drop)
}

/// Adds a token to those in the file.
///
/// # Errors
///
/// If there is one of its name, or no place.
pub(crate) fn add(tokens: &mut Vec<Entry>, new: Entry) -> Result<(), NotDone> {
    if tokens.iter().any(|token| token.name == new.name) {
        let reason = format!("there is a token {} already: revoke it first", new.name);
        return Err(NotDone::new(NotDoneKind::Conflict, reason));
    }
    check_room(tokens)?;
    tokens.push(new);
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn a_token_has_a_secret_and_ends_in_its_time() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (entry, made) = Entry::make(new("prometheus"), now).unwrap();
        assert_eq!(made.secret.len(), "mgmt_".len() + 64);
        assert_eq!(made.token.expires.as_deref(), Some("2027-01-15T08:01:00Z"));
        assert_eq!(*entry.hash(), hash(&made.secret));
        assert!(!entry.has_expired(now));
        assert!(entry.has_expired(now + SignedDuration::from_secs(60)));
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
        let (entry, _) = Entry::make(new("a"), Timestamp::now()).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(check(format!(r#"{{"tokens": [{text}]}}"#).as_bytes()), Ok(()));
        for (token, words) in [
            (format!("{text}, {text}"), "two of the name a"),
            (text.replace("deploy", "cook"), "unknown variant `cook`"),
            (text.replace("expires", "expire"), "unknown field `expire`"),
        ] {
            let error = check(format!(r#"{{"tokens": [{token}]}}"#).as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
