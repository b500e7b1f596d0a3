//! Which Zeek is installed.

use mgmt_api::{Level, SupervisorLayout};

use crate::core::{Action, Turn};

/// Tells an operator that another Zeek is installed than before.
pub(super) fn tell_change(turn: &mut Turn, before: Option<&str>, now: Option<&str>) {
    let is_known = now.and_then(SupervisorLayout::of_version).is_some();
    let (before, now) = (release(before), release(now));
    let mut report = |level, message| turn.push(Action::Report { level, message });
    report(
        Level::Info,
        format!(
            "Zeek was {before} and is {now} now: the Supervisor that has connected is taken for a {now}; \
             start it again if it was started before that"
        ),
    );
    if !is_known {
        report(
            Level::Warning,
            format!(
                "the records of Zeek {now} are not known: name a release with the same ones by --zeek-version"
            ),
        );
    }
}

/// The release that a Zeek says that it is.
fn release(version: Option<&str>) -> &str {
    let version = version.unwrap_or("unknown");
    version.strip_prefix("zeek version ").unwrap_or(version)
}
