//! Zeek's error messages, word for word: clients and their tests compare them. Where we say more, that follows.

use std::fs;

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/transcripts");

/// Everything that Zeek 9.0's `policy/frameworks/management/controller/main.zeek` puts into the `error` of a result, as it stands
/// there or with what is filled in, by the function or handler that does so and the answer in which clients find it.
const ERRORS: &[(&str, &str, &[&str])] = &[
    (
        "config_validate",
        "stage_configuration",
        &[
            "multiple instances named '%s'",
            "multiple nodes named '%s'",
            "node and instance names collide: %s",
            "node '%s' has undeclared instance name '%s'",
            "node '%s' port %s conflicts with agent port on instance '%s'",
            "node '%s' port %s conflicts with controller port",
            "multiple nodes on instance '%s' using port %s",
            // Up to 6.2: `port auto-assignment ...`.
            "Broker port auto-assignment disabled but nodes %s lack ports",
        ],
    ),
    (
        "deploy_request",
        "deploy",
        &[
            "no configuration available to deploy",
            "earlier deployment %s still pending",
        ],
    ),
    (
        "get_configuration_request",
        "get_configuration",
        &[
            "no staged configuration available",
            "no deployed configuration available",
        ],
    ),
    ("get_nodes_request", "get_nodes", &["no instances connected"]),
    (
        "restart_request",
        "restart",
        &[
            "no instances connected",
            "no active cluster deployment",
            "unknown cluster node",
        ],
    ),
    (
        "get_id_value_request",
        "get_id_value",
        // 5.0: `no instances connected`.
        &["no cluster deployed", "unknown cluster node"],
    ),
    ("request_expired", "deploy", &["request timed out"]),
    ("request_expired", "get_nodes", &["request timed out"]),
    ("request_expired", "get_id_value", &["request timed out"]),
    ("request_expired", "restart", &["request timed out"]),
    ("request_expired", "test_timeout", &["request timed out"]),
];

/// Whether a text is this one with something in each place that is to be filled in.
fn fills(template: &str, text: &str) -> bool {
    match template.split_once("%s") {
        None => template == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|text| {
            let ends = (1..=text.len()).filter(|end| text.is_char_boundary(*end));
            ends.into_iter().any(|end| fills(after, &text[end..]))
        }),
    }
}

/// Whether a text is this one, or this one and what we add: since when, or which instance.
fn begins(template: &str, text: &str) -> bool {
    let ours = ["", ": %s", " since %s"].map(|more| format!("{template}{more}"));
    ours.iter().any(|template| fills(template, text))
}

/// The answers of a transcript: the event's name without `_response`, and the errors.
fn answers(transcript: &str) -> Vec<(&str, Vec<String>)> {
    let published = transcript
        .lines()
        .filter_map(|line| line.strip_prefix("< publish "));
    published
        .map(|line| {
            let words: Vec<_> = line.splitn(3, ' ').collect();
            let fields: Value = serde_json::from_str(words[2]).unwrap();
            let results = match (&fields["results"], &fields["result"]) {
                (Value::Array(results), _) => results.clone(),
                (_, result) => vec![result.clone()],
            };
            let error = |result: &Value| Some(result["error"].as_str()?.to_owned());
            let event = words[1].strip_suffix("_response").unwrap();
            (event, results.iter().filter_map(error).collect())
        })
        .collect()
}

#[test]
fn every_error_of_zeek_is_in_a_transcript_that_names_where_it_comes_from() {
    let transcripts: Vec<String> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let says = |transcript: &str, source: &str, answer: &str, error: &str| {
        let mut comments = transcript.lines().filter(|line| line.starts_with('#'));
        comments.any(|line| line.contains("controller/main.zeek") && line.contains(source))
            && answers(transcript)
                .iter()
                .any(|(event, errors)| *event == answer && errors.iter().any(|text| begins(error, text)))
    };
    for (source, answer, errors) in ERRORS {
        for error in *errors {
            let said = |transcript: &String| says(transcript, source, answer, error);
            assert!(transcripts.iter().any(said), "{source}: {error}");
        }
    }
}
