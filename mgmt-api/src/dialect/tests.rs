//! Each event of each dialect against its golden vector in `tests/dialects`. With `UPDATE_EXPECT=1` a dialect that has none gets those of the
//! next later one, translated.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

use broker_codec::{Data, binary, json, zeek::Event};
use bytes::BytesMut;
use serde_json::{Value, json};

use super::api::{Context, Dialect};
use crate::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, NodeMessage, NodeRequest, SupervisorMessage,
};

struct Vector {
    event: Event,
    fields: Vec<String>,
}

fn vectors(dialect: Dialect) -> Vec<Vector> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/dialects")
        .join(format!("{dialect}.jsonl"));
    if env::var_os("UPDATE_EXPECT").is_some() && !path.exists() {
        fs::write(&path, translated(dialect)).unwrap();
    }
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let bytes = hex::decode(line["binary"].as_str().unwrap()).unwrap();
            let event = Event::from_data(binary::decode(&bytes).unwrap()).unwrap();
            assert_eq!(event.name.to_string(), line["event"].as_str().unwrap());
            // JSON shows the times in metadata less exactly.
            let same = json::decode(line["json"].to_string().as_bytes()).unwrap();
            let same = Event::from_data(same).unwrap();
            assert_eq!((&same.name, &same.args), (&event.name, &event.args));
            let fields = line["fields"].as_array().unwrap();
            let fields = fields
                .iter()
                .map(|field| field.as_str().unwrap().to_owned())
                .collect();
            Vector { event, fields }
        })
        .collect()
}

/// The vectors of the next later dialect, which must have each event that this one has.
fn translated(dialect: Dialect) -> String {
    let later = Dialect::ALL.into_iter().find(|other| *other > dialect).unwrap();
    let mut lines = String::new();
    for Vector { mut event, .. } in vectors(later) {
        let verb = event.name.to_string();
        let verb = verb.rsplit("::").next().unwrap();
        if verb == "notify_agents_ready" {
            let name = dialect
                .events()
                .into_iter()
                .find(|name| name.ends_with(verb))
                .unwrap();
            event.name = name.as_str().into();
        } else {
            let model = later.read(event, &context()).unwrap();
            event = dialect.write(&model, &context()).unwrap().unwrap();
        }
        let (fields, name) = (dialect.describe(&event), event.name.to_string());
        let data = event.into_data();
        let (mut json, mut bytes) = (String::new(), BytesMut::new());
        json::encode(&data, &mut json).unwrap();
        binary::encode(&data, &mut bytes).unwrap();
        let line = json!({
            "event": name,
            "source": format!("translated from {later}"),
            "fields": fields,
            "json": serde_json::from_str::<Value>(&json).unwrap(),
            "binary": hex::encode(&bytes),
        });
        lines = format!("{lines}{line}\n");
    }
    lines
}

fn context() -> Context {
    Context {
        agent_id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        connecting: true,
        host: "127.0.0.1".parse().unwrap(),
    }
}

#[test]
fn every_event_of_every_dialect_has_a_vector() {
    for dialect in Dialect::ALL {
        let names = vectors(dialect)
            .into_iter()
            .map(|vector| vector.event.name.to_string());
        let (names, events) = (names.collect::<Vec<_>>(), dialect.events());
        assert_eq!(names.len(), events.len(), "{dialect}");
        assert_eq!(BTreeSet::from_iter(names), events, "{dialect}");
    }
}

#[test]
fn vectors_have_the_fields_that_the_tables_name() {
    for dialect in Dialect::ALL {
        for vector in vectors(dialect) {
            assert_eq!(dialect.describe(&vector.event), vector.fields, "{dialect}");
        }
    }
}

#[test]
fn vectors_become_events_of_the_model_and_come_back() {
    for dialect in Dialect::ALL {
        for Vector { mut event, fields } in vectors(dialect) {
            let name = event.name.to_string();
            if name.ends_with("::notify_agents_ready") {
                if dialect != Dialect::V7_0 {
                    let refused = dialect.read(event, &context()).unwrap_err().to_string();
                    assert!(refused.starts_with("unknown event"), "{refused}");
                }
                continue;
            }
            let mut context = context();
            if let ("notify_agent_hello", Some(Data::Address(host))) =
                (name.rsplit("::").next().unwrap(), event.args.get(1))
            {
                context.host = *host;
            }
            // Old records are read with more elements than they have, as Zeek reads them.
            let model = dialect.read(event.clone(), &context).unwrap();
            assert_typed(&model);
            assert_same_fields(dialect, &fields, &Dialect::V7_0.describe(&model));
            let back = dialect.write(&model, &context).unwrap().unwrap();
            assert_eq!(back, event, "{dialect}");

            event.args.push(Data::None);
            let error = dialect.read(event, &context);
            assert!(dialect == Dialect::V7_0 || error.is_err(), "{name}");
        }
    }
}

/// One of the enums must have it.
fn assert_typed(model: &Event) {
    let read = [
        model.clone().parse::<ClientRequest>().map(drop),
        model.clone().parse::<ClientResponse>().map(drop),
        model.clone().parse::<AgentRequest>().map(drop),
        model.clone().parse::<AgentMessage>().map(drop),
        model.clone().parse::<NodeRequest>().map(drop),
        model.clone().parse::<NodeMessage>().map(drop),
        model.clone().parse::<SupervisorMessage>().map(drop),
    ];
    assert!(read.iter().any(Result::is_ok), "{model:?}: {read:?}");
}

/// Fields of the same name hold the same, or what stands for it.
fn assert_same_fields(dialect: Dialect, fields: &[String], model: &[String]) {
    let in_model: BTreeMap<String, &str> = split(model).collect();
    let mut compared = 0;
    for (path, value) in split(fields) {
        // Hosts in hellos, of which the model has none, and instances without a result.
        let Some(found) = in_model.get(&path) else {
            let known = path == "host" || (dialect == Dialect::V4_1 && path.starts_with("instances"));
            assert!(known, "{dialect}: the model has no {path}: {model:#?}");
            continue;
        };
        compared += 1;
        let expected = match value {
            "" if path.ends_with("instance") || path.ends_with("error") => "nil".into(),
            "0/?" => "nil".into(),
            other => match other.strip_prefix("ClusterController::Types::") {
                Some(state) => format!("Management::{}", state.to_uppercase()),
                None => other.into(),
            },
        };
        assert_eq!(*found, expected, "{dialect}: {path}");
    }
    assert!(compared > 0);
}

/// Paths and values. Some results have lost their plural, or are the only one where the model has several.
fn split(lines: &[String]) -> impl Iterator<Item = (String, &str)> {
    lines.iter().map(|line| {
        let (path, value) = line.split_once(" = ").unwrap_or((line, ""));
        let path = path
            .strip_prefix("results")
            .or(path.strip_prefix("result"))
            .map_or_else(
                || path.to_owned(),
                |rest| format!("result{}", rest.strip_prefix("[0]").unwrap_or(rest)),
            );
        (path, value)
    })
}
