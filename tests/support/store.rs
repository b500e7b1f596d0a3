//! The controller's store as another program sees it.

use std::{collections::BTreeMap, fs, path::Path};

use broker_codec::{Data, binary};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::controller::STORE;

fn open(store: &Path) -> Connection {
    Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database")
}

/// How Broker's tables were created, by their names.
pub(crate) fn schema(store: &Path) -> BTreeMap<String, String> {
    let connection = open(store);
    let mut statement = connection
        .prepare("select name, sql from sqlite_master where type = 'table' and name not like 'mgmt_%'")
        .expect("a database");
    let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    tables
        .expect("tables")
        .map(|table| table.expect("name and statement"))
        .collect()
}

/// The blobs of each row: key and value.
pub(crate) fn blobs(store: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let connection = open(store);
    let mut statement = connection
        .prepare("select key, value from store")
        .expect("Broker's schema");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .expect("rows");
    rows.map(|row| row.expect("a row of two blobs")).collect()
}

/// The rows: the last part of the key, and the value.
pub(crate) fn rows(store: &Path) -> BTreeMap<String, Data> {
    let decode = |blob: &[u8]| binary::decode(blob).expect("a Broker value");
    let decoded = |(key, value): (Vec<u8>, Vec<u8>)| {
        let key = decode(&key).to_string();
        (key.rsplit(':').next().expect("a name").to_owned(), decode(&value))
    };
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
