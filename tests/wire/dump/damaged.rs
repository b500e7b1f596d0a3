//! Captures that lack something, or have it twice or out of order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use tools::{dump::Record, pcap::Segment};

use super::{Shape, records, segments, shape};

fn count_of(records: &[(Record, Value)], kind: &str) -> usize {
    let kinds = records.iter().map(|(_, json)| &json["message"]["type"]);
    kinds.filter(|shown| *shown == kind).count()
}

#[test]
fn encrypted_connections_are_named() {
    let mut segments = segments("zeek-9.0.0-rc1/failing-node");
    // The first bytes of a connection become those of a TLS client.
    let first = segments
        .iter_mut()
        .find(|segment| !segment.payload.is_empty())
        .unwrap();
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.resize(first.payload.len(), 0);
    first.payload = hello.into();
    let records = records(segments);
    let tls = &records[1].1;
    assert_eq!(
        (&tls["phase"], &tls["message"]["type"]),
        (&"tls".into(), &"tls".into())
    );
    let connection = records
        .iter()
        .filter(|(record, _)| record.place.unwrap().connection == 1);
    assert!(connection.count() <= 4, "nothing is shown of what is encrypted");
}

#[test]
fn a_capture_that_begins_in_the_middle_is_shown_from_the_next_frame_on() {
    let segments = segments("zeek-9.0.0-rc1/two-instances");
    let whole = records(segments.clone());
    let half = records(segments[segments.len() / 2..].to_vec());
    let operation = |records: &[(Record, Value)]| {
        let shape = shape(records);
        shape
            .values()
            .flatten()
            .filter(|(phase, _)| phase == "operation")
            .count()
    };
    assert!(operation(&half) * 3 > operation(&whole));
    assert_eq!(
        (count_of(&half, "undecodable"), count_of(&half, "malformed")),
        (0, 0)
    );
}

#[test]
fn frames_behind_a_gap_are_found_again() {
    let mut segments = segments("zeek-9.0.0-rc1/two-instances");
    let count = |shape: Shape| shape.values().map(Vec::len).sum::<usize>();
    let whole = count(shape(&records(segments.clone())));
    // Of the connection that says most, one segment in the middle is missing.
    let mut large: BTreeMap<_, usize> = BTreeMap::new();
    for segment in segments.iter().filter(|segment| segment.payload.len() > 200) {
        *large.entry((segment.source, segment.destination)).or_default() += 1;
    }
    let (busiest, _) = large.into_iter().max_by_key(|(_, count)| *count).unwrap();
    let places: Vec<usize> = (0..segments.len())
        .filter(|at| {
            (segments[*at].source, segments[*at].destination) == busiest && !segments[*at].payload.is_empty()
        })
        .collect();
    let missing = segments.remove(places[places.len() / 2]);
    let records = records(segments);
    let gaps: Vec<_> = records
        .iter()
        .filter(|(_, json)| json["message"]["type"] == "gap")
        .map(|(_, json)| &json["message"]["bytes"])
        .collect();
    assert_eq!(gaps, [missing.payload.len()]);
    let rest = count(shape(&records));
    assert!(rest < whole && rest + 12 > whole, "{rest} of {whole}");
    assert_eq!(count_of(&records, "undecodable"), 0);
}

/// What begins with the known sender is an envelope, also where a handshake was expected.
#[test]
fn frames_behind_a_damaged_handshake_are_found_again() {
    let mut segments = segments("zeek-9.0.0-rc1/failing-node");
    let operation = |records: &[(Record, Value)]| {
        let phases = records.iter().map(|(_, json)| &json["phase"]);
        phases.filter(|phase| **phase == "operation").count()
    };
    let whole = operation(&records(segments.clone()));
    // The length of the last message of a handshake.
    let mut payloads = segments.iter_mut().map(|segment| &mut segment.payload);
    let ack = payloads.find(|payload| ***payload == *b"\0\0\0\x01\x0c");
    *ack.unwrap() = b"\xff\0\0\x01\x0c"[..].into();
    let records = records(segments);
    let found = (count_of(&records, "undecodable"), count_of(&records, "skipped"));
    assert_eq!(found, (1, 1));
    assert_eq!(operation(&records), whole + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The network may send segments twice, late, or in other pieces.
    #[test]
    fn order_and_number_of_segments_do_not_matter(
        seed in proptest::collection::vec(any::<u8>(), 512),
    ) {
        let segments = segments("zeek-9.0.0-rc1/failing-node");
        let whole = shape(&records(segments.clone()));
        let mut disturbed: Vec<Segment> = Vec::new();
        for (segment, luck) in segments.into_iter().zip(seed.iter().cycle()) {
            let opens = segment.syn || segment.rst;
            match luck % 8 {
                0 if !opens => disturbed.extend([segment.clone(), segment]),
                1 if !opens && segment.payload.len() > 1 => {
                    let middle = segment.payload.len() / 2;
                    let mut first = segment.clone();
                    first.payload.truncate(middle + 1);
                    first.fin = false;
                    let mut second = segment;
                    second.payload = second.payload.split_off(middle);
                    second.sequence = second.sequence.wrapping_add(u32::try_from(middle).unwrap());
                    disturbed.extend([second, first]);
                }
                2 if !opens && disturbed.last().is_some_and(|last| !last.syn) => {
                    let last = disturbed.len() - 1;
                    disturbed.insert(last, segment);
                }
                _ => disturbed.push(segment),
            }
        }
        prop_assert_eq!(shape(&records(disturbed)), whole);
    }
}
