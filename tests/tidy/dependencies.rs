//! Which crate may depend on which.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use cargo_metadata::DependencyKind;

use super::{SANS_IO, metadata, report};
use crate::support::workspace_root;

/// What each crate may depend on in production code. Tests, benches and build scripts are free.
const DEPENDENCIES: &[(&str, &str)] = &[
    ("caf-bincode-compat", "bytes serde thiserror"),
    (
        "broker-codec",
        "bytes caf-bincode-compat ipnet itoa jiff nom serde serde_json strum thiserror",
    ),
    (
        "mgmt-api",
        "broker-codec data-encoding jiff serde serde_json serde_variant strum thiserror utoipa",
    ),
    ("counters", "serde strum"),
    (
        "broker-endpoint",
        "broker-codec bytes counters futures-util getrandom if-addrs openssl rustix socket2 strum \
         thiserror tikv-jemallocator tokio tokio-openssl tokio-tungstenite tokio-util tracing",
    ),
    (
        "mgmt-controller",
        "broker-codec broker-endpoint bytes clap clap_complete counters futures-util hex maud mgmt-api mgmt-daemon \
         rusqlite rustix serde serde_json sha2 strum tar thiserror tokio tracing",
    ),
    (
        "mgmt-client",
        "broker-codec clap clap_complete clap_mangen comfy-table futures-util http-body-util hyper hyper-util mgmt-api openssl percent-encoding serde serde_json \
         thiserror tokio tokio-openssl toml",
    ),
    (
        "mgmt-daemon",
        "axum broker-codec broker-endpoint clap clap_complete clap_mangen counters data-encoding getrandom hex hostname \
         hyper hyper-util jiff mgmt-api nix prometheus-client rustix sd-notify serde serde_json sha2 strum thiserror tikv-jemallocator tokio toml tracing \
         tracing-subscriber utoipa utoipa-axum",
    ),
    (
        "zeek-simulator",
        "broker-codec broker-endpoint bytes mgmt-api rustix serde serde_json supervise thiserror tokio",
    ),
    ("supervise", "bytes rustix serde tokio tracing"),
    (
        "mgmt-agent",
        "broker-codec broker-endpoint clap clap_complete counters futures-util hex mgmt-api mgmt-daemon rustix serde \
         serde_json strum supervise thiserror tokio tracing zbus zeek-simulator",
    ),
];

/// Crates that must not be reached from below the line by any path of production dependencies.
const IO_CRATES: &str = "async-std chrono futures-executor getrandom hyper mio nix openssl polling rand rustix rustls smol socket2 \
    time tokio tracing tungstenite";

#[test]
fn each_crate_depends_only_on_what_it_may() {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = DEPENDENCIES
        .iter()
        .map(|(name, allowed)| (*name, allowed.split_whitespace().collect()))
        .collect();
    let mut violations = Vec::new();
    for package in metadata().workspace_packages() {
        let name = package.name.as_str();
        let Some(allowed) = allowed.remove(name) else {
            if !["conformance", "testkit", "tools"].contains(&name) {
                violations.push(format!("{name} has no allow-list"));
            }
            continue;
        };
        let actual: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str())
            .collect();
        let extra = actual.difference(&allowed);
        violations.extend(extra.map(|extra| format!("{name} depends on {extra}, and may not")));
        let unused = allowed.difference(&actual);
        violations.extend(unused.map(|unused| format!("{name} may depend on {unused} but does not")));
    }
    violations.extend(
        allowed
            .keys()
            .map(|name| format!("{name} is no crate of the workspace")),
    );
    report("dependencies", &violations);
}

#[test]
fn nothing_below_the_sans_io_line_reaches_a_crate_that_does_io() {
    for (name, _) in SANS_IO {
        let output = Command::new("cargo")
            .args([
                "tree",
                "--locked",
                "--offline",
                "--no-default-features",
                "--package",
                name,
            ])
            .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .current_dir(workspace_root())
            .output()
            .expect("cargo can be run");
        let tree = String::from_utf8(output.stdout).expect("names are UTF-8");
        let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(
            reached.contains(name) && reached.len() > 1,
            "{name} has dependencies"
        );
        let forbidden = IO_CRATES
            .split_whitespace()
            .filter(|crate_| reached.contains(crate_));
        let violations: Vec<String> = forbidden
            .map(|crate_| format!("{name} reaches {crate_}"))
            .collect();
        report("crates that do I/O (cargo tree says how)", &violations);
    }
}
