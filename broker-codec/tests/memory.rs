//! Whatever the input, decoding takes memory in proportion to it, and no panic.
//!
//! A program of its own, with a single test, because it counts what the whole program allocates.

mod support;

use std::alloc::System;

use broker_codec::{
    Data, binary, json,
    testing::{self, Mutator},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What may be allocated beyond the size of a value for each byte of the input.
const ALLOWANCE: usize = 64 * 1024;

/// How many inputs are made of the corpus, half of them binary, half JSON.
const INPUTS: usize = 1_000_000;

/// Everything that is allocated counts, even if it is given back at once: no less than the peak.
fn check<T>(input: &[u8], decode: impl FnOnce(&[u8]) -> T) {
    let region = Region::new(ALLOCATOR);
    let decoded = decode(input);
    let allocated = region.change().bytes_allocated;
    drop(decoded);
    let limit = size_of::<Data>() * input.len() + ALLOWANCE;
    assert!(
        allocated <= limit,
        "{allocated} bytes for {} bytes: {}",
        input.len(),
        hex::encode(input)
    );
}

fn check_binary(input: &[u8]) {
    check(input, binary::decode);
}

#[test]
fn memory_is_in_proportion_to_the_input() {
    for input in greedy_inputs() {
        check_binary(&input);
    }

    let corpus = support::corpus();
    let binary: Vec<_> = corpus.iter().map(|[binary, ..]| binary).collect();
    let json: Vec<_> = corpus.iter().map(|[_, json, _]| json).collect();
    let mut mutator = Mutator::new(1);
    for _ in 0..INPUTS / 2 {
        check_binary(&mutator.input(&binary));
        check(&mutator.input(&json), json::decode);
    }
    for _ in 0..INPUTS / 100 {
        testing::value(&mutator.input(&binary));
        testing::json(&mutator.input(&json));
    }
}

/// Inputs that claim much or need the most for what they are.
fn greedy_inputs() -> Vec<Vec<u8>> {
    let varbyte = |number: u32| {
        let mut bytes = bytes::BytesMut::new();
        caf_bincode_compat::varbyte::encode(number, &mut bytes);
        bytes.to_vec()
    };
    let list = |tag: u8, len: u32, content: Vec<u8>| [vec![tag], varbyte(len), content].concat();
    let counts = |numbers: std::ops::Range<u64>| {
        let value = |number: u64| [&[2][..], &number.to_be_bytes()].concat();
        numbers.rev().flat_map(value).collect::<Vec<_>>()
    };
    vec![
        // As many values as there are bytes.
        list(0x0e, 1_000_000, vec![0; 1_000_000]),
        // A count that fits what is left, at every level, and no elements.
        (0..60)
            .rev()
            .fold(vec![0; 100_000], |inner, _| list(0x0e, 90_000, inner)),
        list(0x0e, 50_000, [0x0e, 0].repeat(50_000)),
        list(0x0e, u32::MAX, vec![0; 1000]),
        list(0x05, u32::MAX - 1, vec![0; 1000]),
        // Sets and tables that are not in order: the order that they came in is kept.
        list(0x0c, 50_000, counts(0..50_000)),
        list(0x0d, 25_000, counts(0..50_000)),
        // As short as they can be: {T, nil} and {T -> nil, nil -> nil}, also where their order is needed for another one.
        list(0x0e, 50_000, [0x0c, 2, 1, 1, 0].repeat(50_000)),
        list(0x0e, 50_000, [0x0d, 2, 1, 1, 0, 0, 0].repeat(50_000)),
        list(0x0c, 1, list(0x0e, 50_000, [0x0c, 2, 1, 1, 0].repeat(50_000))),
        list(
            0x0c,
            1,
            list(0x0e, 50_000, [0x0d, 2, 1, 1, 0, 0, 0].repeat(50_000)),
        ),
        disordered(14),
    ]
}

/// Sets of two sets each, down to two booleans, all in the wrong order.
fn disordered(depth: usize) -> Vec<u8> {
    fn set(depth: usize, number: usize, out: &mut Vec<u8>) {
        out.extend([0x0c, 2]);
        if depth == 0 {
            // Different for each number.
            out.push(2);
            out.extend(number.to_be_bytes());
            out.extend([1, 0]);
        } else {
            set(depth - 1, 2 * number + 1, out);
            set(depth - 1, 2 * number, out);
        }
    }
    let mut bytes = Vec::new();
    set(depth, 1, &mut bytes);
    bytes
}
