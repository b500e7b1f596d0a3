use std::fs;

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{Dialect, Level};
use mgmt_daemon::config::{Effective, Environment, Value, dump_text};
use proptest::prelude::*;

use super::*;

/// What is always given, so that files are where tests expect them; no Zeek is there.
pub(super) const DIRECTORIES: &str = "--state-dir=/state --spool-dir=/spool";
const NO_ZEEK: &str = "--zeek-prefix=/nonexistent";

/// Reads what is given by these words: variables such as `$NAME=value`, and arguments, with `␣` for a blank.
pub(super) fn read_only(given: &str) -> Result<Config, ConfigErrors> {
    let words = given.split_whitespace().map(|word| word.replace('␣', " "));
    let (variables, arguments): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('$'));
    let variables = variables.iter().map(|word| word[1..].split_once('=').unwrap());
    let environment = Environment::new(variables, "/cwd");
    let arguments = [vec!["mgmt-agent".to_owned()], arguments].concat();
    let options = SCHEMA.command().try_get_matches_from(arguments).unwrap();
    Config::resolve(Resolver::gather(&SCHEMA, &environment, &options))
}

pub(super) fn read(given: &str) -> Result<Config, ConfigErrors> {
    read_only(&format!("{DIRECTORIES} {NO_ZEEK} {given}"))
}

pub(super) fn shown<'a>(config: &'a Config, key: &str) -> &'a Effective {
    config
        .daemon
        .resolved
        .shown(key)
        .unwrap_or_else(|| panic!("{key} is not shown"))
}

#[test]
fn defaults_are_those_of_zeek() {
    let config = read("--name=a").unwrap();
    assert_eq!(config.daemon.working_dir, Path::new("/state/nodes/a"));
    assert_eq!(config.listen.to_string(), "0.0.0.0:2151");
    assert_eq!(config.controller, Some(PeerAddress::new("127.0.0.1", 2150)));
    assert_eq!(config.supervisor, None);
    assert_eq!(config.daemon.management_log.level, Level::Info);
    let expected = Settings {
        name: "a".into(),
        state_dir: "/state".into(),
        archival: Some(Archival {
            interval: Duration::from_secs(3_600),
            directory: "/spool/log-queue".into(),
            command: "/nonexistent/bin/zeek-archiver -1 /spool/log-queue /nonexistent/logs".into(),
        }),
        supervise: Supervise::Native,
        launch: config.settings.launch.clone(),
        ..Settings::default()
    };
    assert_eq!(config.settings, expected);
    let no_zeek = "option --zeek-prefix: there is no Zeek in /nonexistent, neither bin/zeek nor share/zeek";
    assert_eq!(config.daemon.resolved.warnings, [no_zeek]);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(read("").unwrap().daemon.name, format!("agent-{}", host.trim()));
    let shown = &shown(&config, "controller").value;
    assert_eq!(shown, "[$address=\"127.0.0.1\", $bound_port=2150/tcp]");
}

#[test]
fn the_environment_is_read() {
    let given = "$ZEEK_AGENT_NAME=a $ZEEK_AGENT_ADDR=10.0.0.1 $ZEEK_AGENT_PORT=3151/tcp $ZEEK_CONTROLLER_PORT=3150/tcp \
                 $ZEEK_DEFAULT_LISTEN_ADDRESS=10.0.0.2 $ZEEK_MANAGEMENT_STATE_DIR=/s $ZEEK_MANAGEMENT_SPOOL_DIR=relative/spool \
                 $MGMT_AGENT_CONTROLLER_API=seed";
    let config = read_only(&format!("{given} {NO_ZEEK} --supervise=zeek")).unwrap();
    assert_eq!(config.daemon.working_dir, Path::new("/s/nodes/a"));
    assert_eq!(config.listen.to_string(), "10.0.0.1:3151");
    assert_eq!(config.controller, Some(PeerAddress::new("127.0.0.1", 3150)));
    assert_eq!(config.supervisor, Some(PeerAddress::new("10.0.0.2", 9999)));
    assert_eq!(config.settings.controller_api, Dialect::Seed);
    let archival = config.settings.archival.unwrap();
    assert_eq!(archival.directory, "/cwd/relative/spool/log-queue");
    let config = read(&format!("{given} --controller-api=4.2")).unwrap();
    assert_eq!(config.settings.controller_api, Dialect::V4_2);
}

/// Each setting of Zeek's, what is assigned, and what is shown, with `_` for a blank.
const VALUES: &str = r#"
    name n "n"
    listen_address 127.0.0.1 "127.0.0.1"
    listen_port 1/tcp "1/tcp"
    controller [$address="c.example",$bound_port=3/tcp] [$address="c.example",_$bound_port=3/tcp]
    supervisor_address 127.0.0.9 "127.0.0.9"
    supervisor_port 4/tcp 4/tcp
    request_timeout 9sec 9_secs
    archive_logs T T
    archive_interval 1min 60_secs
    archive_cmd archive␣--quick "archive_--quick"
    archive_dir /logs "/logs"
    directory /elsewhere "/elsewhere"
    agent_topic t "t"
    node_topic nt "nt"
    shim_topic st "st"
    supervisor_topic s "s"
    connect_retry 2sec 2_secs
    disable_ssl T T"#;

#[test]
fn every_setting_of_zeek_can_be_assigned_and_is_shown() {
    let rows = VALUES.lines().skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split_whitespace().collect()).collect();
    let given = rows
        .iter()
        .map(|row| format!("{}={} ", SCHEMA.setting(row[0]), row[1]));
    let config = read(&given.collect::<String>()).unwrap();
    for row in &rows {
        let effective = shown(&config, row[0]);
        assert_eq!(
            effective.value,
            row[2].replace('_', " ").replace("bound port", "bound_port"),
            "{row:?}"
        );
        assert_eq!(effective.origin, Origin::Assignment, "{row:?}");
    }
    let own = SCHEMA.tables[0].iter().filter(|setting| !setting.zeek.is_empty());
    let missing = own
        .map(|setting| setting.key)
        .filter(|key| rows.iter().all(|row| row[0] != *key));
    let of_others = ["default_port", "controller_port", "controller_default_port"];
    assert_eq!(
        missing.collect::<Vec<_>>(),
        of_others,
        "these are defaults of others"
    );

    assert_eq!(config.daemon.working_dir, Path::new("/elsewhere"));
    assert_eq!(config.supervisor, Some(PeerAddress::new("127.0.0.9", 4)));
    assert_eq!(config.daemon.connect_retry, Some(Duration::from_secs(2)));
    assert!(matches!(config.daemon.broker_tls, TlsConfig::Off));
    let expected = Settings {
        name: "n".into(),
        topic_prefix: "t".into(),
        node_topic: "nt".into(),
        connecting: true,
        listen_port: Port::tcp(1),
        request_timeout: Duration::from_secs(9),
        deployment_timeout: Duration::from_secs(9),
        zeek_deployment_timeout: Duration::from_secs(9),
        state_dir: "/state".into(),
        archival: Some(Archival {
            interval: Duration::from_secs(60),
            directory: "/spool/log-queue".into(),
            command: "archive --quick -1 /spool/log-queue /logs".into(),
        }),
        zeek: ZeekSettings {
            topic: "s".into(),
            shim_topic: "st".into(),
            answer_timeout: Duration::from_millis(7_200),
            ..ZeekSettings::default()
        },
        launch: config.settings.launch.clone(),
        ..Settings::default()
    };
    assert_eq!(config.settings, expected);
}

#[test]
fn who_connects_to_whom_follows_from_the_controllers_address() {
    let none = "Management::Agent::controller=[$address=\"0.0.0.0\",$bound_port=0/unknown]";
    for (given, expected) in [
        (none, None),
        ("--controller=off", None),
        (&*format!("{none} --controller=c.example:7"), Some("c.example:7")),
        ("Management::Controller::default_port=8/tcp", Some("127.0.0.1:8")),
    ] {
        let config = read(given).unwrap();
        let controller = config.controller.map(|controller| controller.to_string());
        assert_eq!(controller.as_deref(), expected, "{given}");
        assert_eq!(config.settings.connecting, expected.is_some());
    }
}

#[test]
fn testing_keeps_everything_below_the_current_directory_and_archives_nothing() {
    let config = read_only(&format!("--name=a {NO_ZEEK} $ZEEK_MANAGEMENT_TESTING=1")).unwrap();
    assert_eq!(config.daemon.working_dir, Path::new("/cwd/nodes/a"));
    assert_eq!(config.daemon.management_log.rotation, None);
    let archival = config.settings.archival.unwrap();
    assert_eq!(
        archival.interval,
        Duration::ZERO,
        "which the core takes for never"
    );
    let config = read("Management::Agent::archive_logs=F").unwrap();
    assert_eq!(config.settings.archival, None);
}

#[test]
fn errors_say_where_what_and_how_to_mend_it() {
    let cases = r#"
        Management::Agent::nmae=x
        command-line assignment: Zeek's agent has no setting Management::Agent::nmae; dump-config lists those that have an effect
        Management::Agent::controller=10.0.0.1
        command-line assignment: Management::Agent::controller: "10.0.0.1" is not an address and a port, as in [$address="127.0.0.1", $bound_port=2150/tcp]
        Management::Controller::default_port=0/unknown
        command-line assignment: Management::Agent::controller: cannot connect to "127.0.0.1" at 0/unknown; name a host and a port as in 2150/tcp, or the address 0.0.0.0 to be connected to
        --supervisor=9999
        option --supervisor: supervisor: "9999" is not a host with a port, as in controller.example:2150 or [::1]:2150
        Broker::default_port=0/tcp
        command-line assignment: Broker::default_port: cannot connect to the Supervisor at 0/tcp; name a port as in 9999/tcp
        --zeek-version=10.0
        option --zeek-version: zeek_version: "10.0" is not a version of Zeek from 5.0 to 9.0, as in 6.0.9
        --zeek-argument=local
        option --zeek-argument: zeek_argument: it is for --start-supervisor only
        --simulate --supervisor-timeout=2sec
        option --supervisor-timeout: supervisor_timeout: it is for --start-supervisor only
        --simulate --start-supervisor
        option --simulate: simulate: it cannot be used with --start-supervisor; choose one, or --simulate --supervise zeek
        --start-supervisor
        option --start-supervisor: start_supervisor: there is no zeek in bin of the installation, nor on PATH; name the installation by --zeek-prefix"#;
    let lines: Vec<&str> = cases.lines().skip(1).map(str::trim).collect();
    for case in lines.chunks(2) {
        let errors = read(case[0]).unwrap_err();
        assert_eq!(errors.to_string(), case[1]);
        assert!(errors.is_usage(), "{}", case[0]);
    }
    let gone = SCHEMA
        .command()
        .try_get_matches_from(["", "--peer-api", "seed"])
        .unwrap_err();
    assert!(gone.to_string().contains("--controller-api now"), "{gone}");
}

/// Otherwise it would wait for ever for a Supervisor that is itself.
#[test]
fn a_peer_that_is_the_agent_itself_is_refused() {
    for (itself, given) in [
        (true, "--listen=0.0.0.0:2151 --supervisor=127.0.0.1:2151"),
        (true, "--listen=0.0.0.0:2151 --supervisor=localhost:2151"),
        (
            true,
            "--listen=127.0.0.1:2151 --supervisor=127.0.0.1:2151 --simulate",
        ),
        (true, "--listen=[::]:9999 --supervise=zeek"),
        (true, "--listen=eth0:2151 --supervisor=eth0:2151"),
        (true, "--listen=127.0.0.1:2150"),
        (true, "--listen=10.0.0.1:2151 --controller=10.0.0.1:2151"),
        (false, "--listen=0.0.0.0:2151 --controller=10.0.0.1:2151"),
        (false, "--listen=10.0.0.1:2151 --supervisor=127.0.0.1:2151"),
        (false, "--listen=0.0.0.0:2151 --supervisor=[::1]:2151"),
        (false, "--listen=127.0.0.1:0 --supervisor=127.0.0.1:0 --simulate"),
        (false, "--listen=[::]:9999"),
        (false, "--listen=off"),
    ] {
        let error = read(given).err().map(|errors| errors.to_string());
        assert_eq!(error.is_some(), itself, "{given}");
        let words = "the agent itself listens on ";
        assert!(error.is_none_or(|error| error.contains(words)), "{given}");
    }
}

proptest! {
    #[test]
    fn what_is_dumped_can_be_fed_back(texts in prop::collection::vec(any::<String>(), 7), port in 1..=u16::MAX, nanos: u32, flag: bool) {
        let keys = ["agent_topic", "node_topic", "shim_topic", "supervisor_topic", "archive_cmd", "archive_dir", "directory"];
        let texts = keys.into_iter().zip(texts.iter().map(Value::show));
        let others = [
            ("archive_logs", flag.show()),
            ("listen_port", format!("\"{port}/tcp\"")),
            ("supervisor_port", if port == 1 { "2/tcp" } else { "1/tcp" }.to_owned()),
            ("archive_interval", format!("{nanos} usec")),
            ("controller", format!("[$address=\"c.example\", $bound_port={port}/tcp]")),
        ];
        let given = texts.chain(others).map(|(key, value)| format!("redef {} = {value};\n", SCHEMA.setting(key)));
        let script = tempfile::NamedTempFile::new().unwrap();
        let read_script = |text: &str| {
            fs::write(script.path(), text).unwrap();
            read(&format!("--redefs={}", script.path().display())).unwrap()
        };
        let config = read_script(&given.collect::<String>());
        let fed_back = read_script(&dump_text(&config.daemon.resolved.effective));
        prop_assert_eq!(zeeks(&fed_back), zeeks(&config));
    }
}

/// The settings that Zeek has.
fn zeeks(config: &Config) -> Vec<(&'static str, &str)> {
    let effective = config.daemon.resolved.effective.iter();
    let named = effective.filter(|shown| !shown.setting.zeek.is_empty());
    named.map(|shown| (shown.setting.key, &*shown.value)).collect()
}

#[test]
fn an_agent_that_is_enrolled_needs_no_other_settings() {
    let home = tempfile::tempdir().unwrap();
    let enrolment = home.path().join("enrolment");
    fs::create_dir(&enrolment).unwrap();
    let json = |url: &str, broker: &str| {
        let ca = "0".repeat(64);
        format!(r#"{{"name":"sensor1","url":"{url}"{broker},"ca":"{ca}"}}"#)
    };
    let path = enrolment.join("enrolment.json");
    let read = |json: &str, given: &str| {
        fs::write(&path, json).unwrap();
        let state = home.path().display();
        read_only(&format!(
            "--state-dir={state} --spool-dir=/spool {NO_ZEEK} {given}"
        ))
        .unwrap()
    };
    let hub = json("https://[2001:db8::1]:2148", r#","broker":2150"#);
    let config = read(&hub, "");
    assert_eq!(config.daemon.name, "sensor1");
    assert_eq!(config.controller, Some(PeerAddress::new("2001:db8::1", 2150)));
    let TlsConfig::Mutual { identity, trust } = &config.daemon.broker_tls else {
        panic!("{config:?}");
    };
    assert_eq!(identity.certificate, enrolment.join("agent.pem"));
    assert_eq!(trust.ca_file, Some(enrolment.join("ca.pem")));
    assert_eq!(config.daemon.roles, ["controller:* deploy".parse().unwrap()]);
    for key in ["name", "controller", "ssl_keyfile", "roles"] {
        assert_eq!(
            shown(&config, key).origin,
            Origin::Enrolment(path.clone()),
            "{key}"
        );
    }
    let given = "--name=a --controller=hub:1 --roles=x␣deploy Broker::disable_ssl=T";
    let config = read(&hub, given);
    assert_eq!((&*config.daemon.name, config.daemon.roles.len()), ("a", 1));
    assert_eq!(config.controller, Some(PeerAddress::new("hub", 1)));
    assert!(matches!(config.daemon.broker_tls, TlsConfig::Off));
    // A controller that connects itself.
    assert_eq!(read(&json("https://hub", ""), "").controller, None);
    let config = read("{", "");
    assert!(config.daemon.resolved.suspicious);
    assert!(matches!(config.daemon.broker_tls, TlsConfig::Anonymous));
}
