//! The roll-outs that are under way: a row each, in a table of our own.

use std::collections::BTreeMap;

use rusqlite::{Row, Transaction, params};

use super::{
    StoreError, UnreadableRow, WriteError,
    sqlite::{Store, bytes_of},
};
use crate::core::{ClusterName, DEFAULT, RolloutChange, StoredRollout};

const TABLE: &str = "mgmt_rollouts";

const SCHEMA: &str = "create table if not exists mgmt_rollouts(cluster text primary key, rollout text)";

/// By the names of clusters.
type Rollouts = BTreeMap<String, Box<StoredRollout>>;

impl Store {
    /// Writes what becomes of the roll-out of a cluster, or removes it with the cluster.
    pub(super) fn write_rollout(
        transaction: &Transaction<'_>,
        cluster: Option<&ClusterName>,
        change: &RolloutChange,
    ) -> Result<(), WriteError> {
        let name = cluster.map_or(DEFAULT, ClusterName::as_str);
        transaction.execute_batch(SCHEMA)?;
        match change {
            RolloutChange::UnderWay(rollout) => {
                let json = serde_json::to_string(rollout).map_err(WriteError::Json)?;
                let replace = "replace into mgmt_rollouts(cluster, rollout) values(?1, ?2)";
                transaction.execute(replace, params![name, json])?;
            }
            RolloutChange::Ended => {
                transaction.execute("delete from mgmt_rollouts where cluster = ?1", [name])?;
            }
        }
        Ok(())
    }

    /// Those that are stored, by the names of clusters, and what of them cannot be read.
    pub(super) fn rollouts(&self) -> Result<(Rollouts, Vec<UnreadableRow>), StoreError> {
        let query = "select cluster, rollout from mgmt_rollouts";
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.read_own(TABLE, query, |row: &Row<'_>| {
            Ok((bytes_of(row.get_ref(0)?), bytes_of(row.get_ref(1)?)))
        })?;
        let (mut rollouts, mut unreadable) = (Rollouts::new(), Vec::new());
        for (key, json) in rows {
            match serde_json::from_slice(&json) {
                Ok(rollout) => {
                    rollouts.insert(String::from_utf8_lossy(&key).into_owned(), Box::new(rollout));
                }
                Err(error) => unreadable.push(UnreadableRow {
                    slot: None,
                    key,
                    reason: format!("its roll-out: {error}"),
                }),
            }
        }
        Ok((rollouts, unreadable))
    }
}
