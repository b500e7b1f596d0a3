//! By what agents tell controllers apart.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// For how long the controller that an agent obeys has to be away before the agent obeys one that was restored from its backup: longer than a
/// restart takes.
pub const AWAY_MIN: Duration = Duration::from_secs(30);

/// How long an identity is: 64 random bits, as hexadecimal digits.
const DIGITS: usize = 16;

/// Which controller it is, and how often it was made anew from a backup.
///
/// It proves nothing: certificates keep strangers out. It keeps apart controllers that are all the operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Fields")]
pub struct ControllerId {
    identity: String,
    /// Of two of the same identity, the one with the higher generation was restored later.
    pub generation: u64,
}

#[derive(Deserialize)]
struct Fields {
    identity: String,
    generation: u64,
}

impl ControllerId {
    /// None if it is no identity: 16 hexadecimal digits, in lower case.
    pub fn new(identity: &str, generation: u64) -> Option<Self> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let is_one = identity.len() == DIGITS && identity.chars().all(is_digit);
        is_one.then(|| Self {
            identity: identity.to_owned(),
            generation,
        })
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether this one takes the place of another: it is the same, or was restored from its backup later.
    pub fn succeeds(&self, other: &Self) -> bool {
        self.identity == other.identity && self.generation >= other.generation
    }

    /// Its generation once it is restored, at this time in seconds since 1970: the one that was restored last has the highest, whichever
    /// backup it was made from.
    pub const fn next_generation(&self, now: u64) -> u64 {
        let next = self.generation.saturating_add(1);
        if now > next { now } else { next }
    }

    /// Why an agent that obeys another controller refuses this one, in words that go on with the agent.
    pub fn refused_for(&self, obeyed: &Self) -> String {
        let why = if self == obeyed {
            " in another process: one of the two is a copy"
        } else if self.identity != obeyed.identity {
            ""
        } else if self.generation < obeyed.generation {
            ", which was restored later"
        } else {
            return format!(
                "it obeys {obeyed}, which is this one before it was restored, until that has been away for {} s: wait for that; to change it at \
                 once: mgmtctl adopt, at the agent",
                AWAY_MIN.as_secs()
            );
        };
        format!("it obeys {obeyed}{why}; to change that: mgmtctl adopt, at the agent")
    }

    /// As one word: `5f0c2a9e71b3d846/0`.
    pub(crate) fn to_word(&self) -> String {
        format!("{}/{}", self.identity, self.generation)
    }

    /// None if it is no such word.
    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        let (identity, generation) = std::str::from_utf8(word).ok()?.split_once('/')?;
        Self::new(identity, generation.parse().ok()?)
    }
}

impl TryFrom<Fields> for ControllerId {
    type Error = &'static str;

    fn try_from(Fields { identity, generation }: Fields) -> Result<Self, Self::Error> {
        Self::new(&identity, generation).ok_or("an identity has 16 hexadecimal digits")
    }
}

/// `controller 5f0c2a9e71b3d846, generation 0`
impl fmt::Display for ControllerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, generation } = self;
        write!(f, "controller {identity}, generation {generation}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "5f0c2a9e71b3d846";

    #[test]
    fn what_is_none_is_not_taken_for_one() {
        for wrong in [
            "",
            "5F0C2A9E71B3D846",
            "5f0c2a9e71b3d84",
            "5f0c2a9e71b3d8466",
            "5f0c2a9e71b3d84ß",
        ] {
            assert_eq!(ControllerId::new(wrong, 0), None, "{wrong}");
            let json = serde_json::json!({"identity": wrong, "generation": 0});
            assert!(serde_json::from_value::<ControllerId>(json).is_err());
        }
        for wrong in [
            IDENTITY.to_owned(),
            format!("{IDENTITY}/"),
            format!("{IDENTITY}/-1"),
            format!("{IDENTITY}/1/2"),
        ] {
            assert_eq!(ControllerId::from_word(wrong.as_bytes()), None, "{wrong}");
        }
        let id = ControllerId::new(IDENTITY, u64::MAX).unwrap();
        assert_eq!(ControllerId::from_word(id.to_word().as_bytes()), Some(id));
    }

    #[test]
    fn the_one_that_was_restored_last_takes_the_place_of_all_others() {
        let id = |identity: &str, generation| ControllerId::new(identity, generation).unwrap();
        let first = id(IDENTITY, 0);
        let restored = id(IDENTITY, first.next_generation(1_000));
        let again = id(IDENTITY, first.next_generation(2_000));
        // The clock was set back.
        let later = id(IDENTITY, again.next_generation(500));
        let all = [&first, &restored, &again, &later];
        for (place, one) in all.iter().enumerate() {
            for (other_place, other) in all.iter().enumerate() {
                assert_eq!(one.succeeds(other), place >= other_place, "{one} {other}");
            }
        }
        assert!(!id("0000000000000000", 9_999).succeeds(&first));
        // It heals by itself, which is said before what an operator can do.
        let refused = restored.refused_for(&first);
        assert!(
            refused.contains("before it was restored, until that has been away for 30 s: wait for that; "),
            "{refused}"
        );
        assert!(
            first
                .refused_for(&restored)
                .contains("which was restored later; to change that: ")
        );
        assert_eq!(id(IDENTITY, u64::MAX).next_generation(1), u64::MAX);
    }
}
