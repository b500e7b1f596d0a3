//! The clusters besides `default`: a row each, in a table of our own.

use std::collections::BTreeMap;

use broker_codec::data::Excerpt;
use mgmt_api::{Configuration, Instance};
use rusqlite::{Row, TransactionBehavior, params};

use super::{
    StoreError, UnreadableRow, WriteError,
    sqlite::{Store, bytes_of, decode, encode, set_aside},
};
use crate::core::{Changes, ClusterName, Configurations, RolloutChange, Slot};

const TABLE: &str = "mgmt_clusters";

const SCHEMA: &str = "create table if not exists mgmt_clusters(\
                      cluster text primary key, staged blob, ready blob, deployed blob, dismissed blob)";

/// What is read of them.
pub(super) type Clusters = BTreeMap<ClusterName, Configurations>;

const fn column(slot: Slot) -> &'static str {
    match slot {
        Slot::Staged => "staged",
        Slot::Ready => "ready",
        Slot::Deployed => "deployed",
    }
}

impl Store {
    /// Writes what has changed of a cluster; all or nothing.
    pub(super) fn write_cluster(
        &mut self,
        cluster: &ClusterName,
        changes: &Changes,
    ) -> Result<(), WriteError> {
        let name = cluster.to_string();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        if changes.is_removal {
            transaction.execute("delete from mgmt_clusters where cluster = ?1", [&name])?;
            Self::write_rollout(&transaction, Some(cluster), &RolloutChange::Ended)?;
            Self::forget_revisions(&transaction, &name)?;
            return Ok(transaction.commit()?);
        }
        let inserted =
            transaction.execute("insert or ignore into mgmt_clusters(cluster) values(?1)", [&name])?;
        if inserted > 0 {
            // Those of an earlier one of this name, which an earlier release has deleted.
            Self::forget_revisions(&transaction, &name)?;
        }
        let replaces = |slot, row: &UnreadableRow| row.slot == Some(slot) && row.key == name.as_bytes();
        for (slot, configuration) in &changes.entries {
            let column = column(*slot);
            // What cannot be read is kept, under the cluster's name.
            let before = format!("select ?1, {column} from mgmt_clusters where cluster = ?1");
            for row in self.unreadable.iter().filter(|row| replaces(*slot, row)) {
                set_aside(&transaction, &row.reason, &before, &name)?;
            }
            let update = format!("update mgmt_clusters set {column} = ?2 where cluster = ?1");
            transaction.execute(&update, params![name, &encode(configuration)?[..]])?;
        }
        if let Some(change) = &changes.rollout {
            Self::write_rollout(&transaction, Some(cluster), change)?;
        }
        if let Some(dismissed) = &changes.dismissed {
            let dismissed: Vec<&Instance> = dismissed.iter().collect();
            let dismissed = encode(&dismissed)?;
            let update = "update mgmt_clusters set dismissed = ?2 where cluster = ?1";
            transaction.execute(update, params![name, &dismissed[..]])?;
        }
        Self::write_revisions(&transaction, &name, &changes.recorded)?;
        transaction.commit()?;
        let is_replaced = |row: &UnreadableRow| changes.entries.iter().any(|(slot, _)| replaces(*slot, row));
        self.unreadable.retain(|row| !is_replaced(row));
        Ok(())
    }

    /// What is stored of the clusters besides `default`, and what of it cannot be read.
    pub(super) fn clusters(&self) -> Result<(Clusters, Vec<UnreadableRow>), StoreError> {
        let query = "select cluster, staged, ready, deployed, dismissed from mgmt_clusters";
        let rows: Vec<(Vec<u8>, [Vec<u8>; 4])> = self.read_own(TABLE, query, |row: &Row<'_>| {
            let column = |at| row.get_ref(at).map(bytes_of);
            Ok((column(0)?, [column(1)?, column(2)?, column(3)?, column(4)?]))
        })?;
        let (mut clusters, mut unreadable) = (Clusters::new(), Vec::new());
        for (key, [staged, ready, deployed, dismissed]) in rows {
            let name = String::from_utf8_lossy(&key);
            let name = match ClusterName::try_from(&*name) {
                Ok(name) if !name.is_default() => name,
                _ => {
                    let reason = format!("no cluster can be named {}", Excerpt::new(&key));
                    unreadable.push(UnreadableRow {
                        slot: None,
                        key,
                        reason,
                    });
                    continue;
                }
            };
            let mut configurations = Configurations::default();
            for (slot, stored) in Slot::ALL.into_iter().zip([staged, ready, deployed]) {
                if stored.is_empty() {
                    continue;
                }
                match decode::<Configuration>(&stored) {
                    Ok(configuration) => configurations.set(slot, configuration.into()),
                    Err(reason) => unreadable.push(UnreadableRow {
                        slot: Some(slot),
                        key: key.clone(),
                        reason,
                    }),
                }
            }
            if !dismissed.is_empty() {
                match decode::<Vec<Instance>>(&dismissed) {
                    Ok(dismissed) => configurations.dismissed = dismissed.into_iter().collect(),
                    Err(reason) => unreadable.push(UnreadableRow {
                        slot: None,
                        key: key.clone(),
                        reason: format!("the instances that it has dropped: {reason}"),
                    }),
                }
            }
            clusters.insert(name, configurations);
        }
        Ok((clusters, unreadable))
    }
}
