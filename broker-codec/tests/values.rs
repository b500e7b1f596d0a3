//! Values against Broker's own: the corpus that Broker 2.8.0-dev.329 wrote (`fixtures/corpus`).

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use broker_codec::{
    Data, binary,
    data::Kind,
    json::{self, JsonErrorKind},
};
use bytes::BytesMut;
use flate2::read::GzDecoder;

/// One value as Broker has it.
struct Vector {
    binary: Vec<u8>,
    json: Vec<u8>,
    printed: Vec<u8>,
}

fn corpus() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus");
    let mut vectors = Vec::new();
    for name in ["values-1.tsv.gz", "values-2.tsv.gz", "values-utf8-3.tsv.gz"] {
        let file = File::open(folder.join(name)).unwrap();
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let line = line.unwrap();
            let mut columns = line.split('\t').map(|column| hex::decode(column).unwrap());
            vectors.push(Vector {
                binary: columns.next().unwrap(),
                json: columns.next().unwrap(),
                printed: columns.next().unwrap(),
            });
        }
    }
    assert_eq!(vectors.len(), 4500);
    vectors
}

impl Vector {
    /// Whether a real in it is not what Broker packed.
    ///
    /// The corpus has the smallest subnormal number. CAF's packing makes about -1.6e293 of it, for its own decoder, too: so
    /// the text, which Broker wrote of the number before packing, is not that of the bytes, and the place of the number
    /// in a set is not that of what the bytes say.
    fn lost_a_subnormal(&self) -> bool {
        let packed = b"\x04\xfc\xd0\0\0\0\0\0\0";
        self.binary.windows(packed.len()).any(|window| window == packed)
    }
}

fn json_of(data: &Data) -> String {
    let mut text = String::new();
    json::encode(data, &mut text).unwrap();
    text
}

#[test]
fn binary_survives_the_round_trip() {
    let mut kinds = BTreeSet::new();
    let mut reordered = 0;
    for vector in corpus() {
        let borrowed = binary::decode_ref(&vector.binary).unwrap();
        let mut bytes = BytesMut::new();
        binary::encode(borrowed.root(), &mut bytes).unwrap();
        assert_eq!(bytes, vector.binary, "borrowed {}", borrowed.root());

        let owned = binary::decode(&vector.binary).unwrap();
        assert_eq!(borrowed.root().to_data(), owned);
        kinds.insert(owned.kind());
        bytes.clear();
        binary::encode(&owned, &mut bytes).unwrap();
        if bytes != vector.binary {
            assert!(vector.lost_a_subnormal(), "owned {owned}");
            reordered += 1;
        }
    }
    assert!(kinds.into_iter().eq(Kind::ALL));
    assert_eq!(reordered, 1);
}

#[test]
fn valid_json_is_written_as_broker_does() {
    let (mut valid, mut lost) = (0, 0);
    for vector in corpus() {
        let data = binary::decode(&vector.binary).unwrap();
        let written = json_of(&data);
        if serde_json::from_slice::<serde_json::Value>(&vector.json).is_err() {
            serde_json::from_str::<serde_json::Value>(&written).unwrap();
            continue;
        }
        valid += 1;
        if written.as_bytes() != vector.json {
            assert!(
                vector.lost_a_subnormal(),
                "{written}\n{}",
                vector.json.escape_ascii()
            );
            lost += 1;
        }
    }
    assert_eq!((valid, lost), (3534, 30));
}

/// All that Broker writes, valid or not, can be read, and gives the value but for what the text does not say: digits of reals
/// behind the sixth, and fractions of milliseconds.
#[test]
fn json_of_broker_is_read() {
    let mut duplicates = 0;
    for vector in corpus() {
        match json::decode(&vector.json) {
            Ok(read) => {
                let rewritten = json_of(&read);
                if serde_json::from_slice::<serde_json::Value>(&vector.json).is_ok() {
                    assert_eq!(rewritten.as_bytes(), vector.json);
                }
            }
            // Two elements of a set or keys of a table have become the same text.
            Err(error) => {
                assert_eq!(
                    error.kind,
                    JsonErrorKind::Duplicate,
                    "{}",
                    vector.json.escape_ascii()
                );
                duplicates += 1;
            }
        }
    }
    assert_eq!(duplicates, 17);
}

#[test]
fn json_is_a_fixpoint() {
    let mut duplicates = 0;
    for vector in corpus() {
        let written = json_of(&binary::decode(&vector.binary).unwrap());
        match json::decode(written.as_bytes()) {
            Ok(read) => assert_eq!(json_of(&read), written),
            Err(error) => {
                assert_eq!(error.kind, JsonErrorKind::Duplicate, "{written}");
                duplicates += 1;
            }
        }
    }
    assert_eq!(duplicates, 15);
}

#[test]
fn values_are_printed_as_broker_does() {
    for vector in corpus() {
        let data = binary::decode(&vector.binary).unwrap();
        let printed = String::from_utf8_lossy(&vector.printed);
        if !vector.lost_a_subnormal() {
            assert_eq!(data.to_string(), printed);
        }
    }
}
