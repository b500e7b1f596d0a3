//! `broker-dump` on the captures.

mod damaged;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Write},
    path::PathBuf,
};

use broker_codec::{
    EndpointId, Envelope, EnvelopeKind, Topic, binary,
    data::{Data, is_hostile},
    zeek::Event,
};
use bytes::BytesMut;
use clap::Parser;
use expect_test::expect_file;
use serde_json::Value;
use tools::{
    dump::{
        Dump, Options, Record,
        cli::{Arguments, DumpError, run},
    },
    pcap::{Segment, Segments},
    tcp::Speaker,
};

use crate::support::{
    frames::{FRAMES, RECORDINGS, Side, bench_lines, frames},
    workspace_root,
};

fn capture_path(recording: &str) -> PathBuf {
    workspace_root()
        .join("fixtures")
        .join(recording)
        .join("capture.pcap")
}

fn segments(recording: &str) -> Vec<Segment> {
    let file = File::open(capture_path(recording)).unwrap();
    let segments = Segments::new(BufReader::new(file)).unwrap();
    segments.collect::<Result<_, _>>().unwrap()
}

/// What is shown of them, also as JSON.
fn records(segments: Vec<Segment>) -> Vec<(Record, Value)> {
    let mut dump = Dump::new(Options::default());
    let mut records: Vec<Record> = segments
        .into_iter()
        .flat_map(|segment| dump.push(segment))
        .collect();
    records.extend(dump.finish());
    let with_json = records.into_iter().map(|record| {
        let json = serde_json::to_value(&record).unwrap();
        (record, json)
    });
    with_json.collect()
}

fn arguments(words: &[&str]) -> Arguments {
    Arguments::try_parse_from([&["broker-dump"], words].concat()).unwrap()
}

fn dumped(words: &[&str], input: &[u8]) -> (Result<(), DumpError>, String, Vec<String>) {
    let mut output = Vec::new();
    let mut notes = Vec::new();
    let result = run(&arguments(words), input, &mut output, &mut notes);
    (result, String::from_utf8(output).unwrap(), notes)
}

#[test]
fn the_dump_of_a_capture_is_the_committed_one() {
    const RECORDING: &str = "zeek-9.0.0-rc1/failing-node";
    let capture = capture_path(RECORDING);
    for (name, words) in [
        ("failing-node.jsonl", &[][..]),
        (
            "failing-node-typed.jsonl",
            &["--values", "typed", "--port", "2150"],
        ),
        (
            "failing-node-compact.txt",
            &["--compact", "--event", "Management::"],
        ),
    ] {
        let path = workspace_root().join("tests/golden/broker-dump").join(name);
        let words = [words, &[capture.to_str().unwrap()]].concat();
        let (result, text, notes) = dumped(&words, b"");
        result.unwrap();
        assert_eq!(notes, Vec::<String>::new());
        expect_file![path].assert_eq(&text);
    }
}

/// Connection, port of its client, who speaks: the phase and the type of each message.
type Shape = BTreeMap<(usize, u16, Speaker), Vec<(Value, Value)>>;

fn shape(records: &[(Record, Value)]) -> Shape {
    let mut shape = Shape::new();
    for (record, json) in records {
        let place = record.place.unwrap();
        let client = match place.speaker {
            Speaker::Client => place.from.port(),
            Speaker::Server => place.to.port(),
        };
        if json["phase"] == "handshake" || json["phase"] == "operation" {
            shape
                .entry((place.connection, client, place.speaker))
                .or_default()
                .push((json["phase"].clone(), json["message"]["type"].clone()));
        }
    }
    shape
}

#[test]
fn every_frame_and_every_websocket_message_of_every_capture_is_shown() {
    let mut shown = 0;
    let mut websocket: BTreeMap<String, usize> = BTreeMap::new();
    for recording in RECORDINGS {
        let mut expected: BTreeMap<(u16, Speaker), Vec<Value>> = BTreeMap::new();
        for frame in frames(recording) {
            let speaker = match frame.from {
                Side::Client => Speaker::Client,
                Side::Server => Speaker::Server,
            };
            let kind = match &frame.message {
                Some(message) => message["type"].clone(),
                None => "data".into(),
            };
            expected
                .entry((frame.client_port, speaker))
                .or_default()
                .push(kind);
        }
        let records = records(segments(recording));
        let mut actual: BTreeMap<(u16, Speaker), Vec<Value>> = BTreeMap::new();
        for ((_, client, speaker), messages) in shape(&records) {
            shown += messages.len();
            let kinds = messages.into_iter().map(|(_, kind)| kind);
            actual.entry((client, speaker)).or_default().extend(kinds);
        }
        assert_eq!(actual, expected, "{recording}");
        for (_, json) in records.iter().filter(|(_, json)| json["phase"] == "websocket") {
            let message = &json["message"];
            assert_eq!(message.get("value"), None, "{recording}: {json} is no event");
            *websocket
                .entry(message["type"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
    }
    assert_eq!(shown, FRAMES);
    assert_eq!(
        (websocket.get("undecodable"), websocket.get("text")),
        (None, None)
    );
    assert_eq!(websocket["subscribe"], websocket["ack"]);
    assert_eq!(2 * websocket["subscribe"], websocket["http"]);
    assert!(
        websocket["data_message"] >= 2 * websocket["subscribe"] - 10,
        "{websocket:?}"
    );
}

#[test]
fn filters_leave_what_was_asked_for() {
    let path = capture_path("zeek-9.0.0-rc1/failing-node");
    let lines = |words: &[&str]| -> Vec<Value> {
        let (result, text, _) = dumped(&[words, &[path.to_str().unwrap()]].concat(), b"");
        result.unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let requests = lines(&["--event", "deploy_request", "-p", "2150"]);
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0]["message"]["event"],
        "Management::Agent::API::deploy_request"
    );
    let controls = lines(&["--topic", "zeek/supervisor"]);
    assert!(controls.len() > 3);
    for line in controls {
        let topic = line["message"]["topic"].as_str().unwrap();
        assert!(topic.starts_with("zeek/supervisor"));
    }
    let requests = lines(&["--epoch", "--event", "deploy_request"]);
    assert!(requests[0]["time"].as_f64().unwrap() > 1_700_000_000.0);
}

/// As in the log, where the same texts come from the same peers.
#[test]
fn what_endpoints_say_does_not_drive_the_terminal() {
    const HOSTILE: &str = "a\n\u{1b}[2J\u{202e}\u{200b}\u{2028}\u{e0041}\u{7f}\u{9b}";
    let event = Event {
        name: HOSTILE.into(),
        args: vec![Data::String(HOSTILE.into())],
        metadata: None,
    };
    let mut payload = BytesMut::new();
    binary::encode(&event.into_data(), &mut payload).unwrap();
    let envelope = Envelope {
        sender: EndpointId::NIL,
        receiver: EndpointId::NIL,
        kind: EnvelopeKind::Data,
        ttl: 1,
        topic: Topic::new(HOSTILE).unwrap(),
        payload: payload.freeze(),
    };
    let mut frame = BytesMut::new();
    envelope.encode_frame(&mut frame).unwrap();
    let frame = hex::encode(&frame);
    for style in ["plain", "typed"] {
        for form in [&["--compact"][..], &[]] {
            let words = [&["--hex", "--values", style], form].concat();
            let (result, text, _) = dumped(&words, frame.as_bytes());
            result.unwrap();
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(is_hostile), "{style} {form:?}: {line}");
            if form.is_empty() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["message"]["event"], HOSTILE);
            }
        }
    }
}

#[test]
fn frames_may_be_given_as_hexadecimal_digits() {
    let (result, text, _) = dumped(&["--hex"], bench_lines("management-events").join("\n").as_bytes());
    result.unwrap();
    assert_eq!(text.lines().count(), 583);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["phase"], "operation");
        assert!(line["message"]["event"].is_string(), "{line}");
        assert!(line.get("time").is_none());
    }
    let frames = "# with the length and without\n\
                  00000005 07 5a45454b\n\
                  07 5a 45 45 4b # a probe\n\n\
                  0c\n\
                  ff\n";
    let (result, text, _) = dumped(&["--hex", "-"], frames.as_bytes());
    result.unwrap();
    assert_eq!(
        text,
        "{\"phase\":\"handshake\",\"message\":{\"type\":\"probe\"}}\n\
         {\"phase\":\"handshake\",\"message\":{\"type\":\"probe\"}}\n\
         {\"phase\":\"handshake\",\"message\":{\"type\":\"originator_ack\"}}\n\
         {\"phase\":\"handshake\",\"message\":{\"type\":\"undecodable\",\"error\":\"invalid message type tag 255\",\"bytes\":\"ff\"}}\n"
    );
    let (result, text, _) = dumped(&["--hex"], b"0c\nxyz\n");
    assert_eq!(result.unwrap_err().to_string(), "line 2 is not hexadecimal");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_is_no_capture_is_an_error_that_says_so() {
    let error = |input: &[u8]| dumped(&[], input).0.unwrap_err().to_string();
    assert_eq!(error(b""), "not a packet capture in pcap or pcapng format");
    assert_eq!(
        error(b"{\"json\": true, \"more\": 1}"),
        "not a packet capture in pcap or pcapng format"
    );
    assert_eq!(
        error(b"\x0a\x0d\x0d\x0a\x1c\0\0\0"),
        "not a packet capture in pcap or pcapng format"
    );
    let (result, _, _) = dumped(&["/does/not/exist"], b"");
    assert_eq!(result.unwrap_err().to_string(), "cannot open the input");
    let capture = fs::read(capture_path("zeek-9.0.0-rc1/failing-node")).unwrap();
    let mut wifi = capture.clone();
    wifi[20] = 105;
    assert_eq!(error(&wifi), "link type IEEE802_11 is not supported");
    let (result, text, _) = dumped(&[], &capture[..2_000]);
    assert!(result.unwrap_err().to_string().ends_with("cannot be read"));
    assert!(text.lines().count() > 3, "what was readable is shown");
}

#[test]
fn wrong_usage_has_exit_status_2() {
    for words in [
        &["--no-such-option"][..],
        &["--port", "70000"],
        &["--values", "loud"],
        &["--hex", "--port", "1"],
    ] {
        let error = Arguments::try_parse_from([&["broker-dump"], words].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_dump() {
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let path = capture_path("zeek-9.0.0-rc1/failing-node");
    let result = run(
        &arguments(&[path.to_str().unwrap()]),
        io::empty(),
        Closed,
        &mut Vec::new(),
    );
    let Err(DumpError::Write(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
