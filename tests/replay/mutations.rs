//! Recordings that never happened: `replay` must fail, and name the place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
};

use broker_codec::{
    Data, Topic, binary,
    data::{Port, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use bytes::BytesMut;
use mgmt_agent::supervisors::zeek::PROBE;
use testkit::Dice;
use tools::{
    replay::{
        Capture, Difference, Options, Report, Role, Scenario,
        capture::{Content, Message},
        in_process, roles,
    },
    tcp::Speaker,
};

use super::{folder, recordings::RECORDINGS};

/// What is done to an event that the role sends.
enum Edit {
    Drop,
    Double,
    /// Its topic changes.
    Topic,
    Rename,
    /// A request gets the id of an earlier one.
    ReuseId,
    /// A value in it changes, to one of those that are made of it.
    Value(fn(&Data) -> Vec<Data>),
}

/// Each mutation, and whether the place that `replay` names must be a field.
const MUTATIONS: [(&str, bool, Edit); 10] = [
    ("two neighbours in a record swapped", true, Edit::Value(swapped)),
    ("an error changed", true, Edit::Value(error_changed)),
    ("an event dropped", false, Edit::Drop),
    ("an event doubled", false, Edit::Double),
    ("an id used again", true, Edit::ReuseId),
    ("a number changed", true, Edit::Value(number_changed)),
    ("a boolean flipped", true, Edit::Value(flipped)),
    ("a topic changed", true, Edit::Topic),
    ("an event renamed", false, Edit::Rename),
    ("an optional value unset", true, Edit::Value(unset)),
];

/// How many recordings are mutated: six by each mutation, or as many as `MUTATION_SEEDS` says.
const SEEDS: u64 = 60;

#[test]
fn every_mutation_of_a_recording_is_found_and_its_place_named() {
    let seeds = std::env::var("MUTATION_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut explained = BTreeMap::new();
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let (mutation, in_a_field, edit) = &MUTATIONS[usize::try_from(seed).unwrap() % MUTATIONS.len()];
        // Not every recording has an error message or an agent.
        let (recording, role, capture, place) = std::iter::repeat_with(|| {
            let recording = RECORDINGS[below(&mut dice, RECORDINGS.len())];
            let role = ["controller", "agent"][below(&mut dice, 2)];
            let mut capture = read(recording);
            let known = explained
                .entry((recording, role))
                .or_insert_with(|| explained_events(recording, role));
            let place = mutate(&mut capture, edit, role, known, &mut dice)?;
            Some((recording, role, capture, place))
        })
        .take(1000)
        .find_map(|found| found)
        .expect("something to mutate");
        let differences = differences(recording, role, &capture);
        let context = format!(
            "seed {seed}: {mutation}, {} in {recording} as {role}, frame {}: {differences:#?}",
            place.event, place.frame
        );
        check_place(&place, *in_a_field, &differences, &context);
    }
}

/// Time stands still in a replay; here nothing but time brings the answer about that the recording lacks.
#[test]
fn an_answer_that_the_recording_lacks_and_a_time_out_gives_is_found() {
    let (recording, role) = ("zeek-6.0.9/failing-node", "agent");
    let mut capture = read(recording);
    let name = "Management::Agent::API::deploy_response";
    let all = spoken(&capture, role, &BTreeSet::new());
    let answer = all.iter().find(|spoken| spoken.event.name == *name).unwrap();
    capture.messages.remove(answer.message);
    let differences = differences(recording, role, &capture);
    assert_eq!(differences.len(), 1, "{differences:#?}");
    assert_eq!(differences[0].event, name);
    let got = differences[0].got.as_deref().unwrap();
    assert!(got.contains("request timed out"), "{got}");
}

/// Where something was done.
struct Place {
    frame: u64,
    /// The number of its connection in the capture.
    connection: usize,
    /// The event, as it is called now.
    event: String,
    /// Whether that message itself is wrong now.
    exact: bool,
}

/// The first difference must be about what was done.
fn check_place(place: &Place, in_a_field: bool, differences: &[Difference], context: &str) {
    let connection = format!("connection {},", place.connection + 1);
    let names_it = |difference: &Difference| {
        difference.event == place.event && difference.connection.starts_with(&connection)
    };
    assert!(!differences.is_empty(), "{context}");
    if place.exact {
        let first = &differences[0];
        assert!(names_it(first), "{context}");
        assert_eq!(first.frame, Some(place.frame), "{context}");
        assert!(!in_a_field || !first.path.is_empty(), "{context}");
        let expected = first.expected.as_deref().unwrap_or_default();
        assert!(!in_a_field || first.got.as_deref() != Some(expected), "{context}");
    } else {
        // What was sent and is not recorded was sent a little earlier than where it is missing, or is taken for the next of its kind.
        assert!(differences.iter().any(names_it), "{context}");
    }
}

/// The events that differ in the recording as it is: there, a mutation may be such a deviation.
fn explained_events(recording: &str, role: &str) -> BTreeSet<String> {
    let reports = replayed(recording, role, &read(recording));
    let explained = reports.iter().flat_map(|report| &report.explained);
    explained
        .filter_map(|explained| explained.what.split(' ').nth(1).map(str::to_owned))
        .collect()
}

pub(super) fn read(recording: &str) -> Capture {
    Capture::read(File::open(folder(recording).join("capture.pcap")).unwrap()).unwrap()
}

/// What differs, of all agents if there are several.
fn differences(recording: &str, role: &str, capture: &Capture) -> Vec<Difference> {
    let reports = replayed(recording, role, capture).into_iter();
    reports.flat_map(|report| report.differences).collect()
}

/// Replays a capture in the place of a recording.
pub(super) fn replayed(recording: &str, role: &str, capture: &Capture) -> Vec<Report> {
    let scenario = Scenario::read(&folder(recording).join("scenario.json")).unwrap();
    let replay = |role: &Role| {
        let options = Options {
            name: recording,
            role,
            scenario: &scenario,
            stored: None,
            strict: false,
        };
        in_process(capture, &options).unwrap()
    };
    let is_controller = |of: &Role| *of == Role::Controller;
    let mut roles = roles(capture);
    roles.retain(|of| is_controller(of) == (role == "controller"));
    roles.iter().map(replay).collect()
}

/// An event that the role sends.
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
            // Only the time brings it about.
            let is_probe = event.args.contains(&Data::String(PROBE.into()));
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
            (of_role && !is_probe && !passed_over.contains(&name)).then_some(Spoken {
                message: number,
                topic,
                event,
            })
        })
        .collect()
}

fn event_of(message: &Message) -> Option<(ZeekString, Event)> {
    let (topic, data) = match &message.content {
        Content::Envelope(envelope) => {
            let data = binary::decode(&envelope.payload).ok()?;
            (envelope.topic.as_bytes().into(), data)
        }
        Content::Text(text) => {
            let message = DataMessage::decode(text).ok()?;
            (message.topic, message.data)
        }
        _ => return None,
    };
    Some((topic, Event::from_data(data).ok()?))
}

/// Puts an event in the place of the one in a message.
fn write(message: &mut Message, topic: ZeekString, event: Event) {
    match &mut message.content {
        Content::Envelope(envelope) => {
            let mut payload = BytesMut::new();
            binary::encode(&event.into_data(), &mut payload).unwrap();
            envelope.payload = payload.freeze();
            envelope.topic = Topic::new(&topic).unwrap();
        }
        Content::Text(text) => {
            let data = event.into_data();
            *text = DataMessage { topic, data }.encode().unwrap().into();
        }
        other => panic!("{other:?} holds no event"),
    }
}

/// Mutates one of the events of the role: the first from a random one on to which that can be done.
fn mutate(
    capture: &mut Capture,
    edit: &Edit,
    role: &str,
    passed_over: &BTreeSet<String>,
    dice: &mut Dice,
) -> Option<Place> {
    let all = spoken(capture, role, passed_over);
    let start = below(dice, all.len().max(1));
    let in_turn = all.iter().cycle().skip(start).take(all.len());
    for chosen in in_turn {
        let message = capture.messages[chosen.message].clone();
        let (topic, event) = (chosen.topic.clone(), chosen.event.clone());
        let edited = match edit {
            Edit::Drop => {
                capture.messages.remove(chosen.message);
                None
            }
            // What may be repeated says nothing if it is doubled: our controller repeats a welcome that is not answered.
            Edit::Double if event.name.ends_with(b"::agent_welcome_request") => continue,
            Edit::Double => {
                capture.messages.insert(chosen.message, message.clone());
                None
            }
            Edit::Topic => Some((longer(&topic, b"x"), event)),
            Edit::Rename => {
                let name = longer(&event.name, b"x");
                Some((topic, Event { name, ..event }))
            }
            Edit::ReuseId => match id_reused(capture, &all, chosen) {
                Some(event) => Some((topic, event)),
                None => continue,
            },
            Edit::Value(change) => {
                let mut variants = variants(&Data::Vector(event.args.clone()), *change);
                if variants.is_empty() {
                    continue;
                }
                let Data::Vector(args) = variants.swap_remove(below(dice, variants.len())) else {
                    unreachable!("it was a vector");
                };
                Some((topic, Event { args, ..event }))
            }
        };
        let now = edited.as_ref().map_or(&chosen.event, |(_, event)| event);
        let place = Place {
            frame: message.frame,
            connection: message.connection,
            event: now.name.to_string(),
            exact: edited.is_some(),
        };
        if let Some((topic, event)) = edited {
            write(&mut capture.messages[chosen.message], topic, event);
        }
        return Some(place);
    }
    None
}

fn longer(text: &ZeekString, by: &[u8]) -> ZeekString {
    [text.as_bytes(), by].concat().into()
}

fn below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(limit).unwrap())).unwrap()
}

/// A request with the id of an earlier one of the same process: one that was started again does not know what it asked before.
fn id_reused(capture: &Capture, all: &[Spoken], spoken: &Spoken) -> Option<Event> {
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
    Some(event)
}

/// Everything that a change in one place makes of a value.
fn variants(data: &Data, change: fn(&Data) -> Vec<Data>) -> Vec<Data> {
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
        Data::String(text) if text.contains(&b' ') => vec![Data::String(longer(text, b"!"))],
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
