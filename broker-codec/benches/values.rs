//! Values in all formats, on recorded messages and on Broker's corpus.
//!
//!     cargo bench -p broker-codec
//!
//! One iteration takes every message of the input once. docs/performance.md has the numbers, and Broker's own.

mod support;

use broker_codec::{
    Data, Envelope, binary, json,
    zeek::{Event, MessageView},
};
use bytes::{Bytes, BytesMut};
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use support::Input;

fn main() {
    divan::main();
}

fn values(input: Input) -> Vec<Data> {
    input
        .payloads()
        .iter()
        .map(|payload| binary::decode(payload).unwrap())
        .collect()
}

fn write(data: &Data) -> String {
    let mut text = String::new();
    json::encode(data, &mut text).unwrap();
    text
}

/// Runs `work` on each of `inputs`; the throughput is that of all, with `len` bytes each.
fn each<T, R>(bencher: Bencher<'_, '_>, inputs: &[T], len: impl Fn(&T) -> usize, work: impl Fn(&T) -> R) {
    bencher
        .counter(ItemsCount::new(inputs.len()))
        .counter(BytesCount::new(inputs.iter().map(len).sum::<usize>()))
        .bench_local(|| {
            for input in inputs {
                divan::black_box(work(divan::black_box(input)));
            }
        });
}

#[divan::bench(args = Input::ALL)]
fn decode(bencher: Bencher<'_, '_>, input: Input) {
    each(bencher, &input.payloads(), Bytes::len, |payload| {
        binary::decode(payload).unwrap()
    });
}

#[divan::bench(args = Input::ALL)]
fn encode(bencher: Bencher<'_, '_>, input: Input) {
    let len = |data: &Data| {
        let mut bytes = BytesMut::new();
        binary::encode(data, &mut bytes).unwrap();
        bytes.len()
    };
    each(bencher, &values(input), len, |data| {
        let mut bytes = BytesMut::with_capacity(256);
        binary::encode(data, &mut bytes).unwrap();
        bytes
    });
}

#[divan::bench(args = Input::ALL)]
fn json_write(bencher: Bencher<'_, '_>, input: Input) {
    each(bencher, &values(input), |data| write(data).len(), write);
}

#[divan::bench(args = Input::ALL)]
fn json_read(bencher: Bencher<'_, '_>, input: Input) {
    // Of the corpus what can be read: see tests/values.rs on duplicates.
    let texts: Vec<String> = values(input)
        .iter()
        .map(write)
        .filter(|text| json::decode(text.as_bytes()).is_ok())
        .collect();
    each(bencher, &texts, String::len, |text| {
        json::decode(text.as_bytes()).unwrap()
    });
}

/// What it takes to route a message: the topic of the envelope, the name of the event.
#[divan::bench]
fn topic_and_event_name(bencher: Bencher<'_, '_>) {
    each(bencher, &Input::Events.envelopes(), Bytes::len, |frame| {
        let envelope = Envelope::decode(frame.clone()).unwrap();
        let name = MessageView::new(&envelope.payload).and_then(|view| view.event_name().map(<[u8]>::len));
        (envelope.topic, name)
    });
}

/// What the controller does with a message: from bytes to an event with arguments of its own.
#[divan::bench]
fn event_from_bytes(bencher: Bencher<'_, '_>) {
    each(bencher, &Input::Events.payloads(), Bytes::len, |payload| {
        Event::from_data(binary::decode(payload).unwrap()).unwrap()
    });
}
