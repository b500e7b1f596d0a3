use std::{fs, net::SocketAddr, path::Path};

use clap::Parser;

use mgmt_api::{Dialect, Level};
use mgmt_daemon::config::names as host_names;
use proptest::prelude::*;

use super::*;
use crate::cli::Cli;

/// What is always given, so that no Zeek installation is looked for.
const DIRECTORIES: [&str; 2] = ["--state-dir=/state", "--spool-dir=/spool"];

fn read_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let arguments = ["mgmt-controller"].iter().chain(arguments);
    let environment = Environment::new(variables.iter().copied(), "/cwd");
    Config::read(&Cli::try_parse_from(arguments).unwrap().settings, &environment)
}

fn read(arguments: &[&str]) -> Result<Config, ConfigErrors> {
    read_with(&[&DIRECTORIES, arguments].concat(), &[])
}

fn script(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn origin_of(config: &Config, name: &str) -> String {
    let shown = config.effective.iter().find(|shown| shown.name == name).unwrap();
    shown.origin.to_string()
}

#[test]
fn defaults_are_those_of_zeek() {
    let config = read(&["--name=controller"]).unwrap();
    assert_eq!(config.working_dir, Path::new("/state/nodes/controller"));
    assert_eq!(config.store_dir, config.working_dir);
    assert_eq!(config.broker.to_string(), "0.0.0.0:2150");
    assert_eq!(config.websocket, Some(address("0.0.0.0:2149")));
    assert_eq!(config.settings, Settings::default());
    assert_eq!(config.management_log.level, Level::Info);
    let rotation = config.management_log.rotation.unwrap();
    assert_eq!(rotation.interval, Duration::from_secs(3_600));
    assert_eq!(rotation.dir, Path::new("/spool/log-queue"));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn absent_instances_fail_a_deployment_or_are_skipped() {
    assert_eq!(
        read(&[]).unwrap().settings.absent_instances,
        AbsentInstances::Fail
    );
    let arguments = [&DIRECTORIES[..], &["--absent-instances=skip"]].concat();
    let variables = [("MGMT_CONTROLLER_ABSENT_INSTANCES", "fail")];
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.settings.absent_instances, AbsentInstances::Skip);
    let variables = [("MGMT_CONTROLLER_ABSENT_INSTANCES", "wait")];
    let errors = read_with(&DIRECTORIES, &variables).unwrap_err().to_string();
    assert!(errors.contains("\"wait\" is not fail or skip"), "{errors}");
}

#[test]
fn a_time_limit_out_of_order_is_a_warning() {
    for (timeout, warning) in [
        ("10", None),
        ("9", None),
        ("8", Some("may take 15 s")),
        ("12", Some("waits for 20 s")),
    ] {
        let setting = format!("Management::Request::timeout_interval={timeout}sec");
        let arguments = [&DIRECTORIES[..], &[&setting]].concat();
        let warnings = read_with(&arguments, &[]).unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{warnings:?}");
        assert!(
            warnings.iter().all(|text| text.contains(warning.unwrap())),
            "{warnings:?}"
        );
    }
}

#[test]
fn web_pages_may_know_the_port_by_names_of_the_environment_or_the_command_line() {
    let variables = [("MGMT_CONTROLLER_WEBSOCKET_HOST", "a.example, b.example")];
    let config = read_with(&DIRECTORIES, &variables).unwrap();
    assert_eq!(config.websocket_hosts, ["a.example", "b.example"]);
    let dump = config.dump_text();
    assert!(dump.contains("MGMT_CONTROLLER_WEBSOCKET_HOST"), "{dump}");
    let arguments = [&DIRECTORIES[..], &["--websocket-host=c.example"]].concat();
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(
        config.websocket_hosts,
        ["c.example"],
        "the command line has its way"
    );
    assert_eq!(
        read(&["--websocket-host=*.Lab_1.example"])
            .unwrap()
            .websocket_hosts,
        ["*.Lab_1.example"]
    );
    for wrong in [
        "a b",
        "a.example,evil/..",
        "a.example:2149",
        "http://a",
        "*",
        "a.*.example",
        "[::1]",
    ] {
        let error = read(&["--websocket-host", wrong]).unwrap_err().to_string();
        assert!(
            error.contains("is not the name of a host, as in"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn each_kind_of_peer_has_a_setting_for_what_it_speaks() {
    assert_eq!(read(&[]).unwrap().assumed, Assumed::default());
    let arguments = [&DIRECTORIES[..], &["--agent-api=5.0.0-rc1"]].concat();
    let variables = [
        ("MGMT_CONTROLLER_AGENT_API", "seed"),
        ("MGMT_CONTROLLER_CLIENT_API", "4.1"),
    ];
    let config = read_with(&arguments, &variables).unwrap();
    let expected = Assumed {
        agents: Dialect::V5_0Rc1,
        clients: Dialect::V4_1,
        websocket: Dialect::V7_0,
    };
    assert_eq!(config.assumed, expected);
    let error = Cli::try_parse_from(["mgmt-controller", "--peer-api", "seed"]).unwrap_err();
    assert!(
        error.to_string().contains("--agent-api for agents, --client-api"),
        "{error}"
    );
}

#[test]
fn the_default_name_holds_the_host_name() {
    let host = hostname::get().unwrap().into_string().unwrap();
    let expected = format!("controller-{host}");
    assert_eq!(read(&[]).unwrap().name, expected);
    // As Zeek's getenv: an empty variable is no variable.
    let config = read_with(&DIRECTORIES, &[("ZEEK_CONTROLLER_NAME", "")]).unwrap();
    assert_eq!(config.name, expected);
}

#[test]
fn the_environment_of_zeek_is_read() {
    let config = read_with(
        &[],
        &[
            ("ZEEK_CONTROLLER_NAME", "c"),
            ("ZEEK_CONTROLLER_ADDR", "10.0.0.1"),
            ("ZEEK_CONTROLLER_PORT", "3150/tcp"),
            ("ZEEK_CONTROLLER_WEBSOCKET_ADDR", "::1"),
            ("ZEEK_CONTROLLER_WEBSOCKET_PORT", "3149/tcp"),
            ("ZEEK_MANAGEMENT_STATE_DIR", "/s"),
            ("ZEEK_MANAGEMENT_SPOOL_DIR", "relative/spool"),
        ],
    )
    .unwrap();
    assert_eq!(config.working_dir, Path::new("/s/nodes/c"));
    assert_eq!(config.broker.to_string(), "10.0.0.1:3150");
    assert_eq!(config.websocket, Some(address("[::1]:3149")));
    assert_eq!(config.settings.broker_port, Some(Port::tcp(3150)));
    let rotation = config.management_log.rotation.unwrap();
    assert_eq!(rotation.dir, Path::new("/cwd/relative/spool/log-queue"));
    assert_eq!(
        config.effective[0],
        Effective {
            name: "Management::Controller::name",
            value: "\"c\"".to_owned(),
            origin: Origin::Environment("ZEEK_CONTROLLER_NAME"),
            note: None,
        }
    );
}

#[test]
fn the_nearer_source_wins() {
    let file = script(
        "redef Management::Controller::name = \"script\";\nredef Management::Controller::default_port = 1/tcp;\nredef \
         Management::Controller::default_port = 2/tcp;",
    );
    let redefs = format!("--redefs={}", file.path().display());
    let variables = [("ZEEK_CONTROLLER_NAME", "environment")];
    let name = "Management::Controller::name";
    let assignment = "Management::Controller::name=assignment";

    let mut arguments = DIRECTORIES.to_vec();
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.name, "environment");

    arguments.push(&redefs);
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.name, "script");
    assert_eq!(origin_of(&config, name), format!("{}:1", file.path().display()));
    assert_eq!(config.broker.to_string(), "0.0.0.0:2");

    arguments.push(assignment);
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.name, "assignment");
    assert_eq!(origin_of(&config, name), "command-line assignment");

    arguments.push("--name=option");
    let config = read_with(&arguments, &variables).unwrap();
    assert_eq!(config.name, "option");
    assert_eq!(origin_of(&config, name), "option --name");
}

#[test]
fn every_setting_can_be_assigned_and_is_shown() {
    let values = [
        (names::NAME, "n", "\"n\""),
        (names::DIRECTORY, "/elsewhere", "\"/elsewhere\""),
        (names::TOPIC, "t", "\"t\""),
        (names::LISTEN_ADDRESS, "127.0.0.1", "\"127.0.0.1\""),
        (names::LISTEN_PORT, "1/tcp", "\"1/tcp\""),
        (names::LISTEN_ADDRESS_WEBSOCKET, "127.0.0.2", "\"127.0.0.2\""),
        (names::LISTEN_PORT_WEBSOCKET, "2/tcp", "\"2/tcp\""),
        (names::ASSIGN_BROKER_PORTS, "F", "F"),
        (names::BROKER_START_PORT, "3/tcp", "3/tcp"),
        (names::ASSIGN_METRICS_PORTS, "F", "F"),
        (names::METRICS_START_PORT, "4/tcp", "4/tcp"),
        (host_names::STATE_DIR, "/s", "\"/s\""),
        (host_names::SPOOL_DIR, "/p", "\"/p\""),
        (
            host_names::LOG_LEVEL,
            "Management::Log::DEBUG",
            "Management::Log::DEBUG",
        ),
        (names::REQUEST_TIMEOUT, "1sec", "1 secs"),
        (names::STORE_DIRECTORY, "store", "\"store\""),
        (names::CONNECT_RETRY, "2sec", "2 secs"),
        (host_names::DISABLE_SSL, "F", "F"),
        (host_names::SSL_CERTIFICATE, "cert.pem", "\"/cwd/cert.pem\""),
        (host_names::SSL_KEYFILE, "/key.pem", "\"/key.pem\""),
        (host_names::SSL_PASSPHRASE, "secret", "(not shown)"),
        (host_names::SSL_CAFILE, "/ca.pem", "\"/ca.pem\""),
        (host_names::SSL_CAPATH, "/cas", "\"/cas\""),
        (host_names::ROTATION_INTERVAL, "30 min", "1800 secs"),
        (host_names::ROTATION_DIR, "/q", "\"/q\""),
        (host_names::ROTATION_BASE_TIME, "1:30", "\"1:30\""),
        (host_names::FIELD_BYTES_MAX, "100", "100"),
    ];
    let assignments: Vec<_> = values
        .iter()
        .map(|(name, value, _)| format!("{name}={value}"))
        .collect();
    let assignments: Vec<_> = assignments.iter().map(String::as_str).collect();
    let config = read_with(&assignments, &[]).unwrap();
    for (name, _, shown) in values {
        let effective = config.effective.iter().find(|effective| effective.name == name);
        let effective = effective.unwrap_or_else(|| panic!("{name} is not shown"));
        assert_eq!(effective.value, shown, "{name}");
        assert_eq!(effective.origin, Origin::Assignment, "{name}");
    }
    assert_eq!(config.working_dir, Path::new("/elsewhere"));
    assert_eq!(config.store_dir, Path::new("/elsewhere/store"));
    assert_eq!(
        config.settings,
        Settings {
            topic: "t".into(),
            request_timeout: Duration::from_secs(1),
            broker_port: Some(Port::tcp(1)),
            auto_assign_broker_ports: false,
            auto_assign_broker_start_port: Port::tcp(3),
            auto_assign_metrics_ports: false,
            auto_assign_metrics_start_port: Port::tcp(4),
            ..Settings::default()
        }
    );
    assert_eq!(
        config.management_log,
        LogConfig {
            level: Level::Debug,
            field_bytes_max: 100,
            rotation: Some(RotationConfig {
                interval: Duration::from_secs(1_800),
                base: TimeOfDay { minutes: 90 },
                dir: PathBuf::from("/q"),
                keep: Some(Duration::from_secs(30 * 86_400)),
            }),
        }
    );
}

#[test]
fn rotated_logs_are_kept_for_a_time_or_for_ever() {
    let keep = |argument: &str| {
        let rotation = read(&[argument]).unwrap().management_log.rotation;
        rotation.unwrap().keep
    };
    assert_eq!(keep("--keep-logs=2hrs"), Some(Duration::from_secs(7_200)));
    assert_eq!(keep("--keep-logs=0sec"), None);
}

/// What is not shown under its own name shows as the setting that it is the default of.
#[test]
fn the_remaining_settings_are_defaults_of_others() {
    let config = read(&[
        "Management::default_address=127.0.0.3",
        "Management::Controller::default_port=5/tcp",
        "Management::Controller::default_port_websocket=6/tcp",
    ])
    .unwrap();
    assert_eq!(config.broker.to_string(), "127.0.0.3:5");
    assert_eq!(config.websocket, Some(address("127.0.0.3:6")));
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// `Broker::listen` takes them, and so does our endpoint.
#[test]
fn agents_can_be_served_on_an_interface_or_a_name() {
    for (arguments, shown) in [
        (&["Management::Controller::listen_address=eth0"][..], "eth0:2150"),
        (&["--listen=localhost:5"], "localhost:5"),
        // The same port, which may be another address.
        (
            &["--listen=eth0:2149", "--websocket-listen=127.0.0.1:2149"],
            "eth0:2149",
        ),
    ] {
        let config = read(arguments).unwrap();
        assert_eq!(config.broker.to_string(), shown);
        let at = shown.rsplit_once(':').unwrap();
        assert_eq!(
            config.settings.broker_port,
            Some(Port::tcp(at.1.parse().unwrap()))
        );
        assert!(config.dump_text().contains(&format!("{:?}", at.0)), "{shown}");
    }
}

#[test]
fn port_0_unknown_is_no_listener_and_0_tcp_any_port() {
    let config = read(&[
        "Management::Controller::default_port=0/unknown",
        "Management::Controller::default_port_websocket=0/tcp",
    ])
    .unwrap();
    assert_eq!(config.broker, Listener::Off);
    assert_eq!(config.settings.broker_port, None);
    assert_eq!(config.websocket, Some(address("0.0.0.0:0")));

    let config = read(&["--listen=off", "--websocket-listen=127.0.0.1:0"]).unwrap();
    assert_eq!(config.broker, Listener::Off);
    assert_eq!(config.websocket, Some(address("127.0.0.1:0")));
}

#[test]
fn testing_keeps_everything_below_the_current_directory() {
    let config = read_with(
        &["--name=c"],
        &[
            ("ZEEK_MANAGEMENT_TESTING", "1"),
            ("ZEEK_MANAGEMENT_STATE_DIR", "/s"),
        ],
    )
    .unwrap();
    assert_eq!(config.working_dir, Path::new("/cwd/nodes/c"));
    assert_eq!(config.management_log.rotation, None);
}

/// Arguments, environment, and what is wrong with them.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn errors_say_where_what_and_how_to_mend_it() {
    let local = script("\n\nredef Management::Controller::name += \"x\";\n");
    let redefs = format!("--redefs={}", local.path().display());
    let cases: &[Case<'_>] = &[
        (
            &[],
            &[("ZEEK_CONTROLLER_PORT", "2150")],
            "environment variable ZEEK_CONTROLLER_PORT: Management::Controller::listen_port: \"2150\" is not a port with \
             its protocol, as in 2150/tcp",
        ),
        (
            &["Management::Controller::default_port=2150/udp"],
            &[],
            "command-line assignment: Management::Controller::listen_port: cannot listen on 2150/udp; use a port as in \
             2150/tcp, or 0/unknown for no listener",
        ),
        (
            &["--websocket-listen=0.0.0.0:2150"],
            &[],
            "option --websocket-listen: Management::Controller::listen_port_websocket: port 2150 is also the Broker \
             port of Management::Controller::listen_port; choose another",
        ),
        (
            &["Management::Controller::nmae=x"],
            &[],
            "command-line assignment: Zeek's controller has no setting Management::Controller::nmae; dump-config lists \
             those that have an effect",
        ),
        (
            &["local.zeek"],
            &[],
            "argument \"local.zeek\" is not of the form MODULE::NAME=VALUE; see --help",
        ),
        (
            &["--name=a/b"],
            &[],
            "option --name: Management::Controller::name: \"a/b\" cannot be the name of a directory; choose another name",
        ),
        (
            &["--process-name="],
            &[],
            "option --process-name: process name: \"\" cannot be a name; use one such as zeek.agent",
        ),
        (
            &["Management::Controller::tls_options_websocket=[$cert_file=\"cert.pem\"]"],
            &[],
            "command-line assignment: Management::Controller::tls_options_websocket: $cert_file needs $key_file",
        ),
        (
            &["Broker::ssl_certificate=cert.pem"],
            &[],
            "command-line assignment: Broker::ssl_certificate: TLS with certificates needs a private key \
             (Broker::ssl_keyfile); name one, or unset every other certificate option",
        ),
        (
            &["--redefs=/nonexistent/local.zeek"],
            &[],
            "cannot read the redefinitions in /nonexistent/local.zeek: No such file or directory (os error 2)",
        ),
        (
            &[&redefs],
            &[],
            "local.zeek:3: cannot read the redefinition of Management::Controller::name: it adds to a value; only = is \
             read; give the value on the command line instead",
        ),
        (
            &["Management::Controller::listen_address_websocket=localhost"],
            &[],
            "command-line assignment: Management::Controller::listen_address_websocket: \"localhost\" is not an IP \
             address, as in 0.0.0.0 or ::1",
        ),
        (
            &["Management::Controller::listen_address=all of them"],
            &[],
            "command-line assignment: Management::Controller::listen_address: \"all of them\" is not an address, an \
             interface or a host, as in 0.0.0.0, ::1 or eth0",
        ),
        (
            &["--listen=eth0:2149", "--websocket-listen=0.0.0.0:2149"],
            &[],
            "option --websocket-listen: Management::Controller::listen_port_websocket: port 2149 is also the Broker \
             port of Management::Controller::listen_port; choose another",
        ),
    ];
    for (arguments, variables, expected) in cases {
        let arguments = [&DIRECTORIES, *arguments].concat();
        let errors = read_with(&arguments, variables).unwrap_err();
        let text = errors
            .to_string()
            .replace(&local.path().display().to_string(), "local.zeek");
        assert_eq!(text, *expected);
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = read_with(
        &[
            &DIRECTORIES[..],
            &["--name=.", "Management::Controller::default_port=x"],
        ]
        .concat(),
        &[("ZEEK_CONTROLLER_ADDR", "some where")],
    )
    .unwrap_err();
    assert_eq!(errors.iter().count(), 3);
    assert!(errors.is_usage());
    let errors = read_with(&DIRECTORIES, &[("ZEEK_CONTROLLER_ADDR", "some where")]).unwrap_err();
    assert!(!errors.is_usage());
}

#[test]
fn what_has_no_effect_is_named() {
    let local = script(
        "@load policy/tuning/json-logs\nredef Management::Agent::name = \"a\";\nredef Management::Controller::nmae = \
         \"x\";\nredef Site::local_nets += { 10.0.0.0/8 };\nredef Broker::disable_ssl = T;\n",
    );
    let config = read(&[
        "Management::Agent::name=a",
        &format!("--redefs={}", local.path().display()),
    ])
    .unwrap();
    let warnings: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| warning.replace(&local.path().display().to_string(), "local.zeek"))
        .collect();
    assert_eq!(
        warnings,
        [
            "local.zeek:2: Management::Agent::name is no setting of the controller, ignored",
            "local.zeek:3: Zeek's controller has no setting Management::Controller::nmae, ignored",
            "local.zeek:4: redefinition of Site::local_nets ignored: it adds to a value; only = is read",
            "Management::Agent::name is no setting of the controller, ignored",
        ]
    );
}

#[test]
fn the_dump_shows_values_and_origins() {
    let config = read(&["--name=c"]).unwrap();
    let text = config.dump_text();
    let line = text
        .lines()
        .find(|line| line.starts_with("redef Management::Controller::name "))
        .unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        [
            "redef",
            "Management::Controller::name",
            "=",
            "\"c\";",
            "#",
            "option",
            "--name"
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&config.dump_json()).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({ "name": "Management::Controller::name", "value": "\"c\"", "origin": "option --name" })
    );
    assert!(text.contains("2150/tcp"));
    assert!(text.contains("TLS of native connections: anonymous"));
}

#[test]
fn tls_of_native_connections_is_chosen_as_by_zeek() {
    assert!(matches!(read(&[]).unwrap().broker_tls, TlsConfig::Anonymous));
    let config = read(&["Broker::disable_ssl=T", "Broker::ssl_certificate=cert.pem"]).unwrap();
    assert!(matches!(config.broker_tls, TlsConfig::Off));
    let config = read(&[
        "Broker::ssl_certificate=cert.pem",
        "Broker::ssl_keyfile=/key.pem",
        "Broker::ssl_capath=cas",
    ])
    .unwrap();
    let TlsConfig::Mutual { identity, trust } = config.broker_tls else {
        panic!("{:?}", config.broker_tls)
    };
    assert_eq!(identity.certificate, Path::new("/cwd/cert.pem"));
    assert_eq!(identity.key, Path::new("/key.pem"));
    assert_eq!(identity.passphrase, None);
    assert_eq!(trust.ca_file, None);
    assert_eq!(trust.ca_path.as_deref(), Some(Path::new("/cwd/cas")));
}

#[test]
fn the_passphrase_is_never_shown() {
    const SECRET: &str = "correct horse";
    let assignment = format!("Broker::ssl_passphrase={SECRET}");
    let config = read(&[
        &assignment,
        "Broker::ssl_certificate=c",
        "Broker::ssl_keyfile=k",
        "Broker::ssl_cafile=a",
    ])
    .unwrap();
    for text in [config.dump_text(), config.dump_json(), format!("{config:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(config.dump_text().contains("(not shown)"));

    let local = script(&format!("redef Broker::ssl_passphrase = {SECRET};\n"));
    let errors = read(&[&format!("--redefs={}", local.path().display())]).unwrap_err();
    let text = errors.to_string();
    assert!(
        text.contains("Broker::ssl_passphrase: \"(not shown)\" is not a string"),
        "{text}"
    );

    let errors = read(&[&format!("Broker::ssl_passphrase={}", SECRET.repeat(10))]).unwrap_err();
    assert!(!errors.to_string().contains(SECRET), "{errors}");
}

proptest! {
    #[test]
    fn what_is_dumped_can_be_fed_back(
        texts in prop::collection::vec(any::<String>(), 4),
        port in 1..u16::MAX,
        nanos: u32,
        minutes in 0..1440_u16,
        flag: bool,
    ) {
        let [topic, store, directory, rotated] = &texts[..] else {
            unreachable!("four are asked for")
        };
        let flag = if flag { "T" } else { "F" };
        let next = port + 1;
        let given = [
            (names::TOPIC, topic.as_str()),
            (names::STORE_DIRECTORY, store),
            (names::DIRECTORY, directory),
            (host_names::ROTATION_DIR, rotated),
            (names::ASSIGN_BROKER_PORTS, flag),
            (names::LISTEN_PORT, &format!("{port}/tcp")),
            (names::LISTEN_PORT_WEBSOCKET, &format!("{next}/tcp")),
            (names::LISTEN_ADDRESS, "eth0"),
            (names::METRICS_START_PORT, &format!("{port}/tcp")),
            (host_names::REQUEST_TIMEOUT, &format!("{nanos} usec")),
            (host_names::ROTATION_BASE_TIME, &format!("{}:{:02}", minutes / 60, minutes % 60)),
            (host_names::FIELD_BYTES_MAX, &nanos.to_string()),
            (host_names::LOG_LEVEL, "ERROR"),
        ]
        .map(|(name, value)| format!("{name}={value}"));
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let config = read(&given).unwrap();
        let dumped = script(&config.dump_text());
        let fed_back = read(&[&format!("--redefs={}", dumped.path().display())]).unwrap();
        prop_assert_eq!(zeeks(&fed_back), zeeks(&config));
    }
}

/// The settings by Zeek's names.
fn zeeks(config: &Config) -> Vec<(&'static str, &str)> {
    let own = |name: &str| !name.contains("::") && name != host_names::ROTATION_BASE_TIME;
    let named = config.effective.iter().filter(|shown| !own(shown.name));
    named.map(|shown| (shown.name, shown.value.as_str())).collect()
}
