//! What several test programs need.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::GzDecoder;

/// All of `fixtures/corpus`: values as Broker 2.8.0-dev.329 has them in its binary format, as JSON, which may be invalid, and
/// printed.
pub(crate) fn corpus() -> Vec<[Vec<u8>; 3]> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus");
    let mut vectors = Vec::new();
    for name in ["values-1.tsv.gz", "values-2.tsv.gz", "values-utf8-3.tsv.gz"] {
        let file = File::open(folder.join(name)).unwrap();
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let line = line.unwrap();
            let columns: Vec<Vec<u8>> = line
                .split('\t')
                .map(|column| hex::decode(column).unwrap())
                .collect();
            vectors.push(columns.try_into().unwrap());
        }
    }
    assert_eq!(vectors.len(), 4500);
    vectors
}
