//! How a node, its unit and that unit's object on D-Bus are called.

use crate::supervisors::own::check_name;

/// What the name of a node's unit begins and ends with.
const UNIT: (&str, &str) = ("zeek-node@", ".service");

/// The file that all of them come from.
pub(super) const TEMPLATE: &str = "zeek-node@.service";

const OBJECTS: &str = "/org/freedesktop/systemd1/unit/";

pub(super) fn unit(node: &str) -> String {
    let (begin, end) = UNIT;
    format!("{begin}{node}{end}")
}

/// The node that a unit is of.
pub(super) fn node_of_unit(unit: &str) -> Option<&str> {
    let (begin, end) = UNIT;
    let node = unit.strip_prefix(begin)?.strip_suffix(end)?;
    // Names that systemd would escape are none of nodes.
    check_name(node.as_bytes()).is_ok().then_some(node)
}

/// Of a unit's object (`bus_label_escape` of systemd): each byte but letters and digits as `_2d`.
pub(super) fn path(node: &str) -> String {
    let unit = unit(node);
    let label = unit.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    });
    [OBJECTS.to_owned()].into_iter().chain(label).collect()
}

pub(super) fn node_of_path(path: &str) -> Option<String> {
    let mut unit = String::new();
    let mut rest = path.strip_prefix(OBJECTS)?;
    while let Some((plain, escaped)) = rest.split_once('_') {
        unit.push_str(plain);
        let byte = u8::from_str_radix(escaped.get(..2)?, 16).ok()?;
        unit.push(char::from(byte));
        rest = &escaped[2..];
    }
    unit.push_str(rest);
    node_of_unit(&unit).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_path_and_is_found_in_it() {
        let expected = "/org/freedesktop/systemd1/unit/zeek_2dnode_40worker_2d1_2eservice";
        assert_eq!(path("worker-1"), expected);
        for node in ["worker-1", "a_b", "0x.y-"] {
            assert_eq!(node_of_path(&path(node)).as_deref(), Some(node));
            assert_eq!(node_of_unit(&unit(node)), Some(node));
        }
    }

    #[test]
    fn other_units_are_no_nodes() {
        for unit in [
            "zeek-node@.service",
            "zeek-node@a.socket",
            "zeek-nodes@a.service",
            "ssh.service",
            "zeek-node@.a.service",
            "zeek-node@a\\x2d.service",
            "zeek-node@a:b.service",
        ] {
            assert_eq!(node_of_unit(unit), None, "{unit}");
        }
        for path in [
            "/org/freedesktop/systemd1/unit/ssh_2eservice",
            "/org/freedesktop/systemd1/unit/a_",
            "/",
        ] {
            assert_eq!(node_of_path(path), None, "{path}");
        }
    }
}
