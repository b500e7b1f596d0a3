use std::time::{SystemTime, UNIX_EPOCH};

use broker_codec::{
    Data,
    data::Timestamp,
    zeek::{Event, NETWORK_TIMESTAMP},
};
use mgmt_api::SupervisorLayout;

use crate::Failure;

/// What of a Zeek's release shows on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// The layout of the Supervisor's records.
    pub(crate) layout: SupervisorLayout,
    metadata: Metadata,
}

/// What follows an event's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metadata {
    /// Nothing.
    Absent,
    Time,
    /// An empty list.
    Empty,
    /// An empty list if published by `Broker::publish`; nothing if by `Cluster::publish`, which the Supervisor uses.
    EmptyUnlessControl,
}

impl Release {
    /// That of a version such as `6.0.9`, if it is known what that does.
    pub(crate) fn of_version(version: &str) -> Result<Self, Failure> {
        let unknown = || Failure::UnknownRelease(version.to_owned());
        let layout = SupervisorLayout::of_version(&format!("zeek version {version}")).ok_or_else(unknown)?;
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let mut number = || numbers.next().ok_or_else(unknown);
        let metadata = match (number()?, number()?) {
            (..6, _) => Metadata::Absent,
            (6 | 7, _) => Metadata::Time,
            (8, 0) => Metadata::Empty,
            _ => Metadata::EmptyUnlessControl,
        };
        Ok(Self { layout, metadata })
    }

    /// Whether the Supervisor talks through the cluster's backend, which it has to load (`Cluster::publish`; since 8.1).
    pub(crate) fn answers_through_cluster(self) -> bool {
        self.metadata == Metadata::EmptyUnlessControl
    }

    /// An event with this Zeek's metadata.
    #[must_use]
    pub(crate) fn dress(self, mut event: Event) -> Event {
        event.metadata = match self.metadata {
            Metadata::Absent => None,
            Metadata::Time => Some(vec![(NETWORK_TIMESTAMP, Data::Timestamp(now()))]),
            Metadata::EmptyUnlessControl if event.name.starts_with(b"SupervisorControl::") => None,
            Metadata::Empty | Metadata::EmptyUnlessControl => Some(Vec::new()),
        };
        event
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
