//! Values against Broker's own: the corpus that Broker 2.8.0-dev.329 wrote (`fixtures/corpus`).

mod support;

use std::{
    collections::BTreeSet,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use broker_codec::{
    Data,
    binary::{self, DecodeErrorKind},
    control::{RoutingUpdate, RoutingUpdateError},
    data::{Excerpt, Kind},
    frame::{FrameDecoder, FrameError},
    json::{self, JsonErrorKind},
    testing,
};
use bytes::BytesMut;
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

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok()
}

/// The text with other digits behind the sixth in reals that are zero to the sixth, ascending from one to the next.
///
/// Two reals that differ only there are two elements of a set, but the same text: Broker does not read such a text of its
/// own (see W-37), nor do we.
fn told_apart(text: &[u8]) -> Vec<u8> {
    let zero = b"0.000000";
    let mut apart = Vec::new();
    let mut rest = text;
    let mut number = 10;
    while let Some(at) = rest.windows(zero.len()).position(|window| window == zero) {
        let is_negative = rest[..at].ends_with(b"-");
        let is_whole = rest[..at].ends_with(b":") || is_negative;
        let (before, behind) = rest.split_at(at + zero.len());
        apart.extend_from_slice(before);
        if is_whole {
            number += 1;
            let digits = if is_negative { 99 - number } else { number };
            apart.extend_from_slice(format!("0{digits}").as_bytes());
        }
        rest = behind;
    }
    apart.extend_from_slice(rest);
    apart
}

fn json_of(data: &Data) -> String {
    let mut text = String::new();
    json::encode(data, &mut text).unwrap();
    text
}

#[test]
fn binary_survives_the_round_trip() {
    let mut kinds = BTreeSet::new();
    for [bytes, ..] in corpus() {
        let data = binary::decode(&bytes).unwrap();
        kinds.insert(data.kind());
        let mut encoded = BytesMut::new();
        binary::encode(&data, &mut encoded).unwrap();
        assert_eq!(encoded, bytes, "{data}");
    }
    assert!(kinds.into_iter().eq(Kind::ALL));
}

#[test]
fn valid_json_is_written_as_broker_does() {
    let (mut valid, mut lost) = (0, 0);
    for [bytes, text, _] in corpus() {
        let data = binary::decode(&bytes).unwrap();
        let written = json_of(&data);
        if !is_json(&text) {
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

/// All that Broker writes, valid or not, is read, and what is valid is what our writer writes of it: all 3,534 texts.
#[test]
fn json_of_broker_is_read_and_written() {
    let (mut valid, mut same_twice) = ([0; 2], [0; 2]);
    for [_, text, _] in corpus() {
        let is_valid = is_json(&text);
        valid[usize::from(is_valid)] += 1;
        let read = json::decode(&text).unwrap_or_else(|error| {
            assert_eq!(error.kind, JsonErrorKind::Duplicate, "{}", text.escape_ascii());
            same_twice[usize::from(is_valid)] += 1;
            json::decode(&told_apart(&text)).unwrap()
        });
        if is_valid {
            assert_eq!(json_of(&read).as_bytes(), text);
        }
    }
    assert_eq!(valid, [966, 3534]);
    assert_eq!(same_twice, [10, 7]);
}

#[test]
fn json_is_a_fixpoint() {
    let mut same_twice = 0;
    for [bytes, ..] in corpus() {
        let written = json_of(&binary::decode(&bytes).unwrap());
        let read = json::decode(written.as_bytes()).unwrap_or_else(|error| {
            assert_eq!(error.kind, JsonErrorKind::Duplicate, "{written}");
            same_twice += 1;
            json::decode(&told_apart(written.as_bytes())).unwrap()
        });
        assert_eq!(json_of(&read), written);
    }
    assert_eq!(same_twice, 15);
}

#[test]
fn values_are_printed_as_broker_does() {
    for [bytes, _, printed] in corpus() {
        if lost_a_subnormal(&bytes) {
            continue;
        }
        let shown = binary::decode(&bytes).unwrap().to_string();
        // But for what must not reach a terminal, and for the ends of long strings.
        let printed = Excerpt::new(&printed).at_most(usize::MAX).to_string();
        match shown.split_once('\u{2026}') {
            Some((start, _)) => assert!(printed.starts_with(start), "{shown}"),
            None => assert_eq!(shown, printed),
        }
    }
}

#[test]
fn every_strict_prefix_of_the_binary_format_is_an_error() {
    for [bytes, ..] in corpus() {
        for length in 0..bytes.len() {
            binary::decode(&bytes[..length]).unwrap_err();
        }
    }
}

/// Each prefix is read from its start, which makes more than 2 GB.
#[test]
fn every_strict_prefix_of_json_is_an_error() {
    let corpus = corpus();
    let next = AtomicUsize::new(0);
    let read = AtomicUsize::new(0);
    let work = || {
        while let Some([_, text, _]) = corpus.get(next.fetch_add(1, Ordering::Relaxed)) {
            for length in 0..text.len() {
                let prefix = &text[..length];
                assert!(json::decode(prefix).is_err(), "{}", prefix.escape_ascii());
                read.fetch_add(length, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    assert_eq!(read.into_inner(), 2_264_728_674);
}

/// The first two end the process of Zeek 9.0's controller.
#[test]
fn what_ends_others_is_a_typed_error() {
    let value = |bytes: &[u8]| binary::decode(bytes).unwrap_err().kind;
    assert_eq!(value(&[0x0e, 1].repeat(100_000)), DecodeErrorKind::TooDeep);
    assert!(matches!(
        RoutingUpdate::decode(b"\x02\x06zeek/a\x06zeek"),
        Err(RoutingUpdateError::Malformed(_))
    ));
    let mut length = BytesMut::from(&b"\xff\xff\xff\xfe"[..]);
    for decoder in [FrameDecoder::handshake(), FrameDecoder::operation()] {
        let error = decoder.decode(&mut length.clone()).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLong { len: 0xffff_fffe, .. }),
            "{error}"
        );
    }
    length.clear();
    length.extend_from_slice(b"\x05\xfe\xff\xff\xff\x0f");
    assert_eq!(value(&length), DecodeErrorKind::LengthBeyondEnd(0xffff_fffe));
    assert_eq!(value(b"\x0c\x02\0\0"), DecodeErrorKind::Duplicate(Kind::Set));
    assert_eq!(
        value(b"\x0e\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0"),
        DecodeErrorKind::Length
    );
}

/// What a fuzzer once stopped at.
#[test]
fn findings_stay_fixed() {
    // A subnormal number, which CAF packs as zero.
    let finding = hex::decode("0d0104000000000000000100").unwrap();
    testing::value(&finding);
}
