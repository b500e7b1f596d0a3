//! The controller's durable state, in the SQLite file that Zeek's controller uses.
//!
//! Zeek keeps the table `Management::Controller::Runtime::g_configs` in a Broker data store
//! (`broker: detail/sqlite_backend.cc`; `zeek: src/broker/Manager.cc, InitializeBrokerStoreForwarding`). Same file
//! name, same schema, same bytes: an operator stops one controller, starts the other in the same directory, and goes
//! back. What is ours alone lives in tables prefixed `mgmt_`, which Broker does not look at:
//!
//! * `mgmt_rows(key, sha256)`: what we wrote last, to notice rows that another controller wrote since;
//! * `mgmt_dismissed(name, instance)`: instances that were dropped and may not know yet (`Configurations::dismissed`); without the second
//!   column, or null there, in a store of version 0.1;
//! * `mgmt_clusters(cluster, staged, ready, deployed, dismissed)`: the clusters besides `default`, in the same bytes;
//! * `mgmt_revisions(cluster, number, id, configuration, checksum, bytes, at, asked_by, note)`: what has been deployed in each cluster,
//!   `default` included, the configurations in the same bytes ([`Revisions`](crate::core::Revisions) says how many);
//! * `mgmt_identity(identity, generation)`: one row, by which agents know the controller ([`ControllerId`]); made at the first start;
//! * `mgmt_rollouts(cluster, rollout)`: the roll-outs under way, as JSON;
//! * `mgmt_unreadable(key, value, reason)`: rows that we could not read and then had to replace.
//!
//! DIFFERENCE(store-durability): Zeek sets no pragmas. We use `synchronous = EXTRA`, which SQLite's default FULL lacks in one point: with
//! a rollback journal, a transaction that was reported as committed can vanish in a power failure, because
//! the deletion of the journal is not yet on disk. The file's format is not affected.

mod check;
mod clusters;
mod identity;
mod image;
mod inspect;
mod report;
mod revisions;
mod rollouts;
mod sqlite;
#[cfg(test)]
mod tests;
mod thread;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use broker_codec::{binary, data};
use mgmt_api::{Configuration, ControllerId};

pub use self::{
    report::{ClusterReport, Inspection, SlotReport},
    sqlite::Store,
    thread::{Done, StoreThread, Written},
};
use crate::core::{Changes, ClusterName, Configurations, Slot};

/// What is wrong with a store that no controller has written.
pub(crate) const EMPTY: &str = "it is empty";

/// The name of Zeek's store (`InitializeBrokerStoreForwarding`), which is the name of its file, too.
pub const FILE_NAME: &str = "___sync_store_Management::Controller::Runtime::g_configs.sqlite";

/// The file that is beside the store while a backup is restored.
const UNFINISHED: &str = "restore.unfinished";

/// The path of that file.
pub(crate) fn unfinished(store: &Path) -> PathBuf {
    store.with_file_name(UNFINISHED)
}

/// Checks that the store, and what belongs to it, is not what a restore has left that was interrupted.
///
/// # Errors
///
/// If it is.
pub(crate) fn check_restored(store: &Path) -> Result<(), StoreError> {
    let path = unfinished(store);
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Read { path, source }),
        Ok(_) => Err(StoreError::HalfRestored { path }),
    }
}

/// Keeps what has to be durable. Blocks; see [`StoreThread`].
pub trait Persist: Send + 'static {
    /// Makes changes durable, all of them or none; an error says why, for clients and operators.
    fn persist(&mut self, changes: &Changes) -> Result<(), String>;

    /// The configuration of a revision; an error says why there is none, for operators.
    fn recall(&mut self, cluster: &ClusterName, number: u32) -> Result<Configuration, String>;

    /// How much it takes on the disk, in bytes; 0 if that cannot be seen.
    fn bytes(&self) -> u64;
}

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory is not there and cannot be created.
    #[error("cannot create the store's directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    /// Another controller of ours has the store.
    #[error("the store {path} is in use by {holder}; stop that one, or choose another --name or --state-dir")]
    InUse { path: PathBuf, holder: String },
    /// The lock cannot be had for another reason.
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot read the store {path}")]
    Read { path: PathBuf, source: io::Error },
    /// It can only be read when it can be written: then SQLite undoes what a crash has left.
    #[error(
        "a crash has left a transaction in the store {path}, and to read it is to undo that: start the controller first"
    )]
    Unfinished { path: PathBuf },
    #[error(
        "a restore was interrupted ({path} is there), and files of before are beside files of the backup: repeat it (mgmt-controller store restore)"
    )]
    HalfRestored { path: PathBuf },
    /// The file is not a database, or a damaged one.
    #[error(
        "the store {path} is damaged or is no SQLite database ({detail}); it was left as it is: restore it from a \
         backup, or move it away to start without configurations"
    )]
    Damaged { path: PathBuf, detail: String },
    /// A database, but not a Broker store.
    #[error(
        "{path} is not a Broker store ({detail}); it was left as it is: move it away to start without configurations"
    )]
    Foreign { path: PathBuf, detail: String },
    #[error("cannot {operation} the store {path}")]
    Sqlite {
        operation: &'static str,
        path: PathBuf,
        source: rusqlite::Error,
    },
}

/// Configurations could not be written; the store holds what it held before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The disk is full.
    #[error("no space left; free space on its file system, then repeat the request")]
    Full,
    /// SQLite refused for another reason.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// The file was moved away or deleted while we had it open. SQLite calls it read-only.
    #[error("the file was moved or deleted; put it back, or restart the controller to begin a new one")]
    Moved,
    /// A roll-out is not representable as JSON: the name of an environment variable is not UTF-8.
    #[error("cannot encode the roll-out: {0}")]
    Json(serde_json::Error),
    /// A configuration is not representable in Broker's data model.
    #[error("cannot encode the configuration: {0}")]
    Data(#[from] data::DataError),
    /// A configuration is not representable in Broker's binary format.
    #[error("cannot encode the configuration: {0}")]
    Encode(#[from] binary::EncodeError),
}

/// What the store held when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Those of `default`.
    pub configurations: Configurations,
    /// Who the controller is. None if the file cannot be written and has none, or what it has cannot be read.
    pub identity: Option<ControllerId>,
    /// Those of the other clusters.
    pub clusters: BTreeMap<ClusterName, Configurations>,
    /// The slots whose content another controller wrote since our last write, or that we never wrote.
    pub adopted: Vec<Slot>,
    /// The rows that could not be read. They stay in the file.
    pub unreadable: Vec<UnreadableRow>,
    /// The Broker version that opened the file last; none in a new file.
    pub broker_version: Option<String>,
    /// Why the file's version could not be brought up to date: a sign of failing writes to come.
    pub not_writable: Option<String>,
}

/// A row that is not a configuration of a known slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The slot, if at least the key could be read.
    pub slot: Option<Slot>,
    /// Of a cluster besides `default` its name, of the identity and of a revision that of its table.
    pub key: Vec<u8>,
    pub reason: String,
}
