use std::time::{SystemTime, UNIX_EPOCH};

use broker_codec::{
    Data,
    data::Timestamp,
    zeek::{Event, NETWORK_TIMESTAMP},
};
use mgmt_api::SupervisorLayout;

/// What of a Zeek's release shows on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The layout of the Supervisor's records.
    pub layout: SupervisorLayout,
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
    /// That of a version such as `6.0.9`; `None` if it is not known what that does.
    pub fn of_version(version: &str) -> Option<Self> {
        let layout = SupervisorLayout::of_version(&format!("zeek version {version}"))?;
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let metadata = match (numbers.next()?, numbers.next()?) {
            (..6, _) => Metadata::Absent,
            (6 | 7, _) => Metadata::Time,
            (8, 0) => Metadata::Empty,
            _ => Metadata::EmptyUnlessControl,
        };
        Some(Self { layout, metadata })
    }

    /// Whether the Supervisor talks through the cluster's backend, which it has to load (`Cluster::publish`; since 8.1).
    pub(crate) fn answers_through_cluster(self) -> bool {
        self.metadata == Metadata::EmptyUnlessControl
    }

    /// An event with this Zeek's metadata.
    #[must_use]
    pub fn dress(self, mut event: Event) -> Event {
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
