//! The store as bytes: those of its file, at one moment.

use std::path::Path;

use rusqlite::{
    Connection, MAIN_DB,
    backup::{Backup, StepResult},
};

use super::{
    StoreError,
    sqlite::{Store, sqlite_error},
};

impl Store {
    /// The bytes of its file.
    ///
    /// With Zeek's journal mode, who reads keeps a writer waiting. So all pages are taken at once, which takes milliseconds: a controller
    /// that runs on the file waits for as long as that and notices nothing. Page by page, each write of its would begin it anew.
    ///
    /// # Errors
    ///
    /// If it cannot be read, also because another process writes for five seconds.
    pub(crate) fn image(&self) -> Result<Vec<u8>, StoreError> {
        let failed = |source| self.error("read", source);
        let mut memory = Connection::open_in_memory().map_err(failed)?;
        let outcome = Backup::new(&self.connection, &mut memory).and_then(|copy| copy.step(-1));
        match outcome.map_err(failed)? {
            StepResult::Done => {}
            _ => return Err(failed(busy())),
        }
        let image = memory.serialize(MAIN_DB).map_err(failed)?;
        Ok(image.to_vec())
    }

    /// A store in memory of the bytes of a file, which has this path in errors.
    ///
    /// # Errors
    ///
    /// If SQLite cannot take them. What they are shows when they are read.
    pub(crate) fn of_image(image: &[u8], path: &Path) -> Result<Self, StoreError> {
        let load = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open_in_memory()?;
            connection.deserialize_read_exact(MAIN_DB, image, image.len(), false)?;
            Ok(connection)
        };
        Ok(Self {
            connection: load().map_err(|source| sqlite_error(path, "read", source))?,
            path: path.to_owned(),
            unreadable: Vec::new(),
            _lock: None,
        })
    }
}

fn busy() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some("database is locked".to_owned()))
}
