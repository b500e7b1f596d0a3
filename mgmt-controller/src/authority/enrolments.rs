//! Enrolments, as their file has them.

use broker_endpoint::tls::Fingerprint;
use mgmt_api::{
    operator::{
        NotDone, NotDoneKind,
        enrolment::{Enrolment, NewEnrolment, can_be_enrolled},
    },
    plain_name::PLAIN_NAME,
};
use mgmt_daemon::secrets::{self, Hash, Known, check_room, hash, place_of};
use serde::{Deserialize, Serialize};

use super::Seconds;

/// How long a token counts, unless it is said, in seconds.
const SECONDS: u64 = 24 * 60 * 60;

/// The longest time that it may count, in seconds: a year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// An enrolment, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    instance: String,
    #[serde(with = "hex::serde")]
    sha256: Hash,
    /// Since 1970.
    created: Seconds,
    expires: Seconds,
    /// The SHA-256 of the key that has got a certificate for it: no other key gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// Nothing is issued for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is none of ours.
    Unknown,
    Expired {
        instance: String,
    },
    /// Another key has got a certificate for it.
    Used {
        instance: String,
    },
}

impl Entry {
    /// A new one, and what is secret of its token.
    pub(super) fn make(new: &NewEnrolment, now: Seconds) -> Result<(Self, String), NotDone> {
        let invalid = |reason: String| NotDone::new(NotDoneKind::Invalid, reason);
        if !can_be_enrolled(&new.instance) {
            return Err(invalid(format!(
                "{:?} cannot be the name of an instance that is enrolled: it {PLAIN_NAME}, and is no address",
                new.instance
            )));
        }
        let seconds = new.seconds.unwrap_or(SECONDS);
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(invalid(
                "an enrolment token counts for a second to a year".to_owned(),
            ));
        }
        let secret = secrets::make()?;
        let entry = Self {
            instance: new.instance.clone(),
            sha256: hash(&secret),
            created: now,
            expires: now.saturating_add_unsigned(seconds),
            key: None,
        };
        Ok((entry, secret))
    }

    /// Without what is secret.
    pub(super) fn shown(&self) -> Enrolment {
        Enrolment {
            instance: self.instance.clone(),
            created: super::in_words(self.created),
            expires: super::in_words(self.expires),
        }
    }

    /// Whether its agent has not come yet, and still may.
    pub(super) fn is_pending(&self, now: Seconds) -> bool {
        self.key.is_none() && now < self.expires
    }
}

impl Known for Entry {
    const NAME: &'static str = "enrolments";

    fn hash(&self) -> &Hash {
        &self.sha256
    }

    fn check(_all: &[Self]) -> Result<(), String> {
        Ok(())
    }
}

/// Adds one, in place of an earlier one of its instance, unless that is pending.
pub(super) fn add(entries: &mut Vec<Entry>, new: Entry, now: Seconds) -> Result<(), NotDone> {
    entries.retain(|entry| now < entry.expires);
    let is_of_it = |entry: &&Entry| entry.instance == new.instance;
    if entries.iter().filter(is_of_it).any(|entry| entry.is_pending(now)) {
        let reason = format!(
            "an enrolment of {} is pending already: revoke it first",
            new.instance
        );
        return Err(NotDone::new(NotDoneKind::Conflict, reason));
    }
    entries.retain(|entry| entry.instance != new.instance);
    // Used ones are there for answers that were lost.
    if check_room(entries).is_err() {
        entries.retain(|entry| entry.key.is_none());
    }
    check_room(entries)?;
    entries.push(new);
    Ok(())
}

/// The token of the instance counts no more.
pub(super) fn revoke(entries: &mut Vec<Entry>, instance: &str, now: Seconds) -> Result<Enrolment, NotDone> {
    let is_meant = |entry: &Entry| entry.instance == instance && entry.is_pending(now);
    let Some(place) = entries.iter().position(is_meant) else {
        let reason = format!("no enrolment of {} is pending", instance.escape_debug());
        return Err(NotDone::new(NotDoneKind::Unknown, reason));
    };
    Ok(entries.remove(place).shown())
}

/// Which instance is enrolled by this secret, with this key.
pub(super) fn claim(
    entries: &mut [Entry],
    secret: &Hash,
    key: &Fingerprint,
    now: Seconds,
) -> Result<String, Refused> {
    let found = place_of(entries, secret).and_then(|place| entries.get_mut(place));
    let entry = found.ok_or(Refused::Unknown)?;
    let instance = entry.instance.clone();
    if entry.expires <= now {
        return Err(Refused::Expired { instance });
    }
    let key = key.to_string();
    if entry.key.as_ref().is_some_and(|first| *first != key) {
        return Err(Refused::Used { instance });
    }
    entry.key = Some(key);
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = 1_800_000_000;

    fn new(instance: &str) -> NewEnrolment {
        NewEnrolment {
            instance: instance.to_owned(),
            seconds: Some(60),
            url: None,
        }
    }

    #[test]
    fn a_token_is_good_for_one_key_until_it_ends() {
        let (entry, secret) = Entry::make(&new("sensor1"), NOW).unwrap();
        let mut entries = Vec::new();
        add(&mut entries, entry.clone(), NOW).unwrap();
        let twice = add(&mut entries, entry, NOW).unwrap_err();
        assert_eq!(twice.kind, NotDoneKind::Conflict);
        let (mut claim, instance) = (
            |secret: &str, key: u8, at| claim(&mut entries, &hash(secret), &Fingerprint([key; 32]), at),
            || "sensor1".to_owned(),
        );
        assert_eq!(claim("other", 1, NOW), Err(Refused::Unknown));
        assert_eq!(claim(&secret, 1, NOW), Ok(instance()));
        assert_eq!(claim(&secret, 1, NOW + 59), Ok(instance()), "the answer was lost");
        let used = Refused::Used { instance: instance() };
        assert_eq!(claim(&secret, 2, NOW), Err(used));
        let expired = Refused::Expired { instance: instance() };
        assert_eq!(claim(&secret, 1, NOW + 60), Err(expired));
        assert_eq!(
            revoke(&mut entries, "sensor1", NOW).unwrap_err().kind,
            NotDoneKind::Unknown,
            "it is not pending any more"
        );
        // Once more, as for a sensor that was installed anew.
        let (again, other) = Entry::make(&new("sensor1"), NOW).unwrap();
        add(&mut entries, again, NOW).unwrap();
        assert_ne!(secret, other);
        assert_eq!(entries.len(), 1);
        assert_eq!(revoke(&mut entries, "sensor1", NOW).unwrap().instance, "sensor1");
        assert_eq!(entries, []);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (name, seconds, words) in [
            ("controller:hub", 60, "cannot be the name of an instance"),
            ("", 60, "cannot be the name of an instance"),
            ("a", 0, "a second to a year"),
            ("a", SECONDS_MAX + 1, "a second to a year"),
        ] {
            let new = NewEnrolment {
                seconds: Some(seconds),
                ..new(name)
            };
            let refusal = Entry::make(&new, NOW).unwrap_err();
            assert!(refusal.reason.to_string().contains(words), "{refusal:?}");
        }
    }
}
