//! The real zeek-client, in every release that speaks WebSocket, against our controller: each recorded command again.
//!
//! Exit code, standard output and standard error must be as recorded against Zeek's controller, and so must every line of the
//! management log; identifiers are mapped one to one, and so are ports that ours listens on. The one difference is what is said, and not done, when a
//! deployment needs an instance that is absent (`accepted-first`).

use std::time::Duration;

use crate::support::{
    controller::{Controller, Remains},
    ids::IdMap,
    program::Outcome,
    scenario::{Command, Scenario, with_broker_port},
    zeek_client::ZeekClient,
};

const ZEEK_9_0: &str = "zeek-9.0.0-rc1";
const ZEEK_6_0: &str = "zeek-6.0.9";

/// Makes requests time out soon, where the recording does not depend on how long it takes.
const SHORT_TIMEOUT: &str = "Management::Request::timeout_interval=1sec";

#[test]
fn commands_without_agents_end_as_recorded_with_zeek_9_0_in_the_recorded_time() {
    repeat(ZEEK_9_0, "no-agents", &[]);
}

#[test]
fn commands_without_agents_end_as_recorded_with_zeek_6_0() {
    repeat(ZEEK_6_0, "no-agents", &[SHORT_TIMEOUT]);
}

#[test]
fn staging_is_validated_as_recorded_with_zeek_9_0() {
    repeat(ZEEK_9_0, "validation", &[]);
}

#[test]
fn staging_is_validated_as_recorded_with_zeek_6_0() {
    repeat(ZEEK_6_0, "validation", &[]);
}

/// Runs every command of a recording and compares.
fn repeat(release: &str, name: &str, further_settings: &[&str]) {
    let scenario = Scenario::load(release, name);
    let mut settings = scenario.controller_settings();
    settings.extend(further_settings.iter().map(|setting| (*setting).to_owned()));
    let real_time = further_settings.is_empty();

    let mut controller = Controller::start(&settings);
    let mut ids = IdMap::default();
    let mut differences = Vec::new();
    let broker = controller.broker();
    for command in &scenario.commands {
        let command = &as_we_end(command.with_broker_port(broker.port()));
        let outcome = ZeekClient::repeat(command, controller.websocket());
        if let Err(difference) = compare(&mut ids, command, &outcome, real_time) {
            differences.push(format!("{}: {difference}", command.argv.join(" ")));
        }
    }
    let recorded = scenario
        .management_log()
        .replace("0.0.0.0:2149", &controller.websocket().to_string())
        .replace("0.0.0.0:2150", &broker.to_string());
    let recorded = as_we_log(&with_broker_port(&recorded, broker.port()));
    differences.extend(compare_logs(&mut ids, &recorded, &controller.stop()));
    assert!(
        differences.is_empty(),
        "{release}/{name}:\n{}",
        differences.join("\n")
    );
}

const TIMED_OUT: &str = "request timed out";
const NOT_DEPLOYED: &str = "not deployed: instance instance-1 is not connected (never seen); the deployed configuration is unchanged";

fn as_we_end(mut command: Command) -> Command {
    if subcommand(&command).starts_with("deploy") {
        command.stdout = command.stdout.replace(TIMED_OUT, NOT_DEPLOYED);
    }
    command
}

/// The instance is named, and it is not stood down later, as it has never been in the cluster.
fn as_we_log(log: &str) -> String {
    let stands_down = |line: &&str| {
        line.contains("tx Management::Agent::API::agent_standby_request to instance-1")
            || line.contains("dropped instance instance-1")
    };
    let says = |line: &str| {
        if line.contains("API::deploy_response") && line.contains(TIMED_OUT) {
            line.replace(TIMED_OUT, NOT_DEPLOYED)
                .replace(")]", ", instance instance-1)]")
        } else {
            line.to_owned()
        }
    };
    log.split_inclusive('\n')
        .filter(|line| !stands_down(line))
        .map(says)
        .collect()
}

/// Time-outs take the recorded 10 s: more than 9 s, as the original's clock counts whole seconds, and well below the client's 20 s.
fn compare(ids: &mut IdMap, command: &Command, outcome: &Outcome, real_time: bool) -> Result<(), String> {
    const TIMED_OUT: Duration = Duration::from_secs(9);
    ids.compare(&command.stdout, &outcome.stdout)
        .map_err(|difference| format!("standard output: {difference}"))?;
    ids.compare(&command.stderr, &outcome.stderr)
        .map_err(|difference| format!("standard error: {difference}"))?;
    if command.exit != outcome.exit {
        return Err(format!(
            "exit code: recorded {}, actual {}",
            command.exit, outcome.exit
        ));
    }
    if real_time && command.elapsed() > TIMED_OUT && outcome.elapsed < TIMED_OUT {
        return Err(format!(
            "recorded {:?}, took only {:?}",
            command.elapsed(),
            outcome.elapsed
        ));
    }
    Ok(())
}

/// Compares the recorded management log with ours, which is rotated at the end like Zeek's.
fn compare_logs(ids: &mut IdMap, recorded: &str, remains: &Remains) -> Vec<String> {
    let (recorded, ours) = (messages(recorded), messages(&remains.management_log()));
    let mut differences: Vec<String> = recorded
        .iter()
        .zip(&ours)
        .filter_map(|(recorded, ours)| ids.compare(recorded, ours).err())
        .map(|difference| format!("management log: {difference}"))
        .collect();
    if recorded.len() != ours.len() {
        differences.push(format!(
            "management log: recorded {} lines, ours {}",
            recorded.len(),
            ours.len()
        ));
    }
    differences
}

/// The lines of a management log with times taken out, which must be as Zeek writes them.
fn messages(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| match line.split_once('\t') {
            Some((key @ ("#open" | "#close"), time)) => {
                let digits: Vec<usize> = time.split('-').map(str::len).collect();
                assert_eq!(digits, [4, 2, 2, 2, 2, 2], "{line}");
                key.to_owned()
            }
            Some((time, rest)) if !line.starts_with('#') => {
                let (seconds, micros) = time.split_once('.').unwrap_or_else(|| panic!("{line}"));
                assert!(
                    seconds.len() == 10 && micros.len() == 6 && time.parse::<f64>().is_ok(),
                    "{line}"
                );
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect()
}

/// The recording shows the two older clients failing against Zeek 9.0, whose Node record has a field that they do not send. Here
/// they work; everything else is as recorded.
#[test]
fn older_clients_stage_and_fetch_configurations() {
    let scenario = Scenario::load(ZEEK_9_0, "old-clients");
    let staged_by_1_4_0 = find(&scenario, "1.4.0", "get-config");
    for version in ["1.2.0", "1.3.1", "1.4.0"] {
        // Each client has a controller to itself: what is staged by one would be shown to the next.
        let mut controller = Controller::start(&scenario.controller_settings());
        let mut ids = IdMap::default();
        for command in scenario
            .commands
            .iter()
            .filter(|command| command.client_version == version)
        {
            let outcome = ZeekClient::repeat(command, controller.websocket());
            let recorded = match subcommand(command) {
                "stage-config" => find(&scenario, "1.4.0", "stage-config"),
                "get-config" => staged_by_1_4_0,
                _ => command,
            };
            let mut expected = recorded.clone();
            expected.stdout = as_printed_by(version, &recorded.stdout);
            if let Err(difference) = compare(&mut ids, &expected, &outcome, false) {
                panic!("zeek-client {version} {}: {difference}", subcommand(command));
            }
        }
        controller.stop();
    }
}

fn subcommand(command: &Command) -> &str {
    let position = command
        .argv
        .iter()
        .skip(1)
        .position(|argument| !argument.starts_with("--") && !argument.contains('='));
    &command.argv[position.expect("a command has a name") + 1]
}

fn find<'a>(scenario: &'a Scenario, version: &str, name: &str) -> &'a Command {
    scenario
        .commands
        .iter()
        .find(|command| command.client_version == version && subcommand(command) == name)
        .expect("the recording has the command")
}

/// Clients before 1.4.0 know no metrics ports.
fn as_printed_by(version: &str, text: &str) -> String {
    let known = |line: &&str| version == "1.4.0" || !line.contains("\"metrics_port\"");
    text.split_inclusive('\n').filter(known).collect()
}
