//! Recordings that never happened: `replay` must fail, and name the place.

use std::{
    collections::{BTreeMap, BTreeSet},
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

use super::{folder, pcap, recordings::RECORDINGS};
use testkit::Dice;

use crate::support::program;

/// What can be made of a value, itself changed or a part of it.
type Change = fn(&Data) -> Vec<Data>;

/// What is done to an event that the role sends. `None` if that cannot be done to it.
type Edit = fn(&Capture, &[Spoken], &Spoken) -> Option<Edited>;

/// What becomes of an event.
enum Edited {
    /// It is not there.
    Dropped,
    /// It is there twice.
    Doubled,
    /// It has another topic or is another one.
    Other(ZeekString, Event),
    /// A value in it changes.
    Value(Change),
}

/// Each mutation, and whether the place that `replay` names must be a field.
const MUTATIONS: [(&str, bool, Edit); 10] = [
    ("two neighbours in a record swapped", true, |_, _, _| {
        Some(Edited::Value(swapped))
    }),
    ("an error changed", true, |_, _, _| {
        Some(Edited::Value(error_changed))
    }),
    ("an event dropped", false, |_, _, _| Some(Edited::Dropped)),
    // What may be repeated says nothing if it is doubled: our controller repeats a welcome that is not answered.
    ("an event doubled", false, |_, _, spoken| {
        (!spoken.event.name.ends_with(b"::agent_welcome_request")).then_some(Edited::Doubled)
    }),
    ("an id used again", true, id_reused),
    ("a number changed", true, |_, _, _| {
        Some(Edited::Value(number_changed))
    }),
    ("a boolean flipped", true, |_, _, _| Some(Edited::Value(flipped))),
    ("a topic changed", true, |_, _, Spoken { topic, event, .. }| {
        Some(Edited::Other(
            [topic.as_bytes(), b"x"].concat().into(),
            event.clone(),
        ))
    }),
    ("an event renamed", false, |_, _, Spoken { topic, event, .. }| {
        let name = [event.name.as_bytes(), b"x"].concat().into();
        Some(Edited::Other(
            topic.clone(),
            Event {
                name,
                ..event.clone()
            },
        ))
    }),
    ("an optional value unset", true, |_, _, _| {
        Some(Edited::Value(unset))
    }),
];

/// How many recordings are mutated: six by each mutation, or as many as `MUTATION_SEEDS` says.
const SEEDS: u64 = 60;

#[test]
fn every_mutation_of_a_recording_is_found_and_its_place_named() {
    let seeds = std::env::var("MUTATION_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut explained = BTreeMap::new();
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let (mutation, in_a_field, edit) = MUTATIONS[usize::try_from(seed).unwrap() % MUTATIONS.len()];
        // Not every recording has an error message or an agent.
        let (recording, role, capture, place) = std::iter::repeat_with(|| {
            let recording = RECORDINGS[below(&mut dice, RECORDINGS.len())];
            let role = ["controller", "agent"][below(&mut dice, 2)];
            let mut capture = read(&folder(recording).join("capture.pcap"));
            let known = explained
                .entry((recording, role))
                .or_insert_with(|| explained_events(recording, role));
            let place = mutate(&mut capture, edit, role, known, &mut dice)?;
            Some((recording, role, capture, place))
        })
        .take(1000)
        .find_map(|found| found)
        .expect("something to mutate");
        let context = format!(
            "seed {seed}: {mutation}, {} in {recording} as {role}",
            place.event
        );
        let (_scratch, path) = written(&capture, recording);
        let frame = frame_of(&path, &capture, place.message);
        let differences = failed(&path, role, &context);
        let context = format!("{context}, frame {frame}: {differences:#?}");
        check_place(&place, in_a_field, frame, &differences, &context);
    }
}

/// Time stands still in a replay; here nothing but time brings the answer about that the recording lacks.
#[test]
fn an_answer_that_the_recording_lacks_and_a_time_out_gives_is_found() {
    let (recording, role) = ("zeek-6.0.9/failing-node", "agent");
    let mut capture = read(&folder(recording).join("capture.pcap"));
    let name = "Management::Agent::API::deploy_response";
    let all = spoken(&capture, role, &BTreeSet::new());
    let answer = all.iter().find(|spoken| spoken.event.name == *name).unwrap();
    capture.messages.remove(answer.message);
    let (_scratch, path) = written(&capture, recording);
    let differences = failed(&path, role, name);
    assert_eq!(differences.len(), 1, "{differences:#?}");
    assert_eq!(differences[0]["event"], name);
    let got = differences[0]["got"].as_str().unwrap();
    assert!(got.contains("request timed out"), "{got}");
}

#[test]
fn a_recording_that_is_written_anew_passes() {
    for (recording, role) in [
        ("zeek-9.0.0-rc1/a2c", "controller"),
        ("zeek-9.0.0-rc1/c2a", "agent"),
    ] {
        let capture = read(&folder(recording).join("capture.pcap"));
        let (_scratch, path) = written(&capture, recording);
        let (status, text) = replay(&path, role);
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
    assert_eq!(command().output().unwrap().status.code(), Some(2));
}

/// Where something was done.
struct Place {
    /// The message; if it was dropped, the one that has its place now.
    message: usize,
    /// The number of its connection in the capture.
    connection: usize,
    /// The event, as it is called now.
    event: String,
    /// Whether that message itself is wrong now.
    exact: bool,
}

/// The first difference must be about what was done.
fn check_place(place: &Place, in_a_field: bool, frame: u64, differences: &[Value], context: &str) {
    let connection = format!("connection {},", place.connection + 1);
    let names_it = |difference: &Value| {
        let words = difference["connection"].as_str().unwrap_or_default();
        difference["event"] == place.event.as_str() && words.starts_with(&connection)
    };
    let first = &differences[0];
    if place.exact {
        assert!(names_it(first), "{context}");
        assert_eq!(first["frame"], frame, "{context}");
        let path = first["path"].as_str().unwrap_or_default();
        assert!(!in_a_field || !path.is_empty(), "{context}");
        let expected = first["expected"].as_str().unwrap_or_default();
        assert!(!in_a_field || first["got"] != expected, "{context}");
    } else {
        // What was sent and is not recorded was sent a little earlier than where it is missing, or is taken for the next of its kind.
        assert!(differences.iter().any(names_it), "{context}");
    }
}

/// The events that differ in the recording as it is: there, a mutation may be such a deviation.
fn explained_events(recording: &str, role: &str) -> BTreeSet<String> {
    let (_, text) = replay(&folder(recording).join("capture.pcap"), role);
    let reports = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let explained = reports.flat_map(|report| report["explained"].as_array().cloned().unwrap_or_default());
    explained
        .filter_map(|explained| explained["what"].as_str()?.split(' ').nth(1).map(str::to_owned))
        .collect()
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

fn read(path: &Path) -> Capture {
    Capture::read(fs::File::open(path).unwrap()).unwrap()
}

/// The command, built once.
fn command() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| program::build("tools", "replay")))
}

/// Runs the command; returns its exit status and output.
fn replay(path: &Path, role: &str) -> (Option<i32>, String) {
    let output = command()
        .arg(path)
        .args(["--role", role, "--json"])
        .output()
        .unwrap();
    // A recording may have no such role.
    let complains = !output.stderr.is_empty();
    assert_eq!(complains, output.status.code() == Some(2));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// What differs, of all agents if there are several.
fn failed(path: &Path, role: &str, context: &str) -> Vec<Value> {
    let (status, text) = replay(path, role);
    assert_eq!(status, Some(1), "{context}: {text}");
    let reports = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    reports
        .flat_map(|report| report["differences"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// The packet that a message is in, when the capture is written.
fn frame_of(path: &Path, capture: &Capture, message: usize) -> u64 {
    let skipped = capture.messages[..message]
        .iter()
        .filter(|message| matches!(message.content, Content::Control))
        .count();
    read(path).messages[message - skipped].frame
}

/// An event that the role sends.
#[derive(Clone)]
struct Spoken {
    message: usize,
    topic: ZeekString,
    event: Event,
}

/// Every event that the role sends, but those that are passed over.
fn spoken(capture: &Capture, role: &str, passed_over: &BTreeSet<String>) -> Vec<Spoken> {
    let messages = capture.messages.iter().enumerate();
    messages
        .filter_map(|(number, message)| {
            let (topic, event) = event_of(message)?;
            let name = event.name.to_string();
            let of_role = match (&message.content, role) {
                (Content::Text(_), role) => role == "controller" && message.from == Speaker::Server,
                (_, "controller") => {
                    name.contains("Agent::API::") && name.ends_with("_request")
                        || name.contains("Controller::API::") && name.ends_with("_response")
                }
                (_, _) => {
                    name.starts_with("SupervisorControl::") && name.ends_with("_request")
                        || name.contains("Agent::API::") && name.ends_with("_response")
                }
            };
            (of_role && !passed_over.contains(&name)).then_some(Spoken {
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

/// Mutates one of the events of the role.
fn mutate(
    capture: &mut Capture,
    edit: Edit,
    role: &str,
    passed_over: &BTreeSet<String>,
    dice: &mut Dice,
) -> Option<Place> {
    let all = spoken(capture, role, passed_over);
    let start = below(dice, all.len().max(1));
    for chosen in all.iter().cycle().skip(start).take(all.len()) {
        let Some(edited) = edit(capture, &all, chosen) else {
            continue;
        };
        let mut place = Place {
            message: chosen.message,
            connection: capture.messages[chosen.message].connection,
            event: chosen.event.name.to_string(),
            exact: false,
        };
        let (topic, event) = match edited {
            Edited::Dropped => {
                capture.messages.remove(chosen.message);
                return Some(place);
            }
            Edited::Doubled => {
                let again = capture.messages[chosen.message].clone();
                place.message += 1;
                capture.messages.insert(place.message, again);
                return Some(place);
            }
            Edited::Other(topic, event) => (topic, event),
            Edited::Value(change) => {
                let mut variants = variants(&Data::Vector(chosen.event.args.clone()), change);
                if variants.is_empty() {
                    continue;
                }
                let Data::Vector(args) = variants.swap_remove(below(dice, variants.len())) else {
                    unreachable!("it was a vector");
                };
                let event = chosen.event.clone();
                (chosen.topic.clone(), Event { args, ..event })
            }
        };
        place.event = event.name.to_string();
        place.exact = true;
        write(&mut capture.messages[chosen.message], &topic, event);
        return Some(place);
    }
    None
}

fn below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(limit).unwrap())).unwrap()
}

/// A request with the id of an earlier one of the same process: one that was started again does not know what it asked before.
fn id_reused(capture: &Capture, all: &[Spoken], spoken: &Spoken) -> Option<Edited> {
    let connection = |message: usize| capture.messages[message].connection;
    let earlier = all.iter().find(|other| {
        other.message < spoken.message
            && connection(other.message) == connection(spoken.message)
            && other.event.name == spoken.event.name
            && other.event.args[0] != spoken.event.args[0]
    });
    let earlier = earlier.filter(|_| spoken.event.name.ends_with(b"_request"))?;
    let mut event = spoken.event.clone();
    event.args[0] = earlier.event.args[0].clone();
    Some(Edited::Other(spoken.topic.clone(), event))
}

/// Everything that a change in one place makes of a value.
fn variants(data: &Data, change: Change) -> Vec<Data> {
    let mut found = change(data);
    let elements = match data {
        Data::Vector(elements) => elements.clone(),
        Data::Set(elements) => elements.iter().cloned().collect(),
        _ => return found,
    };
    for (index, element) in elements.iter().enumerate() {
        for variant in variants(element, change) {
            let mut elements = elements.clone();
            elements[index] = variant;
            found.push(match data {
                Data::Set(_) => Data::Set(elements.into_iter().collect()),
                _ => Data::Vector(elements),
            });
        }
    }
    found
}

fn swapped(data: &Data) -> Vec<Data> {
    let Data::Vector(fields) = data else {
        return Vec::new();
    };
    let swap = |index: usize| {
        let pair = [&fields[index - 1], &fields[index]];
        // The order of results does not count.
        let can_swap =
            pair[0].kind() == pair[1].kind() && pair[0] != pair[1] && !matches!(pair[0], Data::Vector(_));
        can_swap.then(|| {
            let mut fields = fields.clone();
            fields.swap(index - 1, index);
            Data::Vector(fields)
        })
    };
    (1..fields.len()).filter_map(swap).collect()
}

fn error_changed(data: &Data) -> Vec<Data> {
    match data {
        Data::String(text) if text.contains(&b' ') => {
            vec![Data::String([text.as_bytes(), b"!"].concat().into())]
        }
        _ => Vec::new(),
    }
}

fn number_changed(data: &Data) -> Vec<Data> {
    match data {
        Data::Count(number) => vec![Data::Count(number + 1)],
        Data::Integer(number) => vec![Data::Integer(number + 1)],
        Data::Port(port) => vec![Data::Port(Port {
            number: port.number ^ 1,
            ..*port
        })],
        _ => Vec::new(),
    }
}

fn flipped(data: &Data) -> Vec<Data> {
    match data {
        Data::Boolean(value) => vec![Data::Boolean(!value)],
        _ => Vec::new(),
    }
}

fn unset(data: &Data) -> Vec<Data> {
    match data {
        Data::EnumValue(_) | Data::Port(_) => vec![Data::None],
        _ => Vec::new(),
    }
}
