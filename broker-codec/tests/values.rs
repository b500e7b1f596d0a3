//! Values against Broker's own: the corpus that Broker 2.8.0-dev.329 wrote (`fixtures/corpus`).

mod oracle;
mod support;

use std::collections::BTreeSet;

use broker_codec::{
    Data, binary,
    data::Kind,
    json::{self, JsonErrorKind},
    testing::{self, Mutator},
};
use bytes::BytesMut;
use oracle::Verdict;
use support::corpus;

/// Whether a real in it is not what Broker packed.
///
/// The corpus has the smallest subnormal number. CAF's packing makes about -1.6e293 of it, for its own decoder, too: so the
/// text, which Broker wrote of the number before packing, is not that of the bytes, and the place of the number in a set
/// is not that of what the bytes say.
fn lost_a_subnormal(binary: &[u8]) -> bool {
    let packed = b"\x04\xfc\xd0\0\0\0\0\0\0";
    binary.windows(packed.len()).any(|window| window == packed)
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
    for [bytes, ..] in corpus() {
        let borrowed = binary::decode_ref(&bytes).unwrap();
        let mut encoded = BytesMut::new();
        binary::encode(borrowed.root(), &mut encoded).unwrap();
        assert_eq!(encoded, bytes, "borrowed {}", borrowed.root());

        let owned = binary::decode(&bytes).unwrap();
        assert_eq!(borrowed.root().to_data(), owned);
        kinds.insert(owned.kind());
        encoded.clear();
        binary::encode(&owned, &mut encoded).unwrap();
        if encoded != bytes {
            assert!(lost_a_subnormal(&bytes), "owned {owned}");
            reordered += 1;
        }
    }
    assert!(kinds.into_iter().eq(Kind::ALL));
    assert_eq!(reordered, 1);
}

#[test]
fn valid_json_is_written_as_broker_does() {
    let (mut valid, mut lost) = (0, 0);
    for [bytes, text, _] in corpus() {
        let data = binary::decode(&bytes).unwrap();
        let written = json_of(&data);
        if serde_json::from_slice::<serde_json::Value>(&text).is_err() {
            serde_json::from_str::<serde_json::Value>(&written).unwrap();
            continue;
        }
        valid += 1;
        if written.as_bytes() != text {
            assert!(lost_a_subnormal(&bytes), "{written}\n{}", text.escape_ascii());
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
    for [_, text, _] in corpus() {
        match json::decode(&text) {
            Ok(read) => {
                let rewritten = json_of(&read);
                if serde_json::from_slice::<serde_json::Value>(&text).is_ok() {
                    assert_eq!(rewritten.as_bytes(), text);
                }
            }
            // Two elements of a set or keys of a table have become the same text.
            Err(error) => {
                assert_eq!(error.kind, JsonErrorKind::Duplicate, "{}", text.escape_ascii());
                duplicates += 1;
            }
        }
    }
    assert_eq!(duplicates, 17);
}

#[test]
fn json_is_a_fixpoint() {
    let mut duplicates = 0;
    for [bytes, ..] in corpus() {
        let written = json_of(&binary::decode(&bytes).unwrap());
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
    for [bytes, _, printed] in corpus() {
        let data = binary::decode(&bytes).unwrap();
        let printed = String::from_utf8_lossy(&printed);
        if !lost_a_subnormal(&bytes) {
            assert_eq!(data.to_string(), printed);
        }
    }
}

#[test]
fn every_strict_prefix_is_an_error() {
    for [bytes, text, _] in corpus() {
        for length in 0..bytes.len() {
            let prefix = &bytes[..length];
            let error = binary::decode(prefix).unwrap_err();
            assert_eq!(binary::decode_ref(prefix).unwrap_err(), error);
        }
        // Each prefix is read from its start: of long texts it would take long.
        for length in 0..text.len().min(300) {
            assert!(json::decode(&text[..length]).is_err());
        }
    }
}

/// What a fuzzer once stopped at.
#[test]
fn findings_stay_fixed() {
    // A subnormal number, which CAF packs as zero.
    let finding = hex::decode("0d0104000000000000000100").unwrap();
    testing::value(&finding);
}

/// Against simple implementations of the formats, on inputs that are all but right.
#[test]
fn the_decoders_agree_with_the_oracles() {
    let corpus = corpus();
    let bytes: Vec<_> = corpus.iter().map(|[bytes, ..]| bytes).collect();
    let texts: Vec<_> = corpus.iter().map(|[_, text, _]| text).collect();
    let mut mutator = Mutator::new(2);
    let mut good = [0; 2];
    for _ in 0..20_000 {
        let input = mutator.input(&bytes);
        let decoded = binary::decode(&input).ok();
        assert_eq!(decoded, oracle::binary(&input), "{}", hex::encode(&input));
        good[0] += usize::from(decoded.is_some());

        let input = mutator.input(&texts);
        match oracle::json(&input) {
            Verdict::Value(data) => {
                assert_eq!(json::decode(&input), Ok(data), "{}", input.escape_ascii());
                good[1] += 1;
            }
            Verdict::Refused => assert!(json::decode(&input).is_err(), "{}", input.escape_ascii()),
            Verdict::Unknown => {}
        }
    }
    assert!(good.iter().all(|good| *good > 200), "{good:?}");
}
