//! What starts and ends processes of nodes, where no Supervisor of Zeek's does.

use mgmt_daemon::error::{HostError, system};

use super::{native::Native, preflight::path, systemd::Systemd};
use crate::{
    core::{Settings, Supervise},
    supervisors::own::{News, Order},
};

/// The one that the settings name.
pub(super) enum Nodes {
    Native(Native),
    Systemd(Systemd),
}

impl Nodes {
    /// Unless a Supervisor of Zeek's keeps the nodes.
    pub(super) fn start(settings: &Settings) -> Result<Option<Self>, HostError> {
        let nodes = path(&settings.state_dir).join("nodes");
        match settings.supervise {
            Supervise::Zeek => Ok(None),
            Supervise::Systemd => Ok(Some(Self::Systemd(Systemd::start(nodes)))),
            Supervise::Native => {
                let native = Native::start(nodes, "/proc/self/exe".into(), settings.name.clone());
                let native =
                    native.map_err(|source| system("start the thread for outputs of nodes", source))?;
                Ok(Some(Self::Native(native)))
            }
        }
    }

    /// Has something done. Returns at once; what becomes of it is news.
    pub(super) fn order(&self, order: Order) {
        match self {
            Self::Native(native) => native.order(order),
            Self::Systemd(systemd) => systemd.order(order),
        }
    }

    /// What happens next. May be cancelled without losing anything.
    pub(super) async fn next(&mut self) -> Option<News> {
        match self {
            Self::Native(native) => native.next().await,
            Self::Systemd(systemd) => systemd.next().await,
        }
    }
}
