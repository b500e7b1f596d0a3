use std::{fs, time::Duration};

use mgmt_api::SupervisorLayout;
use mgmt_daemon::config::ConfigErrors;

use super::*;
use crate::{
    config::{
        Config,
        tests::{DIRECTORIES, read, read_only, shown},
    },
    core::Supervise,
};

/// A Zeek installation that says it is this version, with these scripts.
fn installation(version: &str, scripts: &[&str]) -> tempfile::TempDir {
    let prefix = tempfile::tempdir().unwrap();
    let zeek = prefix.path().join("bin/zeek");
    testkit::write_executable(&zeek, &format!("#!/bin/sh\necho zeek version {version}\n"));
    for script in scripts {
        let script = prefix.path().join("share/zeek").join(script);
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(script, "").unwrap();
    }
    prefix
}

fn read_with_zeek(prefix: &tempfile::TempDir, given: &str) -> Result<Config, ConfigErrors> {
    let prefix = prefix.path().display();
    read_only(&format!("{DIRECTORIES} --name=a --zeek-prefix={prefix} {given}"))
}

#[test]
fn the_layout_is_that_of_the_installed_zeek_or_configured_but_not_guessed() {
    let layouts = |config: &Config| (config.installed_zeek.layout(), config.settings.zeek.configured);
    assert_eq!(layouts(&read("").unwrap()), (None, None));
    let configured = read("--zeek-version=6.0.9").unwrap();
    assert_eq!(layouts(&configured), (None, Some(SupervisorLayout::V6_0)));

    let old = installation("5.2.1", &[]);
    let config = read_with_zeek(&old, "").unwrap();
    assert_eq!(layouts(&config), (Some(SupervisorLayout::V5_1), None));
    let program = old.path().join("bin/zeek");
    let note = format!("{}: zeek version 5.2.1", program.display());
    assert_eq!(shown(&config, "zeek_prefix").note, Some(note));

    let unknown = installation("12.0.0", &[]);
    let config = read_with_zeek(&unknown, "--zeek-version=9.0.0").unwrap();
    assert_eq!(layouts(&config), (None, Some(SupervisorLayout::V7_0)));
    let warnings = &config.daemon.resolved.warnings;
    assert!(warnings.is_empty(), "no Supervisor needs records: {warnings:?}");
    let config = read_with_zeek(&unknown, "--supervise=zeek --zeek-version=9.0.0").unwrap();
    assert_eq!(
        config.daemon.resolved.warnings[0],
        "the records of \"zeek version 12.0.0\" are not known; --zeek-version names a Zeek that has the same"
    );
}

#[test]
fn a_spool_directory_that_a_found_supervisor_may_not_have_is_a_warning() {
    let zeek = installation("9.0.0", &[]);
    let is_told = |config: &Config| {
        let told = "the spool directory is /spool: the Supervisor needs ZEEK_MANAGEMENT_SPOOL_DIR=/spool in its environment, ";
        let warnings = &config.daemon.resolved.warnings;
        warnings.iter().any(|warning| warning.starts_with(told))
    };
    assert!(is_told(&read_with_zeek(&zeek, "--supervise=zeek").unwrap()));
    assert!(!is_told(&read_with_zeek(&zeek, "--start-supervisor").unwrap()));
    assert!(!is_told(&read("--supervise=zeek").unwrap()), "no Zeek is known");
    assert!(
        !is_told(&read_with_zeek(&zeek, "").unwrap()),
        "there is no Supervisor"
    );
}

#[test]
fn nodes_get_zeeks_script_unless_the_installed_zeek_has_none() {
    const BASE: &str = "base/init-default.zeek";
    let script = |config: &Config| {
        let own = config.own_node_script.as_ref();
        let own = own.map(|path| path.display().to_string());
        (config.settings.node_script.to_string(), own)
    };
    let of_zeek = ("policy/frameworks/management/node".to_owned(), None);
    // Nothing is known of the Zeek that the Supervisor is.
    assert_eq!(script(&read("").unwrap()), of_zeek);
    let with = installation(
        "9.0.0",
        &[BASE, "policy/frameworks/management/node/__load__.zeek"],
    );
    assert_eq!(script(&read_with_zeek(&with, "").unwrap()), of_zeek);
    let without = installation("9.1.0", &[BASE]);
    let ours = "/state/nodes/a/scripts/node.zeek".to_owned();
    assert_eq!(
        script(&read_with_zeek(&without, "").unwrap()),
        (ours.clone(), Some(ours))
    );
    let given = read_with_zeek(&without, "--node-script=/n.zeek").unwrap();
    assert_eq!(script(&given), ("/n.zeek".to_owned(), None));
}

#[test]
fn the_timeout_with_a_supervisor_of_ours_can_be_set_and_be_endless() {
    let zeek = installation("9.0.0", &[]);
    let timeout = |given: &str| {
        let config = read_with_zeek(&zeek, &format!("--start-supervisor {given}"));
        config.map(|config| config.settings.zeek.supervisor_timeout)
    };
    let refused = |given: &str| timeout(given).unwrap_err().to_string();
    assert_eq!(timeout("").unwrap(), Some(Duration::from_secs(60)));
    let simulated = read("--simulate").unwrap();
    assert_eq!(simulated.settings.archival, None);
    assert_eq!(
        simulated.settings.zeek.supervisor_timeout,
        Some(Duration::from_secs(60))
    );
    assert_eq!(shown(&simulated, "supervisor_timeout").value, "60 secs");
    assert_eq!(
        timeout("--supervisor-timeout=2min").unwrap(),
        Some(Duration::from_secs(120))
    );
    assert_eq!(
        timeout("--supervisor-timeout=1sec").unwrap(),
        Some(Duration::from_secs(1))
    );
    assert_eq!(timeout("--supervisor-timeout=0sec").unwrap(), None);
    let error = refused("--supervisor-timeout=1usec");
    let words = "a Supervisor needs a second at least to answer; or 0sec, to wait for ever";
    assert!(error.contains(words), "{error}");
    let error = refused("--supervisor-timeout=soon");
    assert!(error.contains("an interval, as in 10 sec"), "{error}");
}

/// Others on the host obey it, its nodes included.
#[test]
fn the_supervisor_that_we_start_is_on_loopback_despite_zeeks_variable() {
    let zeek = installation("9.0.0", &[]);
    let variable = "$ZEEK_DEFAULT_LISTEN_ADDRESS=0.0.0.0";
    let started = format!("--start-supervisor {variable}");
    let config = read_with_zeek(&zeek, &started).unwrap();
    assert_eq!(config.supervisor, Some(PeerAddress::new("127.0.0.1", 9999)));
    for given in [
        "Broker::default_listen_address=0.0.0.0",
        "--supervisor=0.0.0.0:9999",
        "--supervisor=zeek.example:9999",
    ] {
        let error = read_with_zeek(&zeek, &format!("{started} {given}")).unwrap_err();
        assert!(
            error.to_string().contains("on a loopback address only"),
            "{error}"
        );
    }
    // One that is found listens where the variable says.
    let found = read_with_zeek(&zeek, &format!("{variable} --supervise=zeek")).unwrap();
    assert_eq!(found.supervisor.unwrap().host, "0.0.0.0");
}

#[test]
fn arguments_for_zeek_may_look_like_options_and_those_with_values_are_not_shown() {
    let zeek = installation("9.0.0", &[]);
    let given = "--start-supervisor --zeek-argument local --zeek-argument -e --zeek-argument A::b=secret";
    let config = read_with_zeek(&zeek, given).unwrap();
    let further = config.start_supervisor.clone().unwrap().further_arguments;
    assert_eq!(further, ["local", "-e", "A::b=secret"]);
    assert_eq!(shown(&config, "zeek_argument").value, "\"local -e\"");
}

#[test]
fn who_keeps_the_nodes_is_set_or_implied_and_stays_as_it_was() {
    let zeek = installation("9.0.0", &[]);
    let keeper = |given: &str| read_with_zeek(&zeek, given).map(|config| config.settings.supervise);
    assert_eq!(keeper("").unwrap(), Supervise::Native, "no systemd here");
    for given in [
        "--start-supervisor",
        "--supervisor=127.0.0.1:9999",
        "Broker::default_port=9998/tcp",
    ] {
        assert_eq!(keeper(given).unwrap(), Supervise::Zeek, "{given}");
        let error = keeper(&format!("{given} --supervise=native"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no Supervisor of Zeek's keeps nodes with --supervise native"),
            "{error}"
        );
    }
    assert_eq!(keeper("--simulate").unwrap(), Supervise::Native);
    assert_eq!(keeper("--simulate --supervise=zeek").unwrap(), Supervise::Zeek);
    let by_systemd = keeper("--simulate --supervise=systemd").unwrap();
    assert_eq!(by_systemd, Supervise::Systemd);

    let directory = tempfile::tempdir().unwrap();
    let before = r#"{"supervise": "systemd", "config": null}"#;
    fs::create_dir_all(directory.path().join("nodes/a")).unwrap();
    fs::write(directory.path().join("nodes/a/desired.json"), before).unwrap();
    let state = format!(
        "--state-dir={} --spool-dir=/spool --name=a",
        directory.path().display()
    );
    let config = read_only(&format!("{state} --zeek-prefix={}", zeek.path().display())).unwrap();
    assert_eq!(config.settings.supervise, Supervise::Systemd);
    let note = shown(&config, "supervise").note.clone();
    assert_eq!(note.as_deref(), Some("systemd, as before"));
}
