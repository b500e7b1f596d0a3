//! Revisions of all clusters: a row each, in a table of our own.

use std::collections::BTreeMap;

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::Configuration;
use rusqlite::{OptionalExtension, Row, Transaction, params, types::ValueRef};

use super::{
    StoreError, UnreadableRow, WriteError,
    sqlite::{Store, bytes_of, decode, encode, has_table, set_aside},
};
use crate::core::{ClusterName, Recorded, Revision, Revisions, sealed};

const TABLE: &str = "mgmt_revisions";

const SCHEMA: &str = "create table if not exists mgmt_revisions(\
                      cluster text not null, number integer not null, id blob, configuration blob, checksum text, bytes integer, \
                      at integer, asked_by text, note text, primary key(cluster, number))";

/// What is read of a row.
type Found = (Vec<u8>, Result<Revision, &'static str>);

impl Store {
    /// Writes the revisions that come, and removes those that go.
    pub(super) fn write_revisions(
        transaction: &Transaction<'_>,
        cluster: &str,
        recorded: &Recorded,
    ) -> Result<(), WriteError> {
        if recorded.is_empty() {
            return Ok(());
        }
        transaction.execute_batch(SCHEMA)?;
        for number in &recorded.pruned {
            let delete = "delete from mgmt_revisions where cluster = ?1 and number = ?2";
            transaction
                .prepare_cached(delete)?
                .execute(params![cluster, number])?;
        }
        for (revision, configuration) in &recorded.added {
            // A row that cannot be read may have the number.
            let same = "cluster = ?1 and number = ?2";
            let place = params![cluster, revision.number];
            let exists = format!("select 1 from mgmt_revisions where {same}");
            if transaction.prepare_cached(&exists)?.exists(place)? {
                let reason = "its number is given to another revision";
                let row = format!(
                    "select cluster, configuration from mgmt_revisions where cluster = ?1 and number = {}",
                    revision.number
                );
                set_aside(transaction, reason, &row, cluster)?;
            }
            let insert = "replace into mgmt_revisions(cluster, number, id, configuration, checksum, bytes, at, asked_by, note) \
                          values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            transaction.prepare_cached(insert)?.execute(params![
                cluster,
                revision.number,
                revision.configuration.as_bytes(),
                &encode(configuration)?[..],
                revision.checksum,
                i64::try_from(revision.bytes).unwrap_or(i64::MAX),
                revision.at.and_then(|at| i64::try_from(at).ok()),
                revision.asked_by,
                revision.note,
            ])?;
        }
        Ok(())
    }

    /// Removes all revisions of a cluster.
    pub(super) fn forget_revisions(transaction: &Transaction<'_>, cluster: &str) -> rusqlite::Result<()> {
        if has_table(transaction, TABLE)? {
            transaction.execute("delete from mgmt_revisions where cluster = ?1", [cluster])?;
        }
        Ok(())
    }

    /// The revisions without their configurations, and what of them cannot be read.
    pub(super) fn revisions(
        &self,
    ) -> Result<(BTreeMap<ClusterName, Revisions>, Vec<UnreadableRow>), StoreError> {
        let query = "select cluster, number, id, checksum, bytes, at, asked_by, note from mgmt_revisions";
        let rows: Vec<Found> = self.read_own(TABLE, query, |row| {
            Ok((bytes_of(row.get_ref(0)?), revision(row)?))
        })?;
        let (mut clusters, mut unreadable) = (BTreeMap::<_, Vec<Revision>>::new(), Vec::new());
        for (cluster, revision) in rows {
            let name = ClusterName::try_from(&*String::from_utf8_lossy(&cluster));
            match (name, revision) {
                (Ok(name), Ok(revision)) => clusters.entry(name).or_default().push(revision),
                (_, revision) => {
                    let reason = revision.err().unwrap_or("no cluster can be named so");
                    unreadable.push(UnreadableRow {
                        slot: None,
                        key: TABLE.into(),
                        reason: format!("a revision of cluster {}: {reason}", Excerpt::new(&cluster)),
                    });
                }
            }
        }
        let restored = |(name, revisions)| (name, Revisions::restored(revisions));
        Ok((clusters.into_iter().map(restored).collect(), unreadable))
    }

    /// The configuration of a revision.
    pub(super) fn configuration_of(
        &self,
        cluster: &ClusterName,
        number: u32,
    ) -> Result<Configuration, String> {
        let query = "select configuration from mgmt_revisions where cluster = ?1 and number = ?2";
        let stored = || -> rusqlite::Result<Option<Vec<u8>>> {
            let mut statement = self.connection.prepare_cached(query)?;
            let row = params![cluster.as_str(), number];
            statement
                .query_row(row, |row| row.get_ref(0).map(bytes_of))
                .optional()
        };
        let stored = stored().map_err(|error| error.to_string())?;
        decode(&stored.ok_or("it is not there any more")?)
    }

    /// What is wrong with the configurations of revisions.
    pub(super) fn unreadable_revisions(&self) -> Result<Vec<String>, StoreError> {
        let (clusters, _) = self.revisions()?;
        let mut wrong = Vec::new();
        for (cluster, revisions) in &clusters {
            for Revision { number, checksum, .. } in revisions.iter() {
                let reason = match self.configuration_of(cluster, *number) {
                    Ok(config) if sealed(&config).is_some_and(|(is, _)| is == *checksum) => continue,
                    Ok(_) => "its configuration is not what its checksum is of".to_owned(),
                    Err(reason) => format!("its configuration cannot be read: {reason}"),
                };
                wrong.push(format!("revision {number} of cluster {cluster}: {reason}"));
            }
        }
        Ok(wrong)
    }
}

/// A revision, or why it is none. SQLite does not hold writers to the schema.
fn revision(row: &Row<'_>) -> rusqlite::Result<Result<Revision, &'static str>> {
    let integer = |at| -> rusqlite::Result<Option<i64>> {
        Ok(match row.get_ref(at)? {
            ValueRef::Integer(integer) => Some(integer),
            _ => None,
        })
    };
    let text = |at| -> rusqlite::Result<Option<String>> {
        Ok(match row.get_ref(at)? {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        })
    };
    let number = integer(1)?.and_then(|number| u32::try_from(number).ok());
    let Some(number) = number.filter(|number| Revision::may_be_numbered(*number)) else {
        return Ok(Err("it has no number"));
    };
    let (Some(checksum), Some(bytes)) = (text(3)?, integer(4)?) else {
        return Ok(Err("it has no checksum or no size"));
    };
    Ok(Ok(Revision {
        number,
        configuration: ZeekString::from(bytes_of(row.get_ref(2)?)),
        checksum,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        at: integer(5)?.and_then(|at| u64::try_from(at).ok()),
        asked_by: text(6)?,
        note: text(7)?,
    }))
}
