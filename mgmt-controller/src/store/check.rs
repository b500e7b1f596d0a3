//! Whether a controller could use the store, for `check-config`.

use std::path::Path;

use rusqlite::OpenFlags;

use super::{
    FILE_NAME, StoreError, check_restored,
    sqlite::{Store, open_file},
};

impl Store {
    /// Whether the store in a directory is sound and can be written. Makes nothing; one that is not there is in order.
    ///
    /// A transaction that a crash has left is undone, as every look of SQLite at the file does it.
    ///
    /// # Errors
    ///
    /// As of [`Self::open`], and if the file cannot be written: [`Self::open`] then serves what it holds, and no deployment succeeds.
    pub fn check(dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(FILE_NAME);
        check_restored(&path)?;
        if !path.exists() {
            return Ok(());
        }
        let store = Self {
            connection: open_file(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
            path,
            unreadable: Vec::new(),
            _lock: None,
        };
        store.read_sound()?;
        // Of a read-only file SQLite makes a transaction that only reads, unless something is written in it.
        let tried = "begin immediate; create table mgmt_tried(key); rollback";
        let tried = store.connection.execute_batch(tried);
        tried.map_err(|source| store.error("write", source))
    }
}
