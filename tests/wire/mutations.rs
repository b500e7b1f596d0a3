//! The bodies of the fuzz targets, driven by captured frames and what becomes of them when they are changed.
//!
//! `WIRE_MUTATIONS` sets how many inputs each body gets; the seed is fixed.

use std::panic;

use broker_codec::testing::{self, Mutator, delivery};
use bytes::{BufMut, BytesMut};

use crate::support::frames::{Phase, bench_lines, frames};

/// How many inputs each body gets in a usual run.
const INPUTS: usize = 20_000;

fn inputs() -> usize {
    std::env::var("WIRE_MUTATIONS").map_or(INPUTS, |number| number.parse().expect("a number"))
}

/// Frames of each phase, not too long for many mutations.
fn corpus(phase: Phase) -> Vec<Vec<u8>> {
    let recorded = [
        "zeek-9.0.0-rc1/two-instances",
        "mixed/mixed-9-6",
        "zeek-6.0.9/failing-node",
    ];
    let mut corpus: Vec<Vec<u8>> = recorded
        .iter()
        .flat_map(|recording| frames(recording))
        .filter(|frame| frame.phase == phase && frame.bytes.len() < 700)
        .map(|frame| frame.bytes.clone())
        .collect();
    corpus.sort_unstable();
    corpus.dedup();
    corpus
}

fn drive(corpus: &[Vec<u8>], body: fn(&[u8])) {
    assert!(
        corpus.len() > 20,
        "{} inputs are too few to start from",
        corpus.len()
    );
    for input in corpus {
        give(input, body);
    }
    let mut mutator = Mutator::new(0x5a45_454b);
    for _ in 0..inputs() {
        give(&mutator.input(corpus), body);
    }
}

/// Names the input that a body does not survive.
fn give<T>(input: &[u8], body: fn(&[u8]) -> T) -> T {
    panic::catch_unwind(|| body(input)).unwrap_or_else(|reason| {
        #[expect(clippy::print_stderr, reason = "shown if the test fails")]
        {
            eprintln!("the input is {}", hex::encode(input));
        }
        panic::resume_unwind(reason)
    })
}

#[test]
fn streams_of_frames_survive_mutation() {
    let streams: Vec<Vec<u8>> = corpus(Phase::Handshake)
        .chunks(3)
        .map(|contents| {
            let mut stream = BytesMut::new();
            for content in contents {
                stream.put_u32(u32::try_from(content.len()).unwrap());
                stream.put_slice(content);
            }
            stream.to_vec()
        })
        .collect();
    drive(&streams, testing::frame);
}

#[test]
fn envelopes_survive_mutation() {
    drive(&corpus(Phase::Operation), testing::envelope);
}

#[test]
fn benchmark_inputs_are_envelopes() {
    for name in ["management-events", "log-batches"] {
        for line in bench_lines(name) {
            give(&hex::decode(line).unwrap(), testing::envelope);
        }
    }
}

/// What the script of a handshake consists of, see `testing::handshakes`.
fn handshake_scripts() -> Vec<Vec<u8>> {
    let messages = corpus(Phase::Handshake);
    let mut scripts = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        // The ids of others' hellos are replaced by ones that are smaller and larger than the machine's own.
        let mut message = message.clone();
        if matches!(message.first(), Some(6 | 8)) && message.len() > 20 {
            message[5..21].fill(if number % 2 == 0 { 0x11 } else { 0xee });
        }
        scripts.push(delivery(u8::try_from(number % 4).unwrap(), &message));
    }
    // Complete handshakes: open, identify, exchange filters.
    let ack = |conn: u8| delivery(conn, &[0x0c, 0]);
    let filter = |tag: u8, conn: u8| delivery(conn, &[tag, 0]);
    let id = |tag: u8, byte: u8, conn: u8| {
        let message = [&[tag], &b"ZEEK"[..], &[byte; 16], &[1, 1, 0]].concat();
        delivery(conn, &message)
    };
    for conn in 0..4 {
        scripts.push([vec![1, conn], id(6, 0xee, conn), filter(0x0b, conn)].concat());
        scripts.push([vec![0, conn], id(8, 0x11, conn), filter(0x0a, conn), ack(conn)].concat());
        scripts.push([vec![1, conn], id(6, 0x11, conn), id(8, 0x11, conn)].concat());
        scripts.push(vec![2, conn]);
        scripts.push(vec![3, 11]);
        scripts.push(vec![4, conn]);
    }
    scripts
}

#[test]
fn handshakes_survive_any_order_of_anything() {
    let scripts = handshake_scripts();
    let mut mutator = Mutator::new(0x5a45_454b);
    let mut peerings = 0;
    for _ in 0..inputs() {
        let mut script = Vec::new();
        for _ in 0..=mutator.below(8) {
            // Mostly whole operations, some of them changed.
            if mutator.below(8) == 0 {
                script.extend(mutator.input(&scripts));
            } else {
                script.extend_from_slice(&scripts[mutator.below(scripts.len())]);
            }
        }
        peerings += give(&script, testing::handshakes);
    }
    assert!(peerings > inputs() / 8, "only {peerings} peerings were made");
}

/// Found by mutation: the format can express reals next to zero which it writes as zero, so that a set may have them twice.
#[test]
fn reals_that_are_written_as_zero_survive() {
    testing::value(b"\x04\0\0\0\0\0\0\0\x01");
    testing::value(b"\x0c\x02\x04\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x01");
}
