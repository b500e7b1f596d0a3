//! What is in a store, and whether it is sound, for operators. Nothing of it is changed.

use std::{fs, io, path::Path};

use broker_codec::data::Excerpt;
use mgmt_api::Instance;
use rusqlite::{OpenFlags, ffi};

use super::{
    EMPTY, Restored, StoreError, UnreadableRow,
    report::{ClusterReport, Inspection},
    sqlite::{Store, bytes_of, decode, open_file},
};
use crate::core::ClusterName;

/// How many faults of a file SQLite tells.
const FAULTS_MAX: u32 = 20;

impl Store {
    /// Opens the store's file, also while a controller runs on it, to read it and no more.
    ///
    /// # Errors
    ///
    /// If it is not there, or cannot be read. A transaction that a crash has left is not undone: that is an error, too.
    pub fn look_at(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_present(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let looked = store
            .connection
            .query_row("select count(*) from sqlite_master", [], |_| Ok(()));
        match looked.map_err(|error| error.sqlite_error().map(|error| error.extended_code)) {
            Err(Some(ffi::SQLITE_READONLY_ROLLBACK)) => Err(StoreError::Unfinished {
                path: path.to_owned(),
            }),
            // Everything else shows again when it is read.
            _ => Ok(store),
        }
    }

    /// Opens it to be backed up; a transaction that a crash has left is undone.
    ///
    /// # Errors
    ///
    /// If it is not there, or cannot be read.
    pub(crate) fn for_backup(path: &Path) -> Result<Self, StoreError> {
        Self::open_present(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open_present(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let failed = |source: io::Error| StoreError::Read {
            path: path.to_owned(),
            source,
        };
        // SQLite would wait at a FIFO.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is no regular file")));
        }
        Ok(Self {
            connection: open_file(path, flags)?,
            path: path.to_owned(),
            unreadable: Vec::new(),
            _lock: None,
        })
    }

    /// What is in it, and what is wrong with it.
    ///
    /// # Errors
    ///
    /// If that cannot be told. That it is damaged is no error.
    pub fn inspect(&self) -> Result<Inspection, StoreError> {
        let (restored, faults) = match self.examine() {
            Ok(restored) => (restored, Vec::new()),
            Err(StoreError::Damaged { detail, .. } | StoreError::Foreign { detail, .. }) => {
                (Restored::default(), vec![detail])
            }
            Err(error) => return Err(error),
        };
        let mut unreadable: Vec<String> = restored.unreadable.iter().map(in_words).collect();
        if faults.is_empty() {
            unreadable.extend(self.unreadable_dropped()?);
            unreadable.extend(self.unreadable_revisions()?);
        }
        let default = ClusterName::default_cluster();
        let default = std::iter::once((&default, &restored.configurations));
        Ok(Inspection {
            path: self.path.display().to_string(),
            bytes: fs::metadata(&self.path).map_or(0, |file| file.len()),
            tables: self.tables().unwrap_or_default(),
            clusters: default
                .chain(&restored.clusters)
                .map(|(name, configurations)| ClusterReport::new(name.to_string(), configurations))
                .collect(),
            set_aside: self.set_aside().unwrap_or_default(),
            controller: restored.identity,
            broker_version: restored.broker_version,
            faults,
            unreadable,
        })
    }

    /// Everything in it, after all that SQLite can check.
    fn examine(&self) -> Result<Restored, StoreError> {
        let rows = self.list(&format!("pragma integrity_check({FAULTS_MAX})"))?;
        if rows != ["ok"] {
            let (path, detail) = (self.path.clone(), rows.join("; "));
            return Err(StoreError::Damaged { path, detail });
        }
        // SQLite takes a file of no bytes for a database.
        if self.tables()?.is_empty() {
            let (path, detail) = (self.path.clone(), EMPTY.to_owned());
            return Err(StoreError::Damaged { path, detail });
        }
        self.read_sound()
    }

    fn unreadable_dropped(&self) -> Result<Vec<String>, StoreError> {
        let query = "select * from mgmt_dismissed";
        let stored: Vec<Vec<u8>> = self.read_own("mgmt_dismissed", query, |row| {
            Ok(row.get_ref(1).map(bytes_of).unwrap_or_default())
        })?;
        let stored = stored.iter().filter(|stored| !stored.is_empty());
        let wrong = stored.filter_map(|stored| decode::<Instance>(stored).err());
        Ok(wrong
            .map(|reason| format!("a dropped instance cannot be read: {reason}"))
            .collect())
    }

    fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.list("select name from sqlite_master where type = 'table' order by name")
    }

    fn set_aside(&self) -> Result<i64, StoreError> {
        let count: Vec<i64> =
            self.read_own("mgmt_unreadable", "select count(*) from mgmt_unreadable", |row| {
                row.get(0)
            })?;
        Ok(count.into_iter().next().unwrap_or_default())
    }

    /// The texts that a query yields.
    fn list(&self, query: &str) -> Result<Vec<String>, StoreError> {
        let list = || -> rusqlite::Result<Vec<String>> {
            self.connection
                .prepare(query)?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        list().map_err(|source| self.error("read", source))
    }
}

fn in_words(UnreadableRow { slot, key, reason }: &UnreadableRow) -> String {
    let key = Excerpt::new(key);
    match slot {
        Some(slot) => format!("the configuration {slot} of row {key} cannot be read: {reason}"),
        None => format!("row {key} cannot be read: {reason}"),
    }
}
