//! Zeek's error messages, word for word: clients and their tests compare them.

use std::fs;

use super::transcript::directory;

/// What clients are told, and the handler in Zeek 9.0's `policy/frameworks/management/controller/main.zeek` that says it. What stands
/// between the quotes of names is cut out.
const ERRORS: &[(&str, &str)] = &[
    ("multiple instances named '", "config_validate"),
    ("multiple nodes named '", "config_validate"),
    ("node and instance names collide: ", "config_validate"),
    ("' has undeclared instance name '", "config_validate"),
    (" conflicts with agent port on instance '", "config_validate"),
    (" conflicts with controller port", "config_validate"),
    ("multiple nodes on instance '", "config_validate"),
    ("' using port ", "config_validate"),
    (
        "Broker port auto-assignment disabled but nodes ",
        "config_validate",
    ),
    (" lack ports", "config_validate"),
    ("no configuration available to deploy", "deploy_request"),
    ("earlier deployment ", "deploy_request"),
    (" still pending", "deploy_request"),
    ("no staged configuration available", "get_configuration_request"),
    ("no deployed configuration available", "get_configuration_request"),
    ("no instances connected", "get_nodes_request"),
    ("no instances connected", "restart_request"),
    ("no active cluster deployment", "restart_request"),
    ("unknown cluster node", "restart_request"),
    ("no cluster deployed", "get_id_value_request"),
    ("unknown cluster node", "get_id_value_request"),
    ("request timed out", "request_expired"),
];

#[test]
fn every_error_of_zeek_is_in_a_transcript_that_names_where_it_comes_from() {
    let transcripts: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let says = |transcript: &&String, error: &str, source: &str| {
        let mut comments = transcript.lines().filter(|line| line.starts_with('#'));
        let mut answers = transcript.lines().filter(|line| line.starts_with("< publish"));
        comments.any(|line| line.contains("controller/main.zeek") && line.contains(source))
            && answers.any(|line| line.contains(error))
    };
    let missing: Vec<_> = ERRORS
        .iter()
        .filter(|(error, source)| {
            !transcripts
                .iter()
                .any(|transcript| says(&transcript, error, source))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
