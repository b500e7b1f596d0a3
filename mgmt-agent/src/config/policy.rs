//! When nodes are started again and how they are stopped, where the agent decides that.

use std::{ops::RangeInclusive, time::Duration};

use mgmt_daemon::config::Resolver;

use crate::core::NodePolicy;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// So many early ends in a row say no more than fewer do.
const FAILS_AFTER_MAX: u64 = 1_000;

pub(super) fn read(resolver: &mut Resolver<'_>) -> NodePolicy {
    const FAILS_AFTER: &str = "node_fails_after";
    let fails_after: u64 = resolver.take(FAILS_AFTER);
    if fails_after > FAILS_AFTER_MAX {
        resolver.refuse(
            FAILS_AFTER,
            format!("a number from 0 to {FAILS_AFTER_MAX} is needed"),
        );
    }
    let mut interval = |key, bounds: RangeInclusive<Duration>| {
        let interval: Duration = resolver.take(key);
        if !bounds.contains(&interval) {
            let (least, most) = (bounds.start().as_secs(), bounds.end().as_secs());
            resolver.refuse(
                key,
                format!("an interval from {least} to {most} seconds is needed"),
            );
        }
        interval
    };
    NodePolicy {
        stop_timeout: interval("node_stop_timeout", SECOND..=HOUR),
        restart_max: interval("node_restart_max", SECOND..=DAY),
        fails_after: u32::try_from(fails_after).unwrap_or(u32::MAX),
        failed_retry: interval("node_failed_retry", SECOND..=DAY),
        stage_timeout: interval("node_stage_timeout", Duration::ZERO..=HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::read;

    #[test]
    fn what_an_operator_chooses_has_bounds() {
        let policy = |given: &str| {
            let config = read(&format!("--name=a {given}"));
            config
                .map(|config| config.settings.launch.policy)
                .map_err(|error| error.to_string())
        };
        assert_eq!(policy(""), Ok(NodePolicy::default()));
        let given = "--node-stop-timeout=2␣min --node-restart-max=90sec --node-fails-after=0 --node-failed-retry=1␣hr --node-stage-timeout=0sec";
        let chosen = NodePolicy {
            stop_timeout: 120 * SECOND,
            restart_max: 90 * SECOND,
            fails_after: 0,
            failed_retry: HOUR,
            stage_timeout: Duration::ZERO,
        };
        assert_eq!(policy(given), Ok(chosen));
        for (given, needed) in [
            ("--node-stop-timeout=0sec", "from 1 to 3600 seconds"),
            ("--node-restart-max=10␣msec", "from 1 to 86400 seconds"),
            ("--node-fails-after=1001", "from 0 to 1000"),
            ("--node-failed-retry=2␣days", "from 1 to 86400 seconds"),
            ("--node-stage-timeout=61␣min", "from 0 to 3600 seconds"),
        ] {
            let said = policy(given).unwrap_err();
            assert!(said.contains(needed), "{given}: {said}");
        }
    }
}
