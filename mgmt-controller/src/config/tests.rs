mod common;
mod own_ca;

use std::{fs, net::SocketAddr, path::Path};

use mgmt_api::{Dialect, Level};
use mgmt_daemon::config::{
    Effective, Environment, LogConfig, Origin, RotationConfig, TimeOfDay, Value, dump_text,
};
use proptest::prelude::*;

use super::*;

/// What is always given, so that no Zeek installation is looked for.
const DIRECTORIES: &str = "--state-dir=/state --spool-dir=/spool";

/// Reads what is given by these words, with `␣` for a blank: arguments, and variables such as `$NAME=value`.
fn read_only(given: &str) -> Result<Config, ConfigErrors> {
    let words = given.split_whitespace().map(|word| word.replace('␣', " "));
    let (variables, arguments): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('$'));
    let variables = variables.iter().map(|word| word[1..].split_once('=').unwrap());
    let environment = Environment::new(variables, "/cwd");
    let arguments = [vec!["mgmt-controller".to_owned()], arguments].concat();
    let options = SCHEMA.command().try_get_matches_from(arguments).unwrap();
    Config::resolve(Resolver::gather(&SCHEMA, &environment, &options))
}

fn read(given: &str) -> Result<Config, ConfigErrors> {
    read_only(&format!("{DIRECTORIES} {given}"))
}

fn script(text: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let option = format!("--redefs={}", file.path().display());
    (file, option)
}

fn shown<'a>(config: &'a Config, key: &str) -> &'a Effective {
    let shown = config.daemon.resolved.shown(key);
    shown.unwrap_or_else(|| panic!("{key} is not shown"))
}

fn dump(config: &Config) -> String {
    dump_text(&config.daemon.resolved.effective)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn defaults_are_those_of_zeek() {
    let config = read("--name=controller").unwrap();
    assert_eq!(config.daemon.working_dir, Path::new("/state/nodes/controller"));
    assert_eq!(config.store_dir, config.daemon.working_dir);
    assert_eq!(config.broker.to_string(), "0.0.0.0:2150");
    assert_eq!(config.websocket, Some(address("0.0.0.0:2149")));
    assert_eq!(config.settings, Settings::default());
    assert_eq!(config.assumed, Assumed::default());
    assert_eq!(config.daemon.management_log.level, Level::Info);
    let rotation = config.daemon.management_log.rotation.unwrap();
    assert_eq!(rotation.interval, Duration::from_secs(3_600));
    assert_eq!(rotation.dir, Path::new("/spool/log-queue"));
    assert_eq!(config.daemon.resolved.warnings, [""; 0]);
}

#[test]
fn a_setting_is_read_where_it_can_be_given_and_the_nearer_source_wins() {
    let (file, redefs) = script(
        "redef Management::Controller::name = \"script\";\nredef Management::Controller::listen_port = \"1/tcp\";\nredef \
         Management::Controller::listen_port = \"2/tcp\";",
    );
    let cases = r#"
        $ZEEK_CONTROLLER_NAME=v => name = "v" # environment variable ZEEK_CONTROLLER_NAME
        $ZEEK_CONTROLLER_NAME=v REDEFS => name = "script" # FILE:1
        $ZEEK_CONTROLLER_NAME=v REDEFS => listen_port = "2/tcp" # FILE:3
        REDEFS Management::Controller::name=a => name = "a" # command-line assignment
        REDEFS --name=o Management::Controller::name=a => name = "o" # option --name
        $MGMT_CONTROLLER_ABSENT_INSTANCES=skip => absent_instances = skip # environment variable MGMT_CONTROLLER_ABSENT_INSTANCES
        $MGMT_CONTROLLER_ABSENT_INSTANCES=skip --absent-instances=fail => absent_instances = fail # option --absent-instances
        $MGMT_CONTROLLER_WEBSOCKET_HOST=a,b => websocket_host = "a,b" # environment variable MGMT_CONTROLLER_WEBSOCKET_HOST
        $MGMT_CONTROLLER_WEBSOCKET_HOST=a --websocket-host=*.L_1.x,c --websocket-host d => websocket_host = "*.L_1.x,c,d" # option --websocket-host
        $MGMT_CONTROLLER_AGENT_API=seed --agent-api=5.0.0-rc1 => agent_api = 5.0.0-rc1 # option --agent-api
        --listen=localhost:5 => listen_address = "localhost" # option --listen
        Management::Controller::listen_address=eth0 => listen_address = "eth0" # command-line assignment
        --keep-logs=2hrs => keep_logs = 7200 secs # option --keep-logs
        --log-format=json => log_format = json # option --log-format
        $RUST_LOG=debug => log_level = "debug" # environment variable RUST_LOG
        $RUST_LOG=debug --log-level=warn => log_level = "warn" # option --log-level
        --ready-file=r => ready_file = "/cwd/r" # option --ready-file
        --journal=/j => journal = "/j" # option --journal
        --process-name=zeek.c => process_name = "zeek.c" # option --process-name
        --websocket-listen=[::1]:3 => websocket_address = "::1" # option --websocket-listen
        --websocket-listen=[::1]:3 => websocket_port = "3/tcp" # option --websocket-listen"#;
    for case in cases.lines().skip(1).map(str::trim) {
        let (given, expected) = case.split_once(" => ").unwrap();
        let config = read(&given.replace("REDEFS", &redefs)).unwrap();
        let key = expected.split(' ').next().unwrap();
        let Effective { value, origin, .. } = shown(&config, key);
        let found = format!("{key} = {value} # {origin}");
        assert_eq!(
            found.replace(&file.path().display().to_string(), "FILE"),
            expected,
            "{case}"
        );
    }
}

#[test]
fn what_the_environment_gives_gets_where_it_belongs() {
    let given = "$MGMT_CONTROLLER_ABSENT_INSTANCES=skip $MGMT_CONTROLLER_AGENT_API=5.0.0-rc1 $MGMT_CONTROLLER_CLIENT_API=4.1 \
                 $MGMT_CONTROLLER_WEBSOCKET_HOST=a.example,␣b.example $ZEEK_CONTROLLER_NAME=c $ZEEK_CONTROLLER_ADDR=10.0.0.1 \
                 $ZEEK_CONTROLLER_PORT=3150/tcp $ZEEK_CONTROLLER_WEBSOCKET_ADDR=::1 $ZEEK_CONTROLLER_WEBSOCKET_PORT=3149/tcp \
                 $ZEEK_MANAGEMENT_STATE_DIR=/s $ZEEK_MANAGEMENT_SPOOL_DIR=relative/spool";
    let config = read_only(given).unwrap();
    assert_eq!(config.settings.absent_instances, AbsentInstances::Skip);
    let expected = Assumed {
        agents: Dialect::V5_0Rc1,
        clients: Dialect::V4_1,
        websocket: Dialect::V7_0,
    };
    assert_eq!(config.assumed, expected);
    assert_eq!(config.websocket_hosts, ["a.example", "b.example"]);
    assert_eq!(config.daemon.working_dir, Path::new("/s/nodes/c"));
    assert_eq!(config.broker.to_string(), "10.0.0.1:3150");
    assert_eq!(config.websocket, Some(address("[::1]:3149")));
    assert_eq!(config.settings.broker_port, Some(Port::tcp(3150)));
    let rotation = config.daemon.management_log.rotation.unwrap();
    assert_eq!(rotation.dir, Path::new("/cwd/relative/spool/log-queue"));
    // It has its way over the directories.
    let config = read_only(&format!("{given} $ZEEK_MANAGEMENT_TESTING=1")).unwrap();
    assert_eq!(config.daemon.working_dir, Path::new("/cwd/nodes/c"));
    assert_eq!(config.daemon.management_log.rotation, None);
    for (given, keep) in [("2hrs", Some(Duration::from_secs(7_200))), ("0sec", None)] {
        let log = read(&format!("--keep-logs={given}"))
            .unwrap()
            .daemon
            .management_log;
        assert_eq!(log.rotation.unwrap().keep, keep);
    }
}

/// Each setting of Zeek's, what is assigned, and what is shown, with `_` for a blank.
const VALUES: &str = r#"
    name n "n"
    websocket_address 127.0.0.2 "127.0.0.2"
    websocket_port 2/tcp "2/tcp"
    websocket_tls [] Cluster::WebSocketTLSOptions()
    listen_address 127.0.0.1 "127.0.0.1"
    listen_port 1/tcp "1/tcp"
    request_timeout 1msec 0.001_secs
    auto_assign_broker_ports F F
    auto_assign_broker_start_port 3/tcp 3/tcp
    auto_assign_metrics_ports F F
    auto_assign_metrics_start_port 4/tcp 4/tcp
    directory /elsewhere "/elsewhere"
    store_directory store "store"
    topic t "t"
    state_dir /s "/s"
    spool_dir /p "/p"
    connect_retry 2sec 2_secs
    disable_ssl F F
    ssl_certificate cert.pem "/cwd/cert.pem"
    ssl_keyfile /key.pem "/key.pem"
    ssl_passphrase secret (not_shown)
    ssl_cafile /ca.pem "/ca.pem"
    ssl_capath /cas "/cas"
    management_log_level Management::Log::DEBUG Management::Log::DEBUG
    log_field_bytes_max 100 100
    log_rotation_interval 30␣min 1800_secs
    log_rotation_base_time 1:30 "1:30"
    log_rotation_dir /q "/q""#;

#[test]
fn every_setting_of_zeek_can_be_assigned_and_is_shown() {
    let values: Vec<Vec<&str>> = VALUES
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let given: Vec<String> = values
        .iter()
        .map(|row| format!("{}={}", SCHEMA.setting(row[0]), row[1]))
        .collect();
    let config = read_only(&given.join(" ")).unwrap();
    for row in &values {
        let effective = shown(&config, row[0]);
        assert_eq!(effective.value, row[2].replace('_', " "), "{row:?}");
        assert_eq!(effective.origin, Origin::Assignment, "{row:?}");
    }
    let zeeks = SCHEMA
        .settings()
        .filter(|setting| !setting.zeek.is_empty())
        .map(|setting| setting.key);
    let missing: Vec<&str> = zeeks
        .filter(|key| values.iter().all(|row| row[0] != *key))
        .collect();
    assert_eq!(
        missing,
        ["websocket_default_port", "default_port", "default_address"],
        "defaults of others"
    );

    assert_eq!(config.daemon.working_dir, Path::new("/elsewhere"));
    assert_eq!(config.daemon.connect_retry, Some(Duration::from_secs(2)));
    assert_eq!(config.store_dir, Path::new("/elsewhere/store"));
    let expected = Settings {
        topic: "t".into(),
        request_timeout: Duration::from_millis(1),
        broker_port: Some(Port::tcp(1)),
        auto_assign_broker_ports: false,
        auto_assign_broker_start_port: Port::tcp(3),
        auto_assign_metrics_ports: false,
        auto_assign_metrics_start_port: Port::tcp(4),
        ..Settings::default()
    };
    assert_eq!(config.settings, expected);
    let rotation = RotationConfig {
        interval: Duration::from_secs(1_800),
        base: TimeOfDay { minutes: 90 },
        dir: PathBuf::from("/q"),
        keep: Some(Duration::from_secs(30 * 86_400)),
    };
    let expected = LogConfig {
        level: Level::Debug,
        field_bytes_max: 100,
        rotation: Some(rotation),
    };
    assert_eq!(config.daemon.management_log, expected);
}

#[test]
fn listeners_are_off_or_at_an_address_or_a_name() {
    // The first two are taken by `Broker::listen`, and so by our endpoint. The ports of the third may be at different addresses.
    let cases = "
        Management::Controller::listen_address=eth0 => eth0:2150 0.0.0.0:2149
        --listen=localhost:5 => localhost:5 0.0.0.0:2149
        --listen=eth0:2149 --websocket-listen=127.0.0.1:2149 => eth0:2149 127.0.0.1:2149
        Management::Controller::default_port=0/unknown Management::Controller::default_port_websocket=0/tcp => off 0.0.0.0:0
        Management::default_address=127.0.0.3 Management::Controller::default_port=5/tcp Management::Controller::default_port_websocket=6/tcp => 127.0.0.3:5 127.0.0.3:6
        --listen=off --websocket-listen=127.0.0.1:0 => off 127.0.0.1:0
        --websocket-listen=off => 0.0.0.0:2150 off";
    for case in cases.lines().skip(1).map(str::trim) {
        let (given, expected) = case.split_once(" => ").unwrap();
        let config = read(given).unwrap();
        let websocket = config.websocket.map_or("off".to_owned(), |at| at.to_string());
        assert_eq!(format!("{} {websocket}", config.broker), expected, "{given}");
        let port = match &config.broker {
            Listener::Off => None,
            Listener::At(at) => Some(Port::tcp(at.port)),
        };
        assert_eq!(config.settings.broker_port, port);
    }
}

#[test]
fn a_time_limit_out_of_order_is_a_warning() {
    for (timeout, warning) in [
        ("10", None),
        ("9", None),
        ("8", Some("may take 15 s")),
        ("12", Some("waits for 20 s")),
    ] {
        let config = read(&format!("Management::Request::timeout_interval={timeout}sec")).unwrap();
        let found = config.daemon.resolved.warnings;
        assert_eq!(found.len(), usize::from(warning.is_some()), "{found:?}");
        assert!(
            found.iter().all(|text| text.contains(warning.unwrap())),
            "{found:?}"
        );
    }
}

#[test]
fn a_file_without_a_redef_is_suspect_unless_it_is_empty_or_all_commented_out() {
    for (text, suspect) in [("", false), ("# nothing yet\n\n", false), ("@load x\n", true)] {
        let (_file, redefs) = script(text);
        let warnings = read(&redefs).unwrap().daemon.resolved.warnings;
        let is_said = warnings
            .iter()
            .any(|warning| warning.ends_with(": there is no redef in it"));
        assert_eq!(is_said, suspect, "{text}: {warnings:?}");
    }
}

#[test]
fn errors_say_where_what_and_how_to_mend_it() {
    let (local, redefs) = script("\n\nredef Management::Controller::name += \"x\";\n");
    let cases = r#"
        $ZEEK_CONTROLLER_PORT=2150
        environment variable ZEEK_CONTROLLER_PORT: Management::Controller::listen_port: "2150" is not a port with its protocol, as in 2150/tcp
        Management::Controller::default_port=2150/udp
        command-line assignment: Management::Controller::listen_port: cannot listen on 2150/udp; use a port as in 2150/tcp, or 0/unknown for no listener
        --websocket-listen=0.0.0.0:2150
        option --websocket-listen: Management::Controller::listen_port_websocket: port 2150 is also the Broker port of Management::Controller::listen_port; choose another
        --listen=eth0:2149 --websocket-listen=0.0.0.0:2149
        option --websocket-listen: Management::Controller::listen_port_websocket: port 2149 is also the Broker port of Management::Controller::listen_port; choose another
        --listen=2149
        option --listen: listen: "2149" is not off, or an address or a name with a port, as in 127.0.0.1:2150, [::1]:2150 or eth0:2150
        --log-format=xml
        option --log-format: log_format: "xml" is not text or json
        $MGMT_CONTROLLER_ABSENT_INSTANCES=wait
        environment variable MGMT_CONTROLLER_ABSENT_INSTANCES: absent_instances: "wait" is not fail or skip
        Management::Controller::nmae=x
        command-line assignment: Zeek's controller has no setting Management::Controller::nmae; dump-config lists those that have an effect
        local.zeek
        argument "local.zeek" is not of the form MODULE::NAME=VALUE; see --help
        --name=a/b
        option --name: Management::Controller::name: "a/b" cannot be the name of a directory; choose another name
        --process-name=
        option --process-name: process_name: "" cannot be a name; use one such as zeek.agent
        Management::Controller::tls_options_websocket=[$cert_file="cert.pem"]
        command-line assignment: Management::Controller::tls_options_websocket: $cert_file needs $key_file
        Broker::ssl_certificate=cert.pem
        command-line assignment: Broker::ssl_certificate: TLS with certificates needs a private key (Broker::ssl_keyfile); name one, or unset every other certificate option
        --redefs=/nonexistent/local.zeek
        cannot read the redefinitions in /nonexistent/local.zeek: No such file or directory (os error 2)
        REDEFS
        FILE:3: Management::Controller::name: cannot read the redefinition: it adds to a value; only = is read; give the value on the command line instead
        Management::Controller::listen_address_websocket=localhost
        command-line assignment: Management::Controller::listen_address_websocket: "localhost" is not an IP address, as in 0.0.0.0 or ::1
        Management::Controller::listen_address=all␣of␣them
        command-line assignment: Management::Controller::listen_address: "all of them" is not an address, an interface or a host, as in 0.0.0.0, ::1 or eth0"#;
    let lines: Vec<&str> = cases.lines().skip(1).map(str::trim).collect();
    for case in lines.chunks(2) {
        let error = read(&case[0].replace("REDEFS", &redefs)).unwrap_err().to_string();
        assert_eq!(
            error.replace(&local.path().display().to_string(), "FILE"),
            case[1]
        );
    }
    for wrong in [
        "a␣b",
        "a.example,evil/..",
        "a.example:2149",
        "http://a",
        "*",
        "a.*.example",
        "[::1]",
    ] {
        let error = read(&format!("--websocket-host={wrong}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is not the name of a host, as in"),
            "{wrong}: {error}"
        );
    }
    let gone = SCHEMA
        .command()
        .try_get_matches_from(["", "--peer-api", "seed"])
        .unwrap_err();
    assert!(
        gone.to_string().contains("--agent-api for agents, --client-api"),
        "{gone}"
    );
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
        let text = |text: &String| text.show();
        let given = [
            ("topic", text(topic)),
            ("store_directory", text(store)),
            ("directory", text(directory)),
            ("log_rotation_dir", text(rotated)),
            ("auto_assign_broker_ports", flag.show()),
            ("listen_port", format!("\"{port}/tcp\"")),
            ("websocket_port", format!("\"{}/tcp\"", port + 1)),
            ("listen_address", "\"eth0\"".to_owned()),
            ("auto_assign_metrics_start_port", format!("{port}/tcp")),
            ("request_timeout", format!("{nanos} usec")),
            ("log_rotation_base_time", format!("\"{}:{:02}\"", minutes / 60, minutes % 60)),
            ("log_field_bytes_max", nanos.to_string()),
            ("management_log_level", "Management::Log::ERROR".to_owned()),
        ]
        .map(|(key, value)| format!("redef {} = {value};\n", SCHEMA.setting(key)));
        let (_given, redefs) = script(&given.concat());
        let config = read(&redefs).unwrap();
        let (_dumped, redefs) = script(&dump(&config));
        let fed_back = read(&redefs).unwrap();
        prop_assert_eq!(zeeks(&fed_back), zeeks(&config));
    }
}

fn zeeks(config: &Config) -> Vec<(&'static str, &str)> {
    let effective = config.daemon.resolved.effective.iter();
    let named = effective.filter(|shown| !shown.setting.zeek.is_empty());
    named
        .map(|shown| (shown.setting.key, shown.value.as_str()))
        .collect()
}
