//! Recordings that never happened: `replay` must fail, and name the place.

use std::{
    collections::BTreeSet,
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
        waivers,
    },
    tcp::Speaker,
};

use super::{folder, pcap};
use crate::support::{dice::Dice, frames::RECORDINGS, program};

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

/// How many recordings are mutated: six by each mutation, or as many as `MUTATION_SEEDS` says.
const SEEDS: u64 = 60;

/// Every recording in every role that it has.
fn subjects() -> Vec<(&'static str, &'static str)> {
    let has_agent = |recording: &str| {
        let capture = read(&folder(recording).join("capture.pcap"));
        tools::replay::roles(&capture).len() > 1
    };
    RECORDINGS
        .iter()
        .flat_map(|recording| {
            let roles: &[&str] = if has_agent(recording) {
                &["controller", "agent"]
            } else {
                &["controller"]
            };
            roles.iter().map(|role| (*recording, *role))
        })
        .collect()
}

#[test]
fn every_mutation_of_a_recording_is_found_and_its_place_named() {
    let seeds = std::env::var("MUTATION_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let subjects = subjects();
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let mutation = MUTATIONS[usize::try_from(seed).unwrap() % MUTATIONS.len()];
        // Not every recording has an error message.
        let start = usize::try_from(dice.below(u64::try_from(subjects.len()).unwrap())).unwrap();
        let (recording, role, capture, place) = (0..subjects.len())
            .find_map(|offset| {
                let (recording, role) = subjects[(start + offset) % subjects.len()];
                let mut capture = read(&folder(recording).join("capture.pcap"));
                let waived = waived_events(recording, role);
                let place = mutate(&mut capture, mutation, role, &waived, &mut dice)?;
                Some((recording, role, capture, place))
            })
            .expect("something to mutate");
        let context = format!(
            "seed {seed}: {mutation:?} of {} in {recording} as {role}",
            place.event
        );
        let (_scratch, path) = written(&capture, recording);
        let frame = frame_of(&path, &capture, place.message);
        let differences = failed(&path, recording, role, &context);
        let context = format!("{context}, frame {frame}: {differences:#?}");
        check_place(&place, mutation, frame, &differences, &context);
    }
}

/// Time stands still in a replay; here nothing but time brings the answer about that the recording lacks.
#[test]
fn an_answer_that_the_recording_lacks_and_a_time_out_gives_is_found() {
    let (recording, role) = ("zeek-6.0.9/failing-node", "agent");
    let mut capture = read(&folder(recording).join("capture.pcap"));
    let name = "Management::Agent::API::deploy_response";
    let answer = spoken(&capture, role, &BTreeSet::new())
        .into_iter()
        .find(|spoken| spoken.event.name == *name)
        .unwrap();
    capture.messages.remove(answer.message);
    let (_scratch, path) = written(&capture, recording);
    let differences = failed(&path, recording, role, name);
    assert_eq!(differences.len(), 1, "{differences:#?}");
    assert_eq!(differences[0]["event"], name);
    let got = differences[0]["got"].as_str().unwrap();
    assert!(got.contains("request timed out"), "{got}");
}

/// The first thing that is said must be about what was done.
fn check_place(place: &Place, mutation: Mutation, frame: u64, differences: &[Value], context: &str) {
    let first = &differences[0];
    let connection = format!("connection {},", place.connection + 1);
    let names_it = |difference: &Value| {
        difference["event"] == place.event.as_str()
            && difference["connection"]
                .as_str()
                .is_some_and(|words| words.starts_with(&connection))
    };
    if place.exact {
        assert!(names_it(first), "{context}");
        assert_eq!(first["frame"], frame, "{context}");
    } else {
        // What was sent and is not recorded was sent a little earlier than where it is missing, or is taken for the next of its kind.
        assert!(differences.iter().any(names_it), "{context}");
    }
    let is_in_a_field = match mutation {
        Mutation::EventDropped | Mutation::EventDoubled | Mutation::EventRenamed => false,
        Mutation::IdReused | Mutation::TopicChanged => true,
        _ => {
            let recorded = first["expected"].as_str().unwrap_or_default();
            assert_ne!(first["got"], recorded, "{context}");
            true
        }
    };
    let path = first["path"].as_str().unwrap_or_default();
    assert!(!is_in_a_field || !path.is_empty(), "{context}");
}

/// What is known to be different there cannot be told from a mutation.
fn waived_events(recording: &str, role: &str) -> BTreeSet<String> {
    let waivers = waivers::parse(waivers::COMMITTED).unwrap();
    waivers
        .iter()
        .filter(|waiver| waiver.scenario == recording && waiver.role.starts_with(role))
        .filter_map(|waiver| waiver.what.split(' ').nth(1).map(str::to_owned))
        .collect()
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
    /// The number of its connection in the capture.
    connection: usize,
    /// The event, as it is called now.
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

/// What differs, of all agents if there are several.
fn failed(path: &Path, name: &str, role: &str, context: &str) -> Vec<Value> {
    let (status, text) = replay(path, name, role);
    assert_eq!(status, Some(1), "{context}: {text}");
    text.lines()
        .flat_map(|line| {
            let mut report: Value = serde_json::from_str(line).unwrap();
            match report["differences"].take() {
                Value::Array(differences) => differences,
                other => panic!("{other}"),
            }
        })
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

/// An event that the role sends, and how to write it.
#[derive(Clone)]
struct Spoken {
    message: usize,
    topic: ZeekString,
    event: Event,
}

/// Every event that the role sends.
fn spoken(capture: &Capture, role: &str, waived: &BTreeSet<String>) -> Vec<Spoken> {
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
            (of_role && !waived.contains(&name)).then_some(Spoken {
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

fn mutate(
    capture: &mut Capture,
    mutation: Mutation,
    role: &str,
    waived: &BTreeSet<String>,
    dice: &mut Dice,
) -> Option<Place> {
    let all = spoken(capture, role, waived);
    if all.is_empty() {
        return None;
    }
    let start = usize::try_from(dice.below(u64::try_from(all.len()).unwrap())).unwrap();
    for offset in 0..all.len() {
        let Spoken {
            message,
            topic,
            event,
        } = all[(start + offset) % all.len()].clone();
        let mut place = Place {
            message,
            connection: capture.messages[message].connection,
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
            // Our controller does say that twice if it is not answered.
            Mutation::EventDoubled if event.name.ends_with(b"::agent_welcome_request") => continue,
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
                            // Of the same process: one that was started again does not know what it asked before.
                            && capture.messages[other.message].connection == place.connection
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
            Mutation::EventRenamed => {
                event.name = [event.name.as_bytes(), b"x"].concat().into();
                place.event = event.name.to_string();
            }
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
