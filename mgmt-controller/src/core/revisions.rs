//! Revisions: each configuration that became the deployed one, with a number. What is remembered here is what tells them apart; the
//! configurations are in the store.

use std::{sync::Arc, time::Duration};

use broker_codec::{binary, data, data::ZeekString};
use bytes::BytesMut;
use mgmt_api::{
    Configuration, WallClock,
    operator::{RevisionSummary, text},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many revisions of a cluster are kept, the deployed one included.
pub const REVISIONS_MAX: usize = 100;

/// How many bytes their configurations may have together, as the store has them. The deployed one is kept however long it is.
pub const REVISIONS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much is kept of who has asked for a revision, in bytes: what a client calls itself may be long.
const ASKED_BY_BYTES_MAX: usize = 512;

/// The highest number that is read from a store: there is always a next one.
const NUMBER_MAX: u32 = u32::MAX - 1_000_000;

/// A revision without its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// From 1 in each cluster, and none twice.
    pub number: u32,
    /// The id of the configuration.
    pub configuration: ZeekString,
    /// SHA-256 of the configuration without its id, in hexadecimal digits.
    pub checksum: String,
    /// How long the configuration is, in bytes.
    pub bytes: u64,
    /// When it became the deployed one, in seconds since 1970. Not known of one that another controller has deployed, or an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Who has asked for that, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// What an operator has said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Who deploys a configuration, when, and what is said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) at: Option<u64>,
    pub(super) asked_by: Option<String>,
    pub(super) note: Option<String>,
}

/// The revisions of a cluster, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revisions(Vec<Revision>);

/// Revisions that come, with their configurations, and the numbers of those that go for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub added: Vec<(Revision, Arc<Configuration>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<u32>,
}

impl Recorded {
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.pruned.is_empty()
    }
}

impl Revision {
    /// None of a configuration that the store cannot take either.
    fn new(number: u32, config: &Configuration, origin: Origin) -> Option<Self> {
        let (checksum, bytes) = sealed(config)?;
        Some(Self {
            number,
            configuration: config.id.clone(),
            checksum,
            bytes,
            at: origin.at,
            asked_by: origin.asked_by.map(|name| cut(name, ASKED_BY_BYTES_MAX)),
            note: origin.note,
        })
    }

    /// Whether a store may say that there is one of this number.
    pub fn may_be_numbered(number: u32) -> bool {
        (1..=NUMBER_MAX).contains(&number)
    }

    /// As operators are told of it.
    pub(super) fn summary(&self, is_deployed: bool) -> RevisionSummary {
        let told = |seconds| WallClock::from_unix(Duration::from_secs(seconds)).to_rfc3339();
        RevisionSummary {
            revision: self.number,
            configuration: text(&self.configuration),
            checksum: self.checksum.clone(),
            is_deployed,
            time: self.at.map(told),
            asked_by: self.asked_by.clone(),
            note: self.note.clone(),
        }
    }
}

/// SHA-256 of a configuration without its id, and how many bytes that is.
pub fn sealed(config: &Configuration) -> Option<(String, u64)> {
    let Configuration {
        id: _,
        instances,
        nodes,
    } = config;
    let mut bytes = BytesMut::new();
    binary::encode(&data::to_data(&(instances, nodes)).ok()?, &mut bytes).ok()?;
    let checksum = hex::encode(Sha256::digest(&bytes));
    Some((checksum, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

/// The beginning of a text, not within a character.
fn cut(mut text: String, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

impl Revisions {
    /// Of what a store has: one of each number.
    pub fn restored(mut revisions: Vec<Revision>) -> Self {
        revisions.sort_by_key(|revision| revision.number);
        revisions.dedup_by_key(|revision| revision.number);
        Self(revisions)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Revision> {
        self.0.iter()
    }

    pub fn get(&self, number: u32) -> Option<&Revision> {
        self.0.iter().find(|revision| revision.number == number)
    }

    /// The one that a deployed configuration is. What was deployed last has the last number, unless another controller, or an earlier
    /// release, has deployed it.
    pub fn of(&self, deployed: &Configuration) -> Option<&Revision> {
        let last = self.0.last();
        last.filter(|revision| revision.configuration == deployed.id)
    }

    /// What changes when a configuration takes the place of the deployed one.
    ///
    /// The deployed one gets a number first, if it has none, so that one can go back to it.
    pub(super) fn record(
        &self,
        deployed: Option<&Arc<Configuration>>,
        config: &Arc<Configuration>,
        origin: Origin,
    ) -> Recorded {
        let mut next = self.0.last().map_or(1, |last| last.number.saturating_add(1));
        let mut recorded = Recorded::default();
        let unknown = deployed.filter(|deployed| self.of(deployed).is_none());
        let unknown = unknown.map(|deployed| (deployed, Origin::default()));
        for (config, origin) in unknown.into_iter().chain([(config, origin)]) {
            if let Some(revision) = Revision::new(next, config, origin) {
                recorded.added.push((revision, Arc::clone(config)));
                next = next.saturating_add(1);
            }
        }
        recorded.pruned = self.superfluous(&recorded.added);
        // What comes and goes at once is not stored at all.
        let Recorded { added, pruned } = &mut recorded;
        added.retain(|(revision, _)| !pruned.contains(&revision.number));
        pruned.retain(|number| self.get(*number).is_some());
        recorded
    }

    /// The numbers of the oldest that are too many when these come; never that of the last one.
    fn superfluous(&self, added: &[(Revision, Arc<Configuration>)]) -> Vec<u32> {
        let (mut count, mut bytes) = (0, 0_u64);
        let added = added.iter().map(|(revision, _)| revision);
        let all: Vec<&Revision> = self.0.iter().chain(added).collect();
        let is_kept = |revision: &&&Revision| {
            count += 1;
            bytes = bytes.saturating_add(revision.bytes);
            count == 1 || (count <= REVISIONS_MAX && bytes <= REVISIONS_BYTES_MAX)
        };
        let kept = all.iter().rev().take_while(is_kept).count();
        let gone = all.len() - kept;
        all.iter().take(gone).map(|revision| revision.number).collect()
    }

    pub(super) fn apply(&mut self, recorded: Recorded) {
        self.0
            .retain(|revision| !recorded.pruned.contains(&revision.number));
        self.0
            .extend(recorded.added.into_iter().map(|(revision, _)| revision));
    }
}

#[cfg(test)]
mod tests;
