//! Recordings that never happened: `replay` must fail, and name the place.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use broker_codec::{
    Data, Topic, binary,
    data::{Port, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tempfile::TempDir;
use tools::{
    replay::{
        Capture,
        capture::{Content, Message},
    },
    tcp::Speaker,
};

use super::{folder, pcap};
use crate::support::{dice::Dice, program};

/// What is done to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// Two neighbours in a record change places.
    FieldsSwapped,
    /// An error message, or another text with a space in it, says something else.
    ErrorChanged,
    /// An event is not there.
    EventDropped,
    /// An event is there twice.
    EventDoubled,
    /// A request has the id of an earlier one.
    IdReused,
    /// A number or a port is another one.
    NumberChanged,
    /// True is false, or the reverse.
    BoolFlipped,
    /// The topic is another one.
    TopicChanged,
    /// The event is called otherwise.
    EventRenamed,
    /// An optional value is not there.
    ValueUnset,
}

const MUTATIONS: [Mutation; 10] = [
    Mutation::FieldsSwapped,
    Mutation::ErrorChanged,
    Mutation::EventDropped,
    Mutation::EventDoubled,
    Mutation::IdReused,
    Mutation::NumberChanged,
    Mutation::BoolFlipped,
    Mutation::TopicChanged,
    Mutation::EventRenamed,
    Mutation::ValueUnset,
];

const SEEDS: u64 = 20;

/// Recordings and roles without waivers for what is mutated.
const SUBJECTS: [(&str, &str); 4] = [
    ("zeek-9.0.0-rc1/a2c", "controller"),
    ("zeek-9.0.0-rc1/restart-controller", "agent"),
    ("zeek-9.0.0-rc1/all-in-one", "controller"),
    ("zeek-9.0.0-rc1/c2a", "agent"),
];

#[test]
fn every_mutation_of_a_recording_is_found_and_its_place_named() {
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let mutation = MUTATIONS[usize::try_from(seed).unwrap() % MUTATIONS.len()];
        // Not every recording has an error message.
        let start = usize::try_from(dice.below(4)).unwrap();
        let (recording, role, capture, place) = (0..SUBJECTS.len())
            .find_map(|offset| {
                let (recording, role) = SUBJECTS[(start + offset) % SUBJECTS.len()];
                let mut capture = read(&folder(recording).join("capture.pcap"));
                let place = mutate(&mut capture, mutation, role, &mut dice)?;
                Some((recording, role, capture, place))
            })
            .expect("something to mutate");
        let context = format!("seed {seed}: {mutation:?} in {recording} as {role}");
        let (_scratch, path) = written(&capture, recording);
        let frame = frame_of(&path, &capture, place.message);
        let report = failed(&path, recording, role, &context);
        let first = &report["differences"][0];
        let context = format!("{context}, {} in frame {frame}: {first:#}", place.event);
        if place.exact {
            assert_eq!(first["frame"], frame, "{context}");
            assert!(
                first["event"] == place.event.as_str() || mutation == Mutation::EventRenamed,
                "{context}"
            );
        } else {
            // What was sent and is not recorded was sent a little earlier than where it is missing.
            let differences = report["differences"].as_array().unwrap();
            let named = differences
                .iter()
                .any(|difference| difference["event"] == place.event.as_str());
            assert!(named, "{context}");
        }
        assert!(
            first["connection"]
                .as_str()
                .is_some_and(|connection| connection.contains("connection ")),
            "{context}"
        );
    }
}

#[test]
fn a_recording_that_is_written_anew_passes() {
    for (recording, role) in [
        ("zeek-9.0.0-rc1/a2c", "controller"),
        ("zeek-9.0.0-rc1/c2a", "agent"),
    ] {
        let capture = read(&folder(recording).join("capture.pcap"));
        let (_scratch, path) = written(&capture, recording);
        let (status, text) = replay(&path, recording, role);
        assert_eq!(status, Some(0), "{text}");
    }
}

#[test]
fn a_capture_that_is_cut_off_or_not_there_ends_with_2_and_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = fs::read(folder("zeek-9.0.0-rc1/c2a").join("capture.pcap")).unwrap();
    let cut_off = scratch.path().join("capture.pcap");
    fs::write(&cut_off, &whole[..whole.len() / 2]).unwrap();
    for (path, reason) in [
        (cut_off.as_path(), "packet"),
        (Path::new("/nonexistent"), "cannot read /nonexistent"),
    ] {
        let output = command().arg(path).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("replay: ") && error.contains(reason), "{error}");
        assert_eq!(output.stdout, b"");
    }
    let usage = command().output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

/// Writes a capture, with what lies beside the recording that it was.
fn written(capture: &Capture, recording: &str) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("capture.pcap");
    fs::write(&path, pcap::written(capture)).unwrap();
    let beside = folder(recording).join("scenario.json");
    fs::copy(beside, scratch.path().join("scenario.json")).unwrap();
    (scratch, path)
}

/// Where something was done.
struct Place {
    /// The message; if it was dropped, the one that has its place now.
    message: usize,
    /// The event.
    event: String,
    /// Whether that message itself is wrong now.
    exact: bool,
}

fn read(path: &Path) -> Capture {
    Capture::read(fs::File::open(path).unwrap()).unwrap()
}

/// The command, built once.
fn command() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| program::build("tools", "replay")))
}

/// Runs the command; returns its exit status and output.
fn replay(path: &Path, name: &str, role: &str) -> (Option<i32>, String) {
    let output = command()
        .arg(path)
        .args(["--role", role, "--name", name, "--json"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn failed(path: &Path, name: &str, role: &str, context: &str) -> Value {
    let (status, text) = replay(path, name, role);
    assert_eq!(status, Some(1), "{context}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The packet that a message is in, when the capture is written.
fn frame_of(path: &Path, capture: &Capture, message: usize) -> u64 {
    let skipped = capture.messages[..message]
        .iter()
        .filter(|message| matches!(message.content, Content::Control))
        .count();
    read(path).messages[message - skipped].frame
}

/// An event that the role sends, and how to write it.
#[derive(Clone)]
struct Spoken {
    message: usize,
    topic: ZeekString,
    event: Event,
}

/// Every event that the role sends.
fn spoken(capture: &Capture, role: &str) -> Vec<Spoken> {
    let messages = capture.messages.iter().enumerate();
    messages
        .filter_map(|(number, message)| {
            let (topic, event) = event_of(message)?;
            let name = event.name.to_string();
            let of_role = match (&message.content, role) {
                (Content::Text(_), role) => role == "controller" && message.from == Speaker::Server,
                (_, "controller") => name.contains("Agent::API::") && name.ends_with("_request"),
                (_, _) => {
                    name.starts_with("SupervisorControl::") && name.ends_with("_request")
                        || name.contains("Agent::API::") && name.ends_with("_response")
                }
            };
            of_role.then_some(Spoken {
                message: number,
                topic,
                event,
            })
        })
        .collect()
}

fn event_of(message: &Message) -> Option<(ZeekString, Event)> {
    match &message.content {
        Content::Envelope(envelope) => {
            let data = binary::decode(&envelope.payload).ok()?;
            Some((envelope.topic.as_bytes().into(), Event::from_data(data).ok()?))
        }
        Content::Text(text) => {
            let message = DataMessage::decode(text).ok()?;
            Some((message.topic, Event::from_data(message.data).ok()?))
        }
        _ => None,
    }
}

/// Puts an event in the place of the one in a message.
fn write(message: &mut Message, topic: &ZeekString, event: Event) {
    match &mut message.content {
        Content::Envelope(envelope) => {
            let mut payload = BytesMut::new();
            binary::encode(&event.into_data(), &mut payload).unwrap();
            envelope.payload = payload.freeze();
            envelope.topic = Topic::new(topic).unwrap();
        }
        Content::Text(text) => {
            let message = DataMessage {
                topic: topic.clone(),
                data: event.into_data(),
            };
            *text = Bytes::from(message.encode().unwrap());
        }
        other => panic!("{other:?} holds no event"),
    }
}

fn mutate(capture: &mut Capture, mutation: Mutation, role: &str, dice: &mut Dice) -> Option<Place> {
    let all = spoken(capture, role);
    let start = usize::try_from(dice.below(u64::try_from(all.len()).unwrap())).unwrap();
    for offset in 0..all.len() {
        let Spoken {
            message,
            topic,
            event,
        } = all[(start + offset) % all.len()].clone();
        let mut place = Place {
            message,
            event: event.name.to_string(),
            exact: true,
        };
        let mut event = event;
        let mut topic = topic;
        match mutation {
            Mutation::EventDropped => {
                capture.messages.remove(message);
                place.exact = false;
                return Some(place);
            }
            Mutation::EventDoubled => {
                let again = capture.messages[message].clone();
                capture.messages.insert(message + 1, again);
                place.message += 1;
                // Where the next event of this name would be due, it may be taken for that one.
                place.exact = false;
                return Some(place);
            }
            Mutation::IdReused => {
                let earlier = all
                    .iter()
                    .find(|other| {
                        other.message < message
                            && other.event.name == event.name
                            && other.event.args[0] != event.args[0]
                    })
                    .filter(|_| event.name.ends_with(b"_request"));
                let Some(earlier) = earlier else {
                    continue;
                };
                event.args[0] = earlier.event.args[0].clone();
            }
            Mutation::TopicChanged => topic = [topic.as_bytes(), b"x"].concat().into(),
            Mutation::EventRenamed => event.name = [event.name.as_bytes(), b"x"].concat().into(),
            _ => {
                let mut args = Data::Vector(event.args.clone());
                let count = changes(&mut args, mutation, None);
                if count == 0 {
                    continue;
                }
                let chosen = dice.below(u64::try_from(count).unwrap());
                changes(&mut args, mutation, Some(usize::try_from(chosen).unwrap()));
                let Data::Vector(args) = args else {
                    unreachable!("it was a vector");
                };
                event.args = args;
            }
        }
        write(&mut capture.messages[message], &topic, event);
        return Some(place);
    }
    None
}

/// How many values could be changed like this; the chosen one is.
fn changes(data: &mut Data, mutation: Mutation, chosen: Option<usize>) -> usize {
    let mut seen = 0;
    visit(data, mutation, chosen, &mut seen);
    seen
}

fn visit(data: &mut Data, mutation: Mutation, chosen: Option<usize>, seen: &mut usize) {
    let mut here = || {
        *seen += 1;
        chosen == Some(*seen - 1)
    };
    match (mutation, &mut *data) {
        (Mutation::FieldsSwapped, Data::Vector(fields)) => {
            for index in 1..fields.len() {
                let pair = [&fields[index - 1], &fields[index]];
                let swappable = pair[0].kind() == pair[1].kind()
                    && pair[0] != pair[1]
                    // The order of results does not count.
                    && !matches!(pair[0], Data::Vector(_));
                if swappable && here() {
                    fields.swap(index - 1, index);
                }
            }
        }
        (mutation, data) => {
            if let Some(changed) = changed(mutation, data)
                && here()
            {
                *data = changed;
            }
        }
    }
    match data {
        Data::Vector(elements) => {
            for element in elements {
                visit(element, mutation, chosen, seen);
            }
        }
        Data::Set(elements) => {
            let changed = elements.clone().into_iter().map(|mut element| {
                visit(&mut element, mutation, chosen, seen);
                element
            });
            *elements = changed.collect();
        }
        _ => {}
    }
}

/// What a mutation makes of a value, if it is one for it.
fn changed(mutation: Mutation, data: &Data) -> Option<Data> {
    Some(match (mutation, data) {
        (Mutation::ErrorChanged, Data::String(text)) if text.contains(&b' ') => {
            Data::String([text.as_bytes(), b"!"].concat().into())
        }
        (Mutation::NumberChanged, Data::Count(number)) => Data::Count(number + 1),
        (Mutation::NumberChanged, Data::Integer(number)) => Data::Integer(number + 1),
        (Mutation::NumberChanged, Data::Port(port)) => Data::Port(Port {
            number: port.number ^ 1,
            ..*port
        }),
        (Mutation::BoolFlipped, Data::Boolean(value)) => Data::Boolean(!value),
        (Mutation::ValueUnset, Data::EnumValue(_) | Data::Port(_)) => Data::None,
        _ => return None,
    })
}
