//! What Zeek's Supervisor says about a node that has ended by itself (`Supervisor.cc`, `Stem::Reap`): a line for its log, which our
//! script for it passes on. After a node was once stopped or restarted by command, there is no such line any more.

use broker_codec::{Data, zeek::Event};

use crate::core::{Report, order::signal};

/// The event of `scripts/supervisor.zeek`.
const EVENT: &str = "MgmtAgent::node_end";

/// Whether an event passes such a line on.
pub(super) fn is_line(event: &Event) -> bool {
    event.name == *EVENT
}

/// The end that the line tells of, if any.
pub(super) fn of(event: &Event) -> Option<Report> {
    match &event.args[..] {
        [Data::String(line)] => line.as_str().and_then(read),
        _ => None,
    }
}

/// `Supervised node 'NAME' (PID 1) exited prematurely with status 1`, or `... terminated prematurely by signal 9`.
fn read(line: &str) -> Option<Report> {
    // A name may hold anything, so it is read from both ends.
    let rest = line.strip_prefix("Supervised node '")?;
    let (rest, number) = rest.rsplit_once(' ')?;
    let number: i32 = number.trim_end_matches('.').parse().ok()?;
    let (rest, how) = match rest.strip_suffix(" exited prematurely with status") {
        Some(rest) => (rest, format!("exit status {number}")),
        None => (
            rest.strip_suffix(" terminated prematurely by signal")?,
            signal(number),
        ),
    };
    let (node, pid) = rest.strip_suffix(')')?.rsplit_once("' (PID ")?;
    Some(Report::NodeEnded {
        node: node.into(),
        pid: pid.parse().ok()?,
        how,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_supervisor_are_read() {
        let end = |node: &str, pid, how: &str| {
            Some(Report::NodeEnded {
                node: node.into(),
                pid,
                how: how.into(),
            })
        };
        assert_eq!(
            read("Supervised node 'worker-1' (PID 6565) exited prematurely with status 1"),
            end("worker-1", 6565, "exit status 1")
        );
        assert_eq!(
            read("Supervised node 'a' (PID 1)' (PID 7) terminated prematurely by signal 9"),
            end("a' (PID 1)", 7, "signal 9 (SIGKILL)")
        );
        assert_eq!(
            read("Supervised node 'n' (PID 7) terminated prematurely by signal 64"),
            end("n", 7, "signal 64")
        );
        for line in [
            "",
            "Supervised node 'n' (PID 7) revived after premature exit",
            "Supervised node 'n' (PID x) exited prematurely with status 1",
            "Supervised node 'n' (PID 7) exited prematurely with status",
            "Supervised node",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn other_events_are_not_such_lines() {
        let event = |name: &str, args: Vec<Data>| Event {
            name: name.into(),
            args,
            metadata: None,
        };
        assert!(!is_line(&event("MgmtAgent::other", vec![])));
        assert!(is_line(&event(EVENT, vec![])));
        assert_eq!(of(&event(EVENT, vec![])), None);
        assert_eq!(of(&event(EVENT, vec![Data::Count(1)])), None);
    }
}
