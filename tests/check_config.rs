//! What the controller's `check-config` finds before a start would, and what else it says without one.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use mgmt_daemon::{
    config::{ConfigErrors, Environment, Resolver, Setting, Takes, dump_text},
    program::Configuration,
};
use tempfile::TempDir;
use testkit::copy_executable;

use crate::support::{
    certificates::{Authority, Validity, native_settings},
    controller::{STORE, binary},
    home,
    program::{Outcome, run, run_command},
};

/// What it says, in the home of a controller that is to serve at ports that are free.
fn check(home: &TempDir, arguments: &[&str]) -> Outcome {
    let directories = [
        "check-config",
        "Management::state_dir=state",
        "Management::spool_dir=spool",
    ];
    let ports = ["--listen", "127.0.0.1:0", "--websocket-listen", "127.0.0.1:0"];
    run(
        binary(),
        home.path(),
        &[&directories, &ports[..], arguments].concat(),
    )
}

/// It finds this, and says nothing else.
#[track_caller]
fn finds(home: &TempDir, arguments: &[&str], words: &str) {
    let checked = check(home, arguments);
    checked.failed(1, words);
    assert_eq!(checked.stdout, "");
}

#[test]
fn one_line_says_what_was_tried_and_found_in_order() {
    let home = home();
    let checked = check(&home, &["--name", "x"]);
    let stdout = checked.printed();
    assert_eq!(checked.stderr, "");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    for words in [
        "the configuration is good: ",
        "state/nodes/x",
        "spool/log-queue",
        "port 127.0.0.1:0",
        "TLS of Broker: anonymous",
    ] {
        assert!(stdout.contains(words), "{stdout}");
    }
    assert!(!home.path().join("state").exists(), "nothing is made");
}

/// What is found is named with its origin.
#[test]
fn the_configuration_is_tried_against_the_host() {
    let home = home();
    fs::write(
        home.path().join("site.zeek"),
        "redef Log::default_rotation_interval = 1 min;\n",
    )
    .expect("written");
    fs::write(
        home.path().join("local.zeek"),
        "\n@load ./site\nif ( T ) { redef Management::Controller::name = \"y\"; }\n",
    )
    .expect("written");
    let cases = format!(
        "--state-dir /proc/none --name=x => error: option --state-dir: Management::state_dir: cannot make /proc/none/nodes/x: /proc:
        --state-dir site.zeek/below => site.zeek is no directory
        Management::Controller::directory=/proc/none => error: command-line assignment: Management::Controller::directory: cannot make /proc/none
        Log::default_rotation_dir=/proc/none => error: command-line assignment: Log::default_rotation_dir: cannot make /proc/none
        --spool-dir /proc/none => error: option --spool-dir: Management::spool_dir: cannot make /proc/none/log-queue
        --ready-file none/ready.json => error: option --ready-file: ready_file: there is no directory
        --ready-file . => error: option --ready-file: ready_file: it is a directory
        --journal . => error: option --journal: journal: it is a directory
        --journal /dev/null => error: option --journal: journal: it is no regular file
        --redefs /dev/zero => error: cannot read the redefinitions in /dev/zero: it has more than 16 MiB
        --state-dir {long} => error: option --state-dir: Management::state_dir: cannot make
        --redefs local.zeek => warning: local.zeek:3: the redefinition of Management::Controller::name is not read
        --redefs local.zeek => warning: local.zeek:2: @load ./site is not followed, so Log::default_rotation_interval in site.zeek:1 is not read",
        long = "x".repeat(300)
    );
    for case in cases.lines() {
        let (arguments, words) = case.trim().split_once(" => ").expect("arguments and words");
        let arguments: Vec<_> = arguments.split(' ').collect();
        finds(&home, &arguments, words);
    }
}

#[test]
fn a_port_that_is_taken_is_found() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = listener.local_addr().expect("it is bound").to_string();
    let arguments = ["check-config", "--state-dir", "state", "--spool-dir", "spool"];
    let ports = ["--websocket-listen", "127.0.0.1:0", "--listen", &taken];
    let checked = run(binary(), home.path(), &[&arguments[..], &ports].concat());
    let words =
        format!("error: option --listen: Management::Controller::listen_port: cannot listen on {taken}");
    checked.failed(1, &words);
}

/// Each file of TLS by its own setting.
#[test]
fn files_of_tls_are_tried() {
    let home = home();
    let ca = Authority::new("test CA");
    let expired = ca.sign("expired", &[], &Validity::Expired);
    let expired = native_settings(&ca, &expired);
    let folder = ["Broker::ssl_cafile=", "Broker::ssl_capath=."];
    let good = native_settings(&ca, &ca.sign("good", &[], &Validity::Now));
    let no_ca: Vec<&str> = good
        .iter()
        .map(String::as_str)
        .chain(["Broker::ssl_cafile=/dev/null"])
        .collect();
    let no_folder: Vec<&str> = good.iter().map(String::as_str).chain(folder).collect();
    let expired: Vec<&str> = expired.iter().map(String::as_str).collect();
    for (arguments, words) in [
        (
            no_ca,
            "error: command-line assignment: Broker::ssl_cafile: \"/dev/null\" does not hold a CA certificate in PEM format",
        ),
        (
            no_folder,
            "error: command-line assignment: Broker::ssl_capath: there is no CA certificate in ",
        ),
        (
            expired,
            "error: command-line assignment: Broker::ssl_certificate: the certificate in ",
        ),
    ] {
        finds(&home, &arguments, words);
    }
}

/// What would keep the controller from starting, or from deploying, is found before.
#[test]
fn the_store_is_tried() {
    let home = home();
    let open = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let dir = home.path().join("state/nodes/controller");
    fs::create_dir_all(&dir).expect("a directory can be made");
    let program = home.path().join("mgmt-controller");
    copy_executable(binary(), &program);
    // Root can write what is not writable.
    let check = || {
        let mut command = Command::new(&program);
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        command
            .args(["check-config", "--state-dir", "state", "--spool-dir", "spool"])
            .args(["--listen", "off", "--websocket-listen", "127.0.0.1:0"])
            .args(["--name", "controller"])
            .current_dir(home.path());
        run_command(&mut command)
    };
    for path in [home.path(), &home.path().join("state"), &dir] {
        open(path, 0o777);
    }
    let setting = "error: option --state-dir: Management::state_dir: ";
    let found = |words: &str| {
        let checked = check();
        checked.failed(1, setting);
        checked.failed(1, words);
    };
    let store = dir.join(STORE);
    fs::write(&store, "this was a database once").expect("a file can be written");
    open(&store, 0o666);
    found("is damaged or is no SQLite database");
    fs::write(&store, "").expect("a file can be written");
    let checked = check();
    assert_eq!((checked.exit, checked.stderr.as_str()), (0, ""));
    open(&store, 0o444);
    found("attempt to write a readonly database");
    fs::remove_file(&store).expect("it is ours");
    let lock = dir.join(format!("{STORE}.lock"));
    fs::write(&lock, "").expect("a file can be written");
    open(&lock, 0o444);
    found("Permission denied");
    assert!(!store.exists(), "nothing is made");
}

#[test]
fn the_configuration_can_be_checked_and_shown_without_a_start() {
    let home = home();
    fs::write(
        home.path().join("local.zeek"),
        "redef Management::Controller::name = \"local\";\nredef Site::local_nets += { 10.0.0.0/8 };\n",
    )
    .expect("a file can be written");
    let redefs = ["--redefs", "local.zeek", "--state-dir", "/s", "--spool-dir", "/p"];

    let said = |arguments: &[&str]| run(binary(), home.path(), arguments);

    let ports = ["--listen", "127.0.0.1:0", "--websocket-listen", "127.0.0.1:0"];
    said(&[&["check-config"], &ports[..], &redefs].concat()).failed(
        0,
        "warning: local.zeek:2: redefinition of Site::local_nets ignored",
    );
    said(&["check-config", "Management::Controller::default_port=2150"]).failed(1, "");

    let shown = said(&[&["dump-config", "--json"], &redefs[..]].concat()).json(0);
    assert_eq!(
        shown[0],
        serde_json::json!({
            "name": "Management::Controller::name",
            "value": "\"local\"",
            "origin": "local.zeek:1",
        })
    );
    let shown = said(&[&["dump-config"], &redefs[..]].concat());
    assert!(shown.stdout.contains("# local.zeek:1\n"));
}

#[test]
fn options_stand_before_or_after_the_subcommand_and_each_has_a_page() {
    let home = home();
    let text = |arguments: &[&str]| run(binary(), home.path(), arguments).printed().to_owned();
    let dump = text(&["--name", "x", "Broker::disable_ssl=T", "dump-config", "--json"]);
    assert_eq!(
        dump,
        text(&["dump-config", "--json", "--name", "x", "Broker::disable_ssl=T"])
    );
    assert!(dump.contains("\\\"x\\\""), "{dump}");
    assert!(text(&["completion", "bash"]).contains("--websocket-listen"));
    let page = text(&["man"]);
    assert!(page.contains(".TH mgmt-controller 1"), "{page}");
    let pages: Vec<&str> = page
        .split("mgmt\\-controller\\-")
        .skip(1)
        .filter_map(|rest| rest.split_once("(1)"))
        .map(|(subcommand, _)| subcommand)
        .collect();
    assert!(pages.len() >= 6, "{page}");
    for subcommand in pages {
        let subcommand = subcommand.replace('\\', "");
        let page = text(&["man", &subcommand]);
        assert!(page.starts_with(".ie"), "{page}");
        assert!(
            page.contains(&format!(".TH mgmt-controller-{subcommand} ")),
            "{page}"
        );
    }
}

/// What comes of giving a setting this value in the first way that it has.
fn given<C: Configuration>(setting: Option<&Setting>, value: &str) -> Result<String, ConfigErrors> {
    let (mut arguments, mut variables) = (vec![C::SCHEMA.program()], Vec::new());
    match setting.map(|setting| {
        (
            setting.zeek.first(),
            setting.flag(),
            setting.option,
            setting.variable,
        )
    }) {
        Some((Some(name), ..)) => arguments.push(format!("{name}={value}")),
        Some((_, Some(flag), Some(Takes::Nothing), _)) => arguments.push(flag),
        Some((_, Some(flag), ..)) => arguments.push(format!("{flag}={value}")),
        Some((.., Some(variable))) => variables.push((variable, value)),
        Some((None, None, _, None)) | None => {}
    }
    let environment = Environment::new(variables, "/");
    let options = C::SCHEMA.command().get_matches_from(arguments);
    let config = C::resolve(Resolver::gather(C::SCHEMA, &environment, &options))?;
    Ok(dump_text(&config.daemon().resolved.effective))
}

fn without_effect<C: Configuration>() -> Vec<&'static str> {
    let default = given::<C>(None, "").expect("nothing is wrong with nothing");
    let has_effect = |setting: &&Setting| {
        let values = ["T", "F", "1/tcp", "x"];
        values
            .iter()
            .any(|value| given::<C>(Some(setting), value).map_or(true, |dump| dump != default))
    };
    let settings = C::SCHEMA.settings().filter(|setting| !has_effect(setting));
    settings.map(|setting| setting.key).collect()
}

/// A row in the table that no code reads would be a setting that does nothing.
#[test]
fn every_setting_has_an_effect() {
    let none: [&str; 0] = [];
    assert_eq!(without_effect::<mgmt_controller::config::Config>(), none);
    assert_eq!(without_effect::<mgmt_agent::config::Config>(), none);
}

/// The value of each setting, by a daemon with this configuration file.
fn with_file<C: Configuration>(text: &str) -> Result<BTreeMap<&'static str, String>, ConfigErrors> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("the file can be written");
    let arguments = [C::SCHEMA.program(), format!("--config={}", file.path().display())];
    let options = C::SCHEMA.command().get_matches_from(arguments);
    let environment = Environment::new([], "/");
    let config = C::resolve(Resolver::gather(C::SCHEMA, &environment, &options))?;
    let effective = config.daemon().resolved.effective.iter();
    Ok(effective
        .map(|shown| (shown.setting.key, shown.value.clone()))
        .collect())
}

fn example_is_of_defaults<C: Configuration>() {
    let example = C::SCHEMA.example();
    assert!(
        example
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    );
    let uncommented: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .collect();
    assert_eq!(uncommented.len(), C::SCHEMA.settings().count());
    let defaults = with_file::<C>("").expect("nothing is wrong with nothing");
    for line in uncommented {
        match with_file::<C>(line) {
            // What is given may say what others are by default, or make them have an effect.
            Ok(values) => {
                let key = line.split(" = ").next().unwrap_or_default();
                let is_shown = defaults.contains_key(key);
                for (shown, value) in defaults.iter().filter(|(shown, _)| !is_shown || **shown == key) {
                    assert_eq!(values.get(shown), Some(value), "{line}: {shown}");
                }
            }
            Err(errors) => assert!(
                errors.to_string().ends_with("it is for --start-supervisor only"),
                "{errors}"
            ),
        }
    }
}

#[test]
fn the_example_has_every_setting_at_its_default() {
    example_is_of_defaults::<mgmt_controller::config::Config>();
    example_is_of_defaults::<mgmt_agent::config::Config>();
}

#[test]
fn a_configuration_file_is_weaker_than_the_environment_and_tells_what_is_wrong() {
    let home = home();
    let path = home.path().join("controller.toml");
    let example = run(binary(), home.path(), &["example-config"])
        .printed()
        .to_owned();
    fs::write(&path, example + "name = \"of-file\"\nlisten = \"127.0.0.1:7\"\n").unwrap();
    let shown = |name: &str| {
        let mut command = Command::new(binary());
        command.arg("dump-config").current_dir(home.path()).env_clear();
        command
            .env("MGMT_CONTROLLER_CONFIG", &path)
            .env("ZEEK_CONTROLLER_NAME", name);
        let output = command.output().expect("the program can be run");
        String::from_utf8(output.stdout).expect("it prints text")
    };
    let dump = shown("");
    assert!(dump.contains("::name = \"of-file\";"), "{dump}");
    assert!(dump.contains("::listen_port = \"7/tcp\";"), "{dump}");
    assert!(dump.contains(&format!("# {}:", path.display())), "{dump}");
    assert!(shown("of-environment").contains("::name = \"of-environment\";"));

    fs::write(&path, "nmae = \"x\"\nlog_format = \"xml\"\n").unwrap();
    let checked = check(&home, &["--config", "controller.toml"]);
    checked.failed(1, "controller.toml:1: the controller has no setting nmae");
    checked.failed(1, "controller.toml:2: log_format: \"xml\" is not text or json");
    finds(
        &home,
        &["--config", "none.toml"],
        "cannot read the configuration file none.toml",
    );
}
