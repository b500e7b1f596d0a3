use std::fmt::Write;

use expect_test::expect_file;
use proptest::prelude::*;

use super::*;

const ONE_HOST: &str = include_str!("../../../docs/examples/one-host.toml");
const TWELVE_SENSORS: &str = include_str!("../../../docs/examples/twelve-sensors.toml");
const PAGE: &str = include_str!("../../../docs/configurations.md");

fn facts() -> Facts {
    let cpus = |number| Ok(Cpus::of_number(number).unwrap());
    Facts {
        addresses: [
            ("hub.example.org".to_owned(), Ok("10.20.0.1".parse().unwrap())),
            (
                "gone.example.org".to_owned(),
                Err("Name or service not known".to_owned()),
            ),
        ]
        .into(),
        cpus: [
            ("zeek1".to_owned(), cpus(16)),
            ("small".to_owned(), cpus(8)),
            ("away".to_owned(), Err("its agent is not connected".to_owned())),
        ]
        .into(),
    }
}

fn expanded(text: &str) -> Result<mgmt_api::operator::ConfigurationFile, String> {
    let config = read(text).and_then(|file| file.expand(&facts()));
    config.map_err(|problems| problems.in_words("c.toml".as_ref()))
}

/// The node of this name, as JSON.
fn node(text: &str, name: &str) -> serde_json::Value {
    let config = expanded(text).unwrap_or_else(|error| panic!("{error}"));
    let node = config.nodes.iter().find(|node| node.name == name);
    serde_json::to_value(node.unwrap_or_else(|| panic!("no {name}: {config:?}"))).unwrap()
}

/// The value of an option of a node.
fn option(text: &str, name: &str, option: &str) -> String {
    let node = node(text, name);
    let options = node["options"].as_array().into_iter().flatten();
    let values = options
        .filter(|one| one["name"] == option)
        .map(|one| one["value"].as_str().unwrap().to_owned());
    values.collect::<Vec<_>>().join(" ")
}

fn json(text: &str) -> String {
    serde_json::to_string_pretty(&expanded(text).unwrap()).unwrap() + "\n"
}

#[test]
fn the_examples_of_the_page_are_expanded_as_they_were() {
    expect_file!["golden/one-host.json"].assert_eq(&json(ONE_HOST));
    expect_file!["golden/twelve-sensors.json"].assert_eq(&json(TWELVE_SENSORS));
    for example in [ONE_HOST, TWELVE_SENSORS] {
        assert!(
            PAGE.contains(&format!("```toml\n{example}```\n")),
            "the page has another:\n{example}"
        );
    }
}

/// Every key that is read has a row in the page's tables.
#[test]
fn the_page_has_each_key() {
    for key in read::all_keys() {
        assert!(
            PAGE.lines()
                .any(|line| line.starts_with("| ") && line.contains(&format!("`{key}`"))),
            "{key}"
        );
    }
}

const LEVELS: [&str; 8] = [
    "[defaults]",
    "[defaults.worker]",
    "[template.t]\nworkers = 1",
    "[template.t.worker]",
    "[template.t.capture.c]",
    "[instance.i]\ntemplate = \"t\"",
    "[instance.i.worker]",
    "[instance.i.capture.c]",
];

#[test]
fn the_nearest_counts_and_what_has_names_is_merged_by_name() {
    // Each level says what it is, and all levels above what the one below it is.
    for count in 1..=LEVELS.len() {
        let mut text = String::new();
        for (number, level) in LEVELS.iter().enumerate() {
            let _ = writeln!(text, "{level}");
            if number < count {
                let _ = writeln!(
                    text,
                    "nice = {number}\nscripts = [\"{number}\"]\nenv = {{ A = {number}, L{number} = 1 }}\noptions = {{ B = {number}, O{number} = 1 }}"
                );
            }
        }
        let last = (count - 1).to_string();
        let name = "i-worker-c-1";
        let worker = node(&text, name);
        assert_eq!(worker["scripts"], serde_json::json!([last]));
        assert_eq!(worker["env"]["A"], last);
        assert_eq!(worker["env"].as_object().unwrap().len(), count + 1);
        assert_eq!(option(&text, name, "B"), last);
        assert_eq!(option(&text, name, "mgmt.nice"), last);
        assert_eq!(worker["options"].as_array().unwrap().len(), count + 2);
        let single = format!("{text}[node.{name}]\nnice = 19\nscripts = []\nport = 2200\n");
        assert_eq!(option(&single, name, "mgmt.nice"), "19");
        let single = node(&single, name);
        assert_eq!(
            [&single["scripts"], &single["port"]],
            [&serde_json::json!(null), &serde_json::json!(2200)]
        );
    }
}

#[test]
fn nodes_are_what_is_said_of_their_role() {
    // A manager with settings of its own is there by these.
    let text = "[instance.i]
loggers = 1
workers = 2
interface = \"lo\"
cpus = [5, 3]
[instance.i.manager]
cpus = \"0-1\"
[instance.i.logger]
cpus = 7
options = { yes = true, no = false, number = 1.5 }
[node.i-worker-2]
cpus = \"8,6\"
metrics_port = 9000
";
    let manager = node(text, "i-manager");
    assert_eq!(
        [&manager["interface"], &manager["cpu_affinity"]],
        [&serde_json::Value::Null; 2]
    );
    assert_eq!(option(text, "i-manager", "mgmt.cpus"), "0-1");
    assert_eq!(node(text, "i-logger-1")["cpu_affinity"], 7);
    for (name, value) in [("yes", "T"), ("no", "F"), ("number", "1.5")] {
        assert_eq!(option(text, "i-logger-1", name), value);
    }
    assert_eq!(node(text, "i-worker-1")["cpu_affinity"], 5);
    let second = node(text, "i-worker-2");
    assert_eq!(
        [&second["cpu_affinity"], &second["metrics_port"]],
        [&serde_json::Value::Null, &serde_json::json!(9000)]
    );
    assert_eq!(option(text, "i-worker-2", "mgmt.cpus"), "6,8");
}

#[test]
fn an_instance_may_leave_out_what_its_template_has() {
    let text = "[template.t]
loggers = 2
workers = 1
[template.t.manager]
nice = 1
[instance.a]
template = \"t\"
manager = false
loggers = 0
workers = 0
[instance.b]
template = \"t\"
";
    let config = expanded(text).unwrap();
    let names: Vec<String> = config.nodes.iter().map(|node| node.name.to_string()).collect();
    assert_eq!(names, ["b-manager", "b-logger-1", "b-logger-2", "b-worker-1"]);
}

#[test]
fn interfaces_of_captures_have_groups_of_their_own_and_others_zeeks() {
    const GROUP: &str = "AF_Packet::fanout_id";
    let plain = "[instance.i]\nworkers = 1\ninterface = \"af_packet::eth1\"\n";
    assert_eq!(option(plain, "i-worker-1", GROUP), "");
    let captures = "[template.t]
workers = 2
interface = \"af_packet::${capture}\"
[instance.i]
template = \"t\"
[instance.i.capture.eth1]
[instance.i.capture.eth2]
fanout_id = 24
[instance.i.capture.other]
interface = \"napatech::${index0}\"
";
    let of_first = fanout::id_for("af_packet::eth1");
    for name in ["i-worker-eth1-1", "i-worker-eth1-2"] {
        assert_eq!(option(captures, name, GROUP), of_first);
    }
    assert_eq!(option(captures, "i-worker-eth2-2", GROUP), "24");
    assert_eq!(option(captures, "i-worker-other-1", GROUP), "");
    assert_eq!(node(captures, "i-worker-other-2")["interface"], "napatech::1");
}

#[test]
fn names_follow_a_pattern() {
    let text = "[defaults.worker]
name = \"w-${index}-of-${instance}\"
[instance.i]
workers = 2
[instance.i.manager]
name = \"manager\"
";
    let config = expanded(text).unwrap();
    let names: Vec<String> = config.nodes.iter().map(|node| node.name.to_string()).collect();
    assert_eq!(names, ["manager", "w-1-of-i", "w-2-of-i"]);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let cases = include_str!("golden/wrong.txt");
    let mut told = String::new();
    for case in cases.split("\n=====\n") {
        let (text, _) = case.split_once("\n-----\n").unwrap_or((case, ""));
        let error = match expanded(text) {
            Ok(config) => format!("no error: {} nodes", config.nodes.len()),
            Err(error) => error,
        };
        let _ = write!(
            told,
            "{}{text}\n-----\n{error}",
            if told.is_empty() { "" } else { "\n=====\n" }
        );
    }
    told.push('\n');
    expect_file!["golden/wrong.txt"].assert_eq(&told);
}

#[test]
fn much_of_anything_is_refused_and_not_all_is_told() {
    let repeated = |times: u32, line: &dyn Fn(u32) -> String| (0..times).map(line).collect::<String>();
    let many = repeated(300, &|number| format!("k{number} = 1\n"));
    let error = expanded(&many).unwrap_err();
    assert!(
        error.starts_with("c.toml has 300 errors:\n") && error.ends_with("\n  and 200 more"),
        "{error}"
    );
    let instances = repeated(60, &|number| format!("[instance.i{number}]\nworkers = 1024\n"));
    let error = expanded(&instances).unwrap_err();
    assert!(
        error.contains("a cluster may have 50000 nodes, and here there are more"),
        "{error}"
    );
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(expanded(&deep).is_err());
}

#[test]
fn a_file_of_unknown_name_is_told_by_its_sections() {
    for (text, is_toml) in [
        (TWELVE_SENSORS, Ok(true)),
        ("[ instance . a ]\n", Ok(true)),
        ("[defaults]\n", Ok(true)),
        (
            "[instances]\nsensor1\n[worker-1]\ninstance = sensor1\nrole = worker\n",
            Ok(false),
        ),
        ("[manager]\nrole = manager\n", Ok(false)),
        ("", Ok(false)),
        (
            "[instances]\na\n\n[instance.a]\n",
            Err(
                "line 4 has a section of a TOML file, [instance.a], and line 1 one of a cluster file, [instances]: put it into a file whose name ends in .toml or .ini",
            ),
        ),
    ] {
        assert_eq!(looks_like_toml(text), is_toml.map_err(str::to_owned), "{text}");
    }
}

/// An instance as it may be: loggers, proxies, and workers of each capture; without any, its plain workers.
type Sensor = (u32, u32, u32, Vec<u32>);

fn written(sensors: &[Sensor]) -> String {
    let mut text = "[defaults.worker]\nnice = 1\n".to_owned();
    for (number, (loggers, proxies, workers, captures)) in sensors.iter().enumerate() {
        let _ = write!(
            text,
            "[instance.s{number}]\nloggers = {loggers}\nproxies = {proxies}\nworkers = {workers}\n"
        );
        if captures.is_empty() {
            text += "cpus = \"0-63\"\ninterface = \"af_packet::eth1\"\n";
        }
        for (capture, workers) in captures.iter().enumerate() {
            let _ = writeln!(
                text,
                "[instance.s{number}.capture.c{capture}]\nworkers = {workers}\ninterface = \"af_packet::${{capture}}\"\ncpus = \"0-63\""
            );
        }
    }
    text
}

fn sensors() -> impl Strategy<Value = Vec<Sensor>> {
    let sensor = (
        0..4_u32,
        0..4_u32,
        0..12_u32,
        prop::collection::vec(0..12_u32, 0..4),
    );
    prop::collection::vec(sensor, 1..6)
}

proptest! {
    /// One more worker, logger or proxy leaves every other node as it is: none is renamed, and none gets another CPU or fan-out group.
    #[test]
    fn one_more_node_changes_no_other(sensors in sensors(), which in any::<prop::sample::Index>(), what in 0..4_usize) {
        let before = expanded(&written(&sensors)).unwrap();
        let names: BTreeSet<_> = before.nodes.iter().map(|node| &node.name).collect();
        prop_assert_eq!(names.len(), before.nodes.len());
        let mut more = sensors.clone();
        let (loggers, proxies, workers, captures) = which.get_mut(&mut more);
        match (what, captures.last_mut()) {
            (0, _) => *loggers += 1,
            (1, _) => *proxies += 1,
            (2, Some(workers)) => *workers += 1,
            (2, None) => *workers += 1,
            (_, None) => return Ok(()),
            (_, Some(_)) => captures.push(1),
        }
        let after = expanded(&written(&more)).unwrap();
        prop_assert_eq!(after.nodes.len(), before.nodes.len() + 1);
        for node in &before.nodes {
            prop_assert!(after.nodes.contains(node), "{:?}", node.name);
        }
        prop_assert_eq!(json(&written(&more)), json(&written(&more)));
    }

    /// Nothing that is written ends the program.
    #[test]
    fn any_text_is_read_or_refused(text in "(\\[{1,2}(instance|template|node|defaults)(\\.[a-c]){0,3}\\]{1,2}\n|[a-z_]{1,9} = (1|-1|true|\"cpus( - 9)?\"|\"[$]\\{[a-z]{0,5}\\}?\"|\\[1, 2\\]|\\{ a = 1 \\})\n){0,12}") {
        let _ = expanded(&text);
    }
}
