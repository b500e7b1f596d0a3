use std::{fs, os::unix::fs::PermissionsExt};

use clap::Parser;
use mgmt_api::{Level, SupervisorLayout};
use mgmt_daemon::config::names as host_names;
use proptest::prelude::*;

use super::*;
use crate::cli::Cli;

/// What is always given, so that files are where tests expect them; no Zeek is there.
const DIRECTORIES: [&str; 3] = [
    "--state-dir=/state",
    "--spool-dir=/spool",
    "--zeek-prefix=/nonexistent",
];

fn read_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let arguments = ["mgmt-agent"].iter().chain(arguments);
    let environment = Environment::new(variables.iter().copied(), "/cwd");
    Config::read(&Cli::try_parse_from(arguments).unwrap().settings, &environment)
}

fn read(arguments: &[&str]) -> Result<Config, ConfigErrors> {
    read_with(&[&DIRECTORIES, arguments].concat(), &[])
}

fn shown<'a>(config: &'a Config, name: &str) -> &'a Effective {
    let shown = config.effective.iter().find(|shown| shown.name == name);
    shown.unwrap_or_else(|| panic!("{name} is not shown"))
}

#[test]
fn defaults_are_those_of_zeek() {
    let config = read(&["--name=a"]).unwrap();
    assert_eq!(config.working_dir, Path::new("/state/nodes/a"));
    assert_eq!(config.listen.to_string(), "0.0.0.0:2151");
    assert_eq!(config.controller, Some(PeerAddress::new("127.0.0.1", 2150)));
    assert_eq!(config.supervisor, PeerAddress::new("127.0.0.1", 9999));
    assert_eq!(config.management_log.level, Level::Info);
    let expected = core::Settings {
        name: "a".into(),
        state_dir: "/state".into(),
        archival: Some(Archival {
            interval: Duration::from_secs(3_600),
            directory: "/spool/log-queue".into(),
            command: "/nonexistent/bin/zeek-archiver -1 /spool/log-queue /nonexistent/logs".into(),
        }),
        ..core::Settings::default()
    };
    assert_eq!(config.settings.agent, expected);
    assert_eq!(config.settings.supervisor, core::zeek::Settings::default());
    let no_zeek = "option --zeek-prefix: there is no Zeek in /nonexistent, neither bin/zeek nor share/zeek";
    assert_eq!(config.warnings, [no_zeek]);
}

#[test]
fn what_a_controller_speaks_is_a_setting() {
    assert_eq!(read(&[]).unwrap().settings.controller_api, Dialect::V7_0);
    let variables = [("MGMT_AGENT_CONTROLLER_API", "seed")];
    let config = read_with(&DIRECTORIES, &variables).unwrap();
    assert_eq!(config.settings.controller_api, Dialect::Seed);
    let arguments = [&DIRECTORIES[..], &["--controller-api=4.2"]].concat();
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.settings.controller_api, Dialect::V4_2);
    let error = Cli::try_parse_from(["mgmt-agent", "--peer-api", "seed"]).unwrap_err();
    assert!(error.to_string().contains("--controller-api now"), "{error}");
}

#[test]
fn the_default_name_holds_the_host_name() {
    let name = read(&[]).unwrap().name;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(name, format!("agent-{}", host.trim()));
}

#[test]
fn the_environment_of_zeek_is_read() {
    let variables = [
        ("ZEEK_AGENT_NAME", "a"),
        ("ZEEK_AGENT_ADDR", "10.0.0.1"),
        ("ZEEK_AGENT_PORT", "3151/tcp"),
        ("ZEEK_CONTROLLER_PORT", "3150/tcp"),
        ("ZEEK_DEFAULT_LISTEN_ADDRESS", "10.0.0.2"),
        ("ZEEK_MANAGEMENT_STATE_DIR", "/s"),
        ("ZEEK_MANAGEMENT_SPOOL_DIR", "relative/spool"),
    ];
    let config = read_with(&["--zeek-prefix=/nonexistent"], &variables).unwrap();
    assert_eq!(config.working_dir, Path::new("/s/nodes/a"));
    assert_eq!(config.listen.to_string(), "10.0.0.1:3151");
    assert_eq!(config.controller, Some(PeerAddress::new("127.0.0.1", 3150)));
    assert_eq!(config.supervisor, PeerAddress::new("10.0.0.2", 9999));
    let archival = config.settings.agent.archival.unwrap();
    assert_eq!(archival.directory, "/cwd/relative/spool/log-queue");
}

#[test]
fn every_setting_can_be_assigned_and_is_shown() {
    let values = [
        (names::NAME, "n", "\"n\""),
        (names::DIRECTORY, "/elsewhere", "\"/elsewhere\""),
        (names::TOPIC_PREFIX, "t", "\"t\""),
        (names::LISTEN_ADDRESS, "127.0.0.1", "\"127.0.0.1\""),
        (names::LISTEN_PORT, "1/tcp", "\"1/tcp\""),
        (
            names::CONTROLLER,
            "[$address=\"c.example\", $bound_port=3/tcp]",
            "[$address=\"c.example\", $bound_port=3/tcp]",
        ),
        (names::ARCHIVE_LOGS, "T", "T"),
        (names::ARCHIVE_INTERVAL, "1min", "60 secs"),
        (names::ARCHIVE_CMD, "archive --quick", "\"archive --quick\""),
        (names::ARCHIVE_DIR, "/logs", "\"/logs\""),
        (names::NODE_TOPIC, "nt", "\"nt\""),
        (names::SHIM_TOPIC, "st", "\"st\""),
        (names::SUPERVISOR_TOPIC, "s", "\"s\""),
        (names::SUPERVISOR_ADDRESS, "127.0.0.9", "\"127.0.0.9\""),
        (names::SUPERVISOR_PORT, "4/tcp", "4/tcp"),
        (host_names::REQUEST_TIMEOUT, "10sec", "10 secs"),
        (host_names::CONNECT_RETRY, "2sec", "2 secs"),
        (host_names::DISABLE_SSL, "T", "T"),
    ];
    let assignments: Vec<_> = values
        .iter()
        .map(|(name, value, _)| format!("{name}={value}"))
        .collect();
    let assignments: Vec<_> = assignments.iter().map(String::as_str).collect();
    let config = read(&assignments).unwrap();
    for (name, _, value) in values {
        let effective = shown(&config, name);
        assert_eq!(effective.value, value, "{name}");
        assert_eq!(effective.origin, Origin::Assignment, "{name}");
    }
    assert_eq!(config.working_dir, Path::new("/elsewhere"));
    assert_eq!(config.supervisor, PeerAddress::new("127.0.0.9", 4));
    assert_eq!(config.connect_retry, Duration::from_secs(2));
    assert!(matches!(config.broker_tls, TlsConfig::Off));
    let expected = Settings {
        agent: core::Settings {
            name: "n".into(),
            topic_prefix: "t".into(),
            node_topic: "nt".into(),
            connecting: true,
            listen_port: Port::tcp(1),
            request_timeout: Duration::from_secs(10),
            deployment_timeout: Duration::from_secs(10),
            zeek_deployment_timeout: Duration::from_secs(10),
            state_dir: "/state".into(),
            archival: Some(Archival {
                interval: Duration::from_secs(60),
                directory: "/spool/log-queue".into(),
                command: "archive --quick -1 /spool/log-queue /logs".into(),
            }),
            ..core::Settings::default()
        },
        supervisor: core::zeek::Settings {
            topic: "s".into(),
            answer_timeout: Duration::from_secs(8),
            ..core::zeek::Settings::default()
        },
        shim_topic: "st".into(),
        ..Settings::default()
    };
    assert_eq!(config.settings, expected);
}

#[test]
fn who_connects_to_whom_follows_from_the_controllers_address() {
    let controller = |arguments: &[&str]| {
        let config = read(arguments).unwrap();
        assert_eq!(config.settings.agent.connecting, config.controller.is_some());
        config.controller
    };
    let no_controller = "Management::Agent::controller=[$address=\"0.0.0.0\", $bound_port=0/unknown]";
    assert_eq!(controller(&[no_controller]), None);
    assert_eq!(controller(&["--controller=off"]), None);
    let there = PeerAddress::new("c.example", 7);
    assert_eq!(
        controller(&[no_controller, "--controller=c.example:7"]),
        Some(there)
    );
    let local = PeerAddress::new("127.0.0.1", 8);
    assert_eq!(
        controller(&["Management::Controller::default_port=8/tcp"]),
        Some(local)
    );
}

#[test]
fn testing_keeps_everything_below_the_current_directory_and_archives_nothing() {
    let variables = [("ZEEK_MANAGEMENT_TESTING", "1")];
    let config = read_with(&["--name=a", "--zeek-prefix=/nonexistent"], &variables).unwrap();
    assert_eq!(config.working_dir, Path::new("/cwd/nodes/a"));
    assert_eq!(config.management_log.rotation, None);
    let archival = config.settings.agent.archival.unwrap();
    assert_eq!(
        archival.interval,
        Duration::ZERO,
        "which the core takes for never"
    );
    let config = read(&["Management::Agent::archive_logs=F"]).unwrap();
    assert_eq!(config.settings.agent.archival, None);
}

#[test]
fn errors_say_where_what_and_how_to_mend_it() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["Management::Agent::nmae=x"],
            "command-line assignment: Zeek's agent has no setting Management::Agent::nmae; dump-config lists those that \
             have an effect",
        ),
        (
            &["Management::Agent::controller=10.0.0.1"],
            "command-line assignment: Management::Agent::controller: \"10.0.0.1\" is not an address and a port, as in \
             [$address=\"127.0.0.1\", $bound_port=2150/tcp]",
        ),
        (
            &["Management::Controller::default_port=0/unknown"],
            "command-line assignment: Management::Agent::controller: cannot connect to \"127.0.0.1\" at 0/unknown; name a \
             host and a port as in 2150/tcp, or the address 0.0.0.0 to be connected to",
        ),
        (
            &["--supervisor=9999"],
            "option --supervisor: supervisor: expected HOST:PORT or [IPV6]:PORT",
        ),
        (
            &["Broker::default_port=0/tcp"],
            "command-line assignment: Broker::default_port: cannot connect to the Supervisor at 0/tcp; name a port as in \
             9999/tcp",
        ),
        (
            &["--zeek-version=10.0"],
            "option --zeek-version: zeek version: \"10.0\" is not a version of Zeek from 5.0 to 9.0, as in 6.0.9",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(read(arguments).unwrap_err().to_string(), *expected);
    }
}

/// A Zeek installation that says it is this version, with these scripts.
fn installation(version: &str, scripts: &[&str]) -> tempfile::TempDir {
    let prefix = tempfile::tempdir().unwrap();
    let zeek = prefix.path().join("bin/zeek");
    fs::create_dir(zeek.parent().unwrap()).unwrap();
    fs::write(&zeek, format!("#!/bin/sh\necho zeek version {version}\n")).unwrap();
    fs::set_permissions(&zeek, fs::Permissions::from_mode(0o755)).unwrap();
    for script in scripts {
        let script = prefix.path().join("share/zeek").join(script);
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(script, "").unwrap();
    }
    prefix
}

fn read_with_zeek(prefix: &tempfile::TempDir, arguments: &[&str]) -> Config {
    let prefix = format!("--zeek-prefix={}", prefix.path().display());
    let arguments = [&DIRECTORIES[..2], &["--name=a", &prefix], arguments].concat();
    read_with(&arguments, &[]).unwrap()
}

#[test]
fn the_layout_is_that_of_the_installed_zeek_or_configured_but_not_guessed() {
    let layouts = |config: &Config| {
        let supervisor = &config.settings.supervisor;
        (supervisor.installed, supervisor.configured)
    };
    assert_eq!(layouts(&read(&[]).unwrap()), (None, None));
    let configured = read(&["--zeek-version=6.0.9"]).unwrap();
    assert_eq!(layouts(&configured), (None, Some(SupervisorLayout::V6_0)));

    let old = installation("5.2.1", &[]);
    let config = read_with_zeek(&old, &[]);
    assert_eq!(layouts(&config), (Some(SupervisorLayout::V5_1), None));
    assert_eq!(shown(&config, "installed zeek").value, "\"zeek version 5.2.1\"");

    let unknown = installation("12.0.0", &[]);
    let config = read_with_zeek(&unknown, &["--zeek-version=9.0.0"]);
    assert_eq!(layouts(&config), (None, Some(SupervisorLayout::V7_0)));
    assert_eq!(
        config.warnings[0],
        "the records of \"zeek version 12.0.0\" are not known; --zeek-version names a Zeek that has the same"
    );
}

#[test]
fn a_spool_directory_that_a_found_supervisor_may_not_have_is_a_warning() {
    let zeek = installation("9.0.0", &[]);
    let is_told = |config: &Config| {
        let told = "the spool directory is /spool: the Supervisor needs ZEEK_MANAGEMENT_SPOOL_DIR=/spool in its environment, ";
        config.warnings.iter().any(|warning| warning.starts_with(told))
    };
    assert!(is_told(&read_with_zeek(&zeek, &[])));
    assert!(!is_told(&read_with_zeek(&zeek, &["--start-supervisor"])));
    assert!(!is_told(&read(&[]).unwrap()), "no Zeek is known");
}

#[test]
fn nodes_get_zeeks_script_unless_the_installed_zeek_has_none() {
    const BASE: &str = "base/init-default.zeek";
    let script = |config: &Config| {
        let own = config.own_node_script.as_ref();
        let own = own.map(|path| path.display().to_string());
        (config.settings.agent.node_script.to_string(), own)
    };
    let of_zeek = ("policy/frameworks/management/node".to_owned(), None);
    // Nothing is known of the Zeek that the Supervisor is.
    assert_eq!(script(&read(&[]).unwrap()), of_zeek);
    let with = installation(
        "9.0.0",
        &[BASE, "policy/frameworks/management/node/__load__.zeek"],
    );
    assert_eq!(script(&read_with_zeek(&with, &[])), of_zeek);
    let without = installation("9.1.0", &[BASE]);
    let ours = "/state/nodes/a/scripts/node.zeek".to_owned();
    assert_eq!(script(&read_with_zeek(&without, &[])), (ours.clone(), Some(ours)));
    let given = read_with_zeek(&without, &["--node-script=/n.zeek"]);
    assert_eq!(script(&given), ("/n.zeek".to_owned(), None));
}

/// Otherwise it would wait for ever for a Supervisor that is itself.
#[test]
fn a_peer_that_is_the_agent_itself_is_refused() {
    for (listen, arguments, itself) in [
        ("0.0.0.0:2151", &["--supervisor=127.0.0.1:2151"][..], true),
        ("0.0.0.0:2151", &["--supervisor=localhost:2151"], true),
        (
            "127.0.0.1:2151",
            &["--supervisor=127.0.0.1:2151", "--simulate"],
            true,
        ),
        ("[::]:9999", &[], true),
        ("eth0:2151", &["--supervisor=eth0:2151"], true),
        ("127.0.0.1:2150", &[], true),
        ("10.0.0.1:2151", &["--controller=10.0.0.1:2151"], true),
        ("0.0.0.0:2151", &["--controller=10.0.0.1:2151"], false),
        ("10.0.0.1:2151", &["--supervisor=127.0.0.1:2151"], false),
        ("0.0.0.0:2151", &["--supervisor=[::1]:2151"], false),
        ("127.0.0.1:0", &["--supervisor=127.0.0.1:0", "--simulate"], false),
        ("off", &[], false),
    ] {
        let listen = format!("--listen={listen}");
        let outcome = read(&[&[&*listen], arguments].concat());
        match outcome {
            Ok(_) => assert!(!itself, "{listen} {arguments:?}"),
            Err(errors) => assert!(
                itself && errors.to_string().contains("the agent itself listens on "),
                "{listen} {arguments:?}: {errors}"
            ),
        }
    }
}

#[test]
fn the_patience_with_a_supervisor_of_ours_can_be_set_and_be_endless() {
    let patience = |arguments: &[&str]| {
        let arguments = [&["--simulate"], arguments].concat();
        let config = read(&arguments).unwrap();
        (
            config.settings.supervisor.patience,
            shown(&config, "supervisor patience").value.clone(),
        )
    };
    let minute = Duration::from_secs(60);
    assert_eq!(patience(&[]), (Some(minute), "60 secs".to_owned()));
    let set = |value| {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        let zeek = directory.path().join("bin/zeek");
        fs::write(&zeek, "#!/bin/sh\necho zeek version 9.0.0\n").unwrap();
        fs::set_permissions(&zeek, fs::Permissions::from_mode(0o755)).unwrap();
        let prefix = format!("--zeek-prefix={}", directory.path().display());
        let arguments = ["--start-supervisor", "--supervisor-patience", value, &prefix];
        read_with(&[&DIRECTORIES[..2], &arguments].concat(), &[])
            .map(|config| config.settings.supervisor.patience)
    };
    assert_eq!(set("2min").unwrap(), Some(2 * minute));
    assert_eq!(set("0sec").unwrap(), None);
    assert_eq!(set("1sec").unwrap(), Some(Duration::from_secs(1)));
    let error = set("1usec").unwrap_err().to_string();
    assert!(
        error.contains("a Supervisor needs a second at least to answer; or 0sec, to wait for ever"),
        "{error}"
    );
    let error = set("soon").unwrap_err().to_string();
    assert!(error.contains("an interval, as in 10 sec"), "{error}");
}

/// Others on the host obey it, its nodes included.
#[test]
fn the_supervisor_that_we_start_is_on_loopback_despite_zeeks_variable() {
    let prefix = tempfile::tempdir().unwrap();
    fs::create_dir(prefix.path().join("bin")).unwrap();
    fs::write(prefix.path().join("bin/zeek"), "").unwrap();
    let option = format!("--zeek-prefix={}", prefix.path().display());
    let variable = [("ZEEK_DEFAULT_LISTEN_ADDRESS", "0.0.0.0")];
    let directories = &DIRECTORIES[..2];
    let arguments = [directories, &[&option, "--start-supervisor"]].concat();
    let config = read_with(&arguments, &variable).unwrap();
    assert_eq!(config.supervisor, PeerAddress::new("127.0.0.1", 9999));
    let given = [&arguments[..], &["Broker::default_listen_address=0.0.0.0"]].concat();
    let error = read_with(&given, &variable).unwrap_err().to_string();
    assert!(error.contains("on a loopback address only"), "{error}");
    // One that is found listens where the variable says.
    let found = read_with(&[directories, &[&option]].concat(), &variable).unwrap();
    assert_eq!(found.supervisor.host, "0.0.0.0");
}

#[test]
fn a_prefix_without_a_zeek_is_a_warning() {
    let warnings = read(&[]).unwrap().warnings;
    let words = "option --zeek-prefix: there is no Zeek in /nonexistent, neither bin/zeek nor share/zeek";
    assert!(warnings.iter().any(|warning| warning == words), "{warnings:?}");
}

proptest! {
    #[test]
    fn what_is_dumped_can_be_fed_back(texts in prop::collection::vec(any::<String>(), 7), port in 1..=u16::MAX, nanos: u32, flag: bool) {
        let [topic, node_topic, shim_topic, supervisor_topic, command, logs, directory] = &texts[..] else {
            unreachable!("seven are asked for")
        };
        let flag = if flag { "T" } else { "F" };
        let given = [
            (names::TOPIC_PREFIX, topic.as_str()),
            (names::NODE_TOPIC, node_topic),
            (names::SHIM_TOPIC, shim_topic),
            (names::SUPERVISOR_TOPIC, supervisor_topic),
            (names::ARCHIVE_CMD, command),
            (names::ARCHIVE_DIR, logs),
            (names::DIRECTORY, directory),
            (names::ARCHIVE_LOGS, flag),
            (names::LISTEN_PORT, &format!("{port}/tcp")),
            (names::SUPERVISOR_PORT, if port == 1 { "2/tcp" } else { "1/tcp" }),
            (names::ARCHIVE_INTERVAL, &format!("{nanos} usec")),
            (names::CONTROLLER, &format!("[$address=\"c.example\", $bound_port={port}/tcp]")),
        ]
        .map(|(name, value)| format!("{name}={value}"));
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let config = read(&given).unwrap();
        let script = tempfile::NamedTempFile::new().unwrap();
        fs::write(script.path(), config.dump_text()).unwrap();
        let fed_back = read(&[&format!("--redefs={}", script.path().display())]).unwrap();
        prop_assert_eq!(zeeks(&fed_back), zeeks(&config));
    }
}

/// The settings by Zeek's names.
fn zeeks(config: &Config) -> Vec<(&'static str, &str)> {
    let named = config.effective.iter().filter(|shown| shown.name.contains("::"));
    named.map(|shown| (shown.name, shown.value.as_str())).collect()
}
