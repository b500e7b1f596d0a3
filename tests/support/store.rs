//! The controller's store as another program sees it.

use std::{collections::BTreeMap, fs, path::Path};

use broker_codec::{Data, binary};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::controller::STORE;

/// The blobs of each row: the last part of the key, and the value's bytes.
pub(crate) fn blobs(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let connection =
        Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database");
    let mut statement = connection
        .prepare("select key, value from store")
        .expect("Broker's schema");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .expect("rows");
    rows.map(|row| {
        let (key, value) = row.expect("a row of two blobs");
        let key = binary::decode(&key).expect("a Broker value").to_string();
        (key.rsplit(':').next().expect("a name").to_owned(), value)
    })
    .collect()
}

/// The rows: the last part of the key, and the value.
pub(crate) fn rows(store: &Path) -> BTreeMap<String, Data> {
    let decoded = |(slot, value): (String, Vec<u8>)| (slot, binary::decode(&value).expect("a Broker value"));
    blobs(store).into_iter().map(decoded).collect()
}

/// The rows of a store in the state that a crash left it in. Reads a copy: to open a store is to repair it, which the controller
/// has to do by itself.
pub(crate) fn rows_after_a_crash(store: &Path) -> BTreeMap<String, Data> {
    let copy = TempDir::with_prefix("store-copy-").expect("a directory can be made");
    let journal = format!("{STORE}-journal");
    let folder = store.parent().expect("a store is in a folder");
    for file in [STORE, &journal] {
        // There is a journal only if a write was under way.
        if folder.join(file).exists() {
            fs::copy(folder.join(file), copy.path().join(file)).expect("a file can be copied");
        }
    }
    rows(&copy.path().join(STORE))
}
