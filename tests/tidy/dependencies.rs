//! Which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Package};

use super::{SANS_IO, metadata, report};

/// What each crate may depend on in production code. Tests, benches and build scripts are free.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("caf-bincode-compat", &["bytes", "serde", "thiserror"]),
    (
        "broker-codec",
        &[
            "bytes",
            "caf-bincode-compat",
            "ipnet",
            "itoa",
            "jiff",
            "nom",
            "serde",
            "thiserror",
        ],
    ),
    (
        "mgmt-api",
        &["broker-codec", "jiff", "serde", "strum", "thiserror"],
    ),
    (
        "broker-endpoint",
        &[
            "broker-codec",
            "bytes",
            "futures-util",
            "getrandom",
            "if-addrs",
            "openssl",
            "rustix",
            "serde",
            "socket2",
            "thiserror",
            "tikv-jemallocator",
            "tokio",
            "tokio-openssl",
            "tokio-tungstenite",
            "tokio-util",
            "tracing",
        ],
    ),
    (
        "mgmt-controller",
        &[
            "broker-codec",
            "broker-endpoint",
            "bytes",
            "clap",
            "clap_complete",
            "jiff",
            "mgmt-api",
            "mgmt-daemon",
            "rusqlite",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "tokio",
            "tracing",
        ],
    ),
    (
        "mgmt-daemon",
        &[
            "broker-codec",
            "broker-endpoint",
            "clap",
            "clap_complete",
            "clap_mangen",
            "getrandom",
            "hostname",
            "jiff",
            "mgmt-api",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "tikv-jemallocator",
            "tokio",
            "tracing",
            "tracing-appender",
            "tracing-subscriber",
        ],
    ),
    (
        "zeek-simulator",
        &[
            "broker-codec",
            "broker-endpoint",
            "bytes",
            "mgmt-api",
            "rustix",
            "serde",
            "serde_json",
            "supervise",
            "thiserror",
            "tokio",
        ],
    ),
    ("supervise", &["bytes", "rustix", "serde", "tokio", "tracing"]),
    (
        "mgmt-agent",
        &[
            "broker-codec",
            "broker-endpoint",
            "clap",
            "clap_complete",
            "jiff",
            "mgmt-api",
            "mgmt-daemon",
            "rustix",
            "serde",
            "serde_json",
            "zeek-simulator",
            "supervise",
            "thiserror",
            "tokio",
            "tracing",
        ],
    ),
];

/// Crates that must not be reached from below the line by any path of production dependencies.
const IO_CRATES: &[&str] = &[
    "async-std",
    "chrono",
    "futures-executor",
    "getrandom",
    "hyper",
    "mio",
    "nix",
    "openssl",
    "polling",
    "rand",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tracing",
    "tungstenite",
];

#[test]
fn each_crate_depends_only_on_what_it_may() {
    let metadata = metadata();
    let mut violations = Vec::new();
    for (name, allowed) in DEPENDENCIES {
        let package = metadata
            .workspace_packages()
            .into_iter()
            .find(|package| package.name.as_str() == *name)
            .unwrap_or_else(|| panic!("crate {name} is on the allow-list but not in the workspace"));
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let actual: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str())
            .collect();
        for extra in actual.difference(&allowed) {
            violations.push(format!(
                "{name} depends on {extra}, which its allow-list does not name"
            ));
        }
        for unused in allowed.difference(&actual) {
            violations.push(format!(
                "{name} may depend on {unused} but does not: remove it from the allow-list"
            ));
        }
    }
    let listed: BTreeSet<&str> = DEPENDENCIES.iter().map(|(name, _)| *name).collect();
    for package in metadata.workspace_packages() {
        let helper = ["conformance", "testkit", "tools"].contains(&package.name.as_str());
        if !helper && !listed.contains(package.name.as_str()) {
            violations.push(format!("{} has no allow-list", package.name));
        }
    }
    report("dependencies", &violations);
}

#[test]
fn nothing_below_the_sans_io_line_reaches_a_crate_that_does_io() {
    let metadata = metadata();
    let resolve = metadata
        .resolve
        .as_ref()
        .expect("cargo metadata resolves dependencies");
    let packages: BTreeMap<_, &Package> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let mut violations = Vec::new();
    for (name, _) in SANS_IO {
        let root = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == *name)
            .expect("the crate exists");
        let mut queue = vec![(&root.id, vec![root.name.to_string()])];
        let mut seen = BTreeSet::new();
        while let Some((id, path)) = queue.pop() {
            if !seen.insert(id) {
                continue;
            }
            if IO_CRATES.contains(&packages[id].name.as_str()) {
                violations.push(path.join(" -> "));
            }
            let node = resolve
                .nodes
                .iter()
                .find(|node| node.id == *id)
                .expect("every package is a node");
            for dependency in &node.deps {
                if dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
                {
                    let mut path = path.clone();
                    path.push(packages[&dependency.pkg].name.to_string());
                    queue.push((&dependency.pkg, path));
                }
            }
        }
        assert!(seen.len() > 1, "{name} has dependencies");
    }
    report("paths to crates that do I/O", &violations);
}
