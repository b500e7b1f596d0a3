//! What operators ask of the cluster's configurations.

use broker_codec::data::ZeekString;
use mgmt_api::operator::{ConfigurationFile, NotDone, NotDoneKind, Station, written};

use super::{cluster::Cluster, configurations::Slot};

impl Cluster {
    /// The staged or the deployed configuration, as a client is shown it.
    pub(super) fn configuration(&self, station: Station) -> Result<ZeekString, NotDone> {
        let slot = match station {
            Station::Staged => Slot::Staged,
            Station::Deployed => Slot::Deployed,
        };
        let config = self.configurations.get(slot);
        let config = config
            .ok_or_else(|| NotDone::new(NotDoneKind::Unknown, format!("no configuration is {station}")))?;
        written(&ConfigurationFile::from(config))
    }
}
