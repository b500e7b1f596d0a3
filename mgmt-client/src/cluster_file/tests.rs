use super::*;

const FULL: &str = "[instances]
sensor1
sensor2 = 10.0.0.12:2151
sensor3 = fe80::1:2151

[manager]
instance = sensor1
role = MANAGER

[worker-1]
instance = sensor2
role = WORKER
port = 2200
scripts = \"a b.zeek\" c.zeek
interface = eth1
cpu_affinity = 3
env = A=\"b c\" B= C=100%%
metrics_port = 9001

";

fn read(text: &str) -> Result<Read, FileError> {
    super::read(text, "host")
}

#[test]
fn what_is_read_is_written_as_it_was() {
    let Read { config, warnings } = read(FULL).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(write(&config), FULL);
    let worker = &config.nodes[1];
    assert_eq!(worker.env[&ZeekString::from("C")], "100%");
    assert_eq!(worker.scripts.as_ref().unwrap()[0], "a b.zeek");
    assert_eq!(config.instances[2].host, Some("fe80::1".parse().unwrap()));
}

#[test]
fn the_forms_that_python_reads_are_read() {
    let text = "# comment
[DEFAULT]
Interface : eth0
[worker-1]
  ; comment
  instance = a
  type=Supervisor::WORKER
  scripts = b
    # comment

    a
  colour = red
  state = FAILED
[worker-2] and more
instance = a
role = worker
interface = eth1
";
    let Read { config, warnings } = read(text).unwrap();
    let [first, second] = &config.nodes[..] else {
        panic!("{config:?}")
    };
    assert_eq!(first.scripts.as_deref(), Some(&["a".into(), "b".into()][..]));
    assert_eq!(first.interface, Some("eth0".into()));
    assert_eq!(second.interface, Some("eth1".into()));
    assert_eq!(config.instances.len(), 1, "they are those that nodes name");
    assert_eq!(
        warnings,
        [
            "line 12: node worker-1: there is no key colour, it is ignored",
            "line 13: node worker-1: its state is not read"
        ]
    );
    let own = read("[w]\nrole = worker\n").unwrap().config;
    assert_eq!(own.instances[0].name, "agent-host");
    let named = read("[instances]\nSensor1 =\n").unwrap().config;
    assert_eq!(
        named.instances[0].name, "sensor1",
        "in small letters, as zeek-client"
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    for (text, error) in [
        ("a = b", "line 1: a section such as [instances] must come first"),
        ("[w]\n= b", "line 2: there is no key before the value"),
        ("[w]\n[w]", "line 2: there is a section [w] already, at line 1"),
        (
            "[w]\nport = 1\nPort = 2",
            "line 3: section [w] has a key port already, at line 2",
        ),
        (
            "[instances]\na\n b",
            "line 3: this goes on with the line above, as it is indented, and a has no value",
        ),
        ("[w]\nrole", "line 2: node w: role needs a value"),
        ("[w]\nrole =", "line 2: node w: role needs a value"),
        ("[w]\nport = 1", "line 1: node w needs a role"),
        (
            "[w]\nrole = cook",
            "line 2: node w: role cook is none; roles are logger, manager, proxy and worker",
        ),
        (
            "[w]\nrole = worker\nport = 65536",
            "line 3: node w: port 65536 is no port (1 to 65535)",
        ),
        (
            "[w]\nrole = worker\ncpu_affinity = \u{1b}",
            "line 3: node w: cpu_affinity \\x1b is no number of a CPU",
        ),
        (
            "[w]\nrole = worker\nscripts = 'a",
            "line 3: node w: scripts cannot be read: a quotation mark is not closed",
        ),
        (
            "[w]\nrole = worker\nenv = a",
            "line 3: node w: env a is no NAME=VALUE",
        ),
        (
            "[w]\nrole = %(port)s",
            "line 2: a % is written as %% here; references such as %(port)s are not read",
        ),
        (
            "[instances]\na = 10.0.0.1",
            "line 2: instance a: 10.0.0.1 is no address and port, such as 10.0.0.12:2151",
        ),
        (
            "[instances]\na\n[w]\nrole = worker",
            "line 3: node w names no instance; all nodes name one, or none does and there is no [instances]",
        ),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), error);
    }
}
