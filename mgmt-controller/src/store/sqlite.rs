//! The store in Zeek's SQLite file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::{
    binary,
    data::{self, ZeekString},
};
use bytes::BytesMut;
use mgmt_api::{Configuration, Instance};
use mgmt_daemon::{
    files,
    lock::{Lock, LockError},
};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, ffi,
    params, types::ValueRef,
};
use sha2::{Digest, Sha256};

use super::{FILE_NAME, Persist, Restored, StoreError, UnreadableRow, WriteError, check_restored};
use crate::core::{Changes, ClusterName, DEFAULT, Slot};

/// The Broker release whose format we write; kept in the file, never checked by Broker.
pub(super) const BROKER_VERSION: &str = "2.8.0";

/// How long another process, such as a backup, may hold the file before a read or write of ours fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Broker's schema, word for word.
const SCHEMA: &str = "create table if not exists meta(key text primary key, value text);\
                      create table if not exists store(key blob primary key, value blob, expiry integer);";

/// The open store. Blocks; see [`super::StoreThread`].
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) unreadable: Vec<UnreadableRow>,
    /// None where the file is only looked at.
    pub(super) _lock: Option<Lock>,
}

impl Store {
    /// Opens the store in a directory, creating both if they are missing, and reads it.
    ///
    /// # Errors
    ///
    /// Besides failures of the file system: if another controller of ours has it open, and if the file holds anything
    /// but a sound Broker store; such a file is not touched.
    pub fn open(dir: &Path) -> Result<(Self, Restored), StoreError> {
        create_dir_durably(dir).map_err(|source| StoreError::Directory {
            path: dir.to_path_buf(),
            source,
        })?;
        let path = dir.join(FILE_NAME);
        let lock = Lock::acquire(&path).map_err(|error| match error {
            LockError::InUse { holder } => StoreError::InUse {
                path: path.clone(),
                holder,
            },
            LockError::File { path, source } => StoreError::Lock { path, source },
        })?;
        check_restored(&path)?;
        let connection = connect(&path)?;
        let mut store = Self {
            connection,
            path,
            unreadable: Vec::new(),
            _lock: Some(lock),
        };
        let restored = store.initialize()?;
        store.unreadable.clone_from(&restored.unreadable);
        Ok((store, restored))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes configurations into their slots, and the dismissed instances if they are given; all or nothing, durable on
    /// return.
    pub fn write(&mut self, changes: &Changes) -> Result<(), WriteError> {
        if let Some(cluster) = &changes.cluster {
            return self.write_cluster(cluster, changes);
        }
        let (entries, dismissed) = (&changes.entries, &changes.dismissed);
        let default = ClusterName::default_cluster();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "create table if not exists mgmt_rows(key blob primary key, sha256 blob not null)",
        )?;
        if let Some(dismissed) = dismissed {
            write_dismissed(&transaction, dismissed)?;
        }
        if let Some(change) = &changes.rollout {
            Self::write_rollout(&transaction, None, change)?;
        }
        for (slot, configuration) in entries {
            let key = encode(slot)?;
            let value = encode(configuration)?;
            for row in self.unreadable.iter().filter(|row| row.key == key) {
                let before = "select key, value from store where key = ?1";
                set_aside(&transaction, &row.reason, before, &row.key)?;
            }
            transaction
                .prepare_cached("replace into store(key, value, expiry) values(?, ?, null)")?
                .execute(params![&key[..], &value[..]])?;
            transaction
                .prepare_cached("replace into mgmt_rows(key, sha256) values(?, ?)")?
                .execute(params![&key[..], &Sha256::digest(&value)[..]])?;
        }
        Self::write_revisions(&transaction, default.as_str(), &changes.recorded)?;
        transaction.commit()?;
        let keys: Vec<_> = entries.iter().filter_map(|(slot, _)| encode(slot).ok()).collect();
        self.unreadable
            .retain(|row| !keys.iter().any(|key| row.key == *key));
        Ok(())
    }

    /// Reads everything before anything is written: a file that is not ours stays untouched.
    fn initialize(&self) -> Result<Restored, StoreError> {
        let mut restored = self.read_sound()?;
        let outcome = self
            .connection
            .pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))
            .and_then(|()| self.bring_up_to_date(restored.broker_version.as_deref()))
            .and_then(|()| self.make_identity());
        match outcome {
            Ok(()) => restored.identity = self.identity()?.and_then(Result::ok),
            // A store that can be read serves its configurations even if the disk is full.
            Err(error) if restored.broker_version.is_some() => {
                restored.not_writable = Some(error.to_string());
            }
            Err(source) => return Err(self.error("initialize", source)),
        }
        Ok(restored)
    }

    /// Reads everything, if the file is sound.
    pub(super) fn read_sound(&self) -> Result<Restored, StoreError> {
        let integrity: String = self
            .connection
            .query_row("pragma quick_check(1)", [], |row| row.get(0))
            .map_err(|source| self.error("check", source))?;
        if integrity != "ok" {
            return Err(StoreError::Damaged {
                path: self.path.clone(),
                detail: integrity,
            });
        }
        let tables = self
            .connection
            .query_row(
                "select count(*) from sqlite_master where type = 'table'",
                [],
                |row| row.get::<_, i64>(0),
            )
            .map_err(|source| self.error("read", source))?;
        if tables == 0 {
            Ok(Restored::default())
        } else {
            self.read()
        }
    }

    fn bring_up_to_date(&self, found: Option<&str>) -> rusqlite::Result<()> {
        if found == Some(BROKER_VERSION) {
            return Ok(());
        }
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute(
            "replace into meta(key, value) values('broker_version', ?)",
            [BROKER_VERSION],
        )?;
        transaction.commit()
    }

    fn read(&self) -> Result<Restored, StoreError> {
        let broker_version = self.check_schema()?;
        let ours = self.rows_we_wrote()?;
        let mut restored = Restored {
            broker_version,
            ..Restored::default()
        };
        restored.configurations.dismissed = self.dismissed()?;
        (restored.clusters, restored.unreadable) = self.clusters()?;
        let (mut rollouts, unreadable) = self.rollouts()?;
        restored.unreadable.extend(unreadable);
        restored.configurations.rollout = rollouts.remove(DEFAULT);
        for (name, configurations) in &mut restored.clusters {
            configurations.rollout = rollouts.remove(name.as_str());
        }
        let (revisions, unreadable) = self.revisions()?;
        restored.unreadable.extend(unreadable);
        for (cluster, revisions) in revisions {
            // An earlier release deletes a cluster and leaves its revisions, which go when there is one of that name again.
            let of_cluster = restored.clusters.get_mut(&cluster);
            let default = cluster.is_default().then_some(&mut restored.configurations);
            if let Some(configurations) = of_cluster.or(default) {
                configurations.revisions = revisions;
            }
        }
        match self.identity()? {
            Some(Ok(identity)) => restored.identity = Some(identity),
            Some(Err(row)) => restored.unreadable.push(row),
            None => {}
        }
        let mut statement = self
            .connection
            .prepare("select key, value from store order by key")
            .map_err(|source| self.error("read", source))?;
        let mut rows = statement.query([]).map_err(|source| self.error("read", source))?;
        while let Some(row) = rows.next().map_err(|source| self.error("read", source))? {
            let (key, value) = (bytes_of(row.get_ref_unwrap(0)), bytes_of(row.get_ref_unwrap(1)));
            match (decode::<Slot>(&key), decode::<Configuration>(&value)) {
                (Ok(slot), Ok(configuration)) => {
                    restored.configurations.set(slot, configuration.into());
                    let digest = Sha256::digest(&value);
                    if ours.get(&key).is_none_or(|ours| ours[..] != digest[..]) {
                        restored.adopted.push(slot);
                    }
                }
                (slot, value) => restored.unreadable.push(UnreadableRow {
                    reason: slot
                        .as_ref()
                        .err()
                        .or(value.as_ref().err())
                        .cloned()
                        .unwrap_or_default(),
                    slot: slot.ok(),
                    key,
                }),
            }
        }
        Ok(restored)
    }

    /// Makes sure that the file is a Broker store, and returns its version.
    fn check_schema(&self) -> Result<Option<String>, StoreError> {
        // What SQLite refuses before it runs: a table or a column is missing.
        let foreign = |error| match error {
            rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg))
                if msg.starts_with("no such") =>
            {
                StoreError::Foreign {
                    path: self.path.clone(),
                    detail: msg,
                }
            }
            error => self.error("read", error),
        };
        self.connection
            .prepare("select key, value, expiry from store")
            .map_err(foreign)?;
        self.connection
            .query_row("select value from meta where key = 'broker_version'", [], |row| {
                row.get(0)
            })
            .optional()
            .map_err(foreign)
    }

    /// Keys, and digests of the values.
    fn rows_we_wrote(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        self.read_own("mgmt_rows", "select key, sha256 from mgmt_rows", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// What cannot be read is taken for an instance that connects to us.
    fn dismissed(&self) -> Result<BTreeSet<Instance>, StoreError> {
        self.read_own("mgmt_dismissed", "select * from mgmt_dismissed", |row| {
            let stored = row.get_ref(1).map(bytes_of).unwrap_or_default();
            let name = ZeekString::from(bytes_of(row.get_ref(0)?));
            Ok(decode(&stored).unwrap_or_else(|_| Instance::new(name)))
        })
    }

    /// Reads a table of our own; nothing if it has not been made.
    pub(super) fn read_own<T, C: Default + FromIterator<T>>(
        &self,
        table: &str,
        query: &str,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<C, StoreError> {
        let read = || -> rusqlite::Result<C> {
            if !has_table(&self.connection, table)? {
                return Ok(C::default());
            }
            self.connection.prepare(query)?.query_map([], row)?.collect()
        };
        read().map_err(|source| self.error("read", source))
    }

    pub(super) fn error(&self, operation: &'static str, source: rusqlite::Error) -> StoreError {
        sqlite_error(&self.path, operation, source)
    }
}

pub(super) fn has_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let exists = "select 1 from sqlite_master where type = 'table' and name = ?";
    connection.prepare_cached(exists)?.exists([table])
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // SQLite makes files that everyone can read, and gives its journal the mode of the file. If it cannot be made, SQLite says why.
    let _ = files::options().write(true).create_new(true).open(path);
    open_file(
        path,
        OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_READ_WRITE,
    )
}

pub(super) fn open_file(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "extra")?;
        Ok(connection)
    };
    open().map_err(|source| sqlite_error(path, "open", source))
}

/// Tells a damaged file from a failing operation.
pub(super) fn sqlite_error(path: &Path, operation: &'static str, source: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreError::Damaged {
            path: path.to_path_buf(),
            detail: source.to_string(),
        },
        _ => StoreError::Sqlite {
            operation,
            path: path.to_path_buf(),
            source,
        },
    }
}

fn write_dismissed(transaction: &Transaction<'_>, dismissed: &BTreeSet<Instance>) -> Result<(), WriteError> {
    transaction.execute_batch(
        "drop table if exists mgmt_dismissed; create table mgmt_dismissed(name blob primary key, instance blob)",
    )?;
    let mut insert = transaction.prepare("insert into mgmt_dismissed(name, instance) values(?, ?)")?;
    for instance in dismissed {
        insert.execute(params![instance.name.as_bytes(), &encode(instance)?[..]])?;
    }
    Ok(())
}

/// Keeps what could not be read and is about to be replaced: its key and value, as this query selects them.
pub(super) fn set_aside(
    transaction: &Transaction<'_>,
    reason: &str,
    query: &str,
    key: impl ToSql,
) -> rusqlite::Result<()> {
    transaction
        .execute_batch("create table if not exists mgmt_unreadable(key blob, value blob, reason text)")?;
    let insert = "insert into mgmt_unreadable(key, value, reason) select *, ?2 from";
    transaction.execute(&format!("{insert} ({query})"), params![key, reason])?;
    Ok(())
}

pub(super) fn encode<T: serde::Serialize>(value: &T) -> Result<BytesMut, WriteError> {
    let mut bytes = BytesMut::new();
    binary::encode(&data::to_data(value)?, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let value = binary::decode(bytes).map_err(|error| format!("not a Broker value: {error}"))?;
    data::from_data(value).map_err(|error| error.to_string())
}

/// A column's bytes, of any type: SQLite does not hold writers to the schema.
pub(super) fn bytes_of(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
    }
}

/// Creates a directory and its parents so that they survive a power failure.
fn create_dir_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir_durably(parent)?;
    }
    match files::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

impl Persist for Store {
    fn persist(&mut self, changes: &Changes) -> Result<(), String> {
        let written = self.write(changes);
        written.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    fn recall(&mut self, cluster: &ClusterName, number: u32) -> Result<Configuration, String> {
        let recalled = self.configuration_of(cluster, number);
        recalled.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(failure) if failure.extended_code == ffi::SQLITE_READONLY_DBMOVED => Self::Moved,
            Some(failure) if failure.code == ErrorCode::DiskFull => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}
