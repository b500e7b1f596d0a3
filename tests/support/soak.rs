//! How long the tests go on that kill agents at any time: `scripts/soak.sh` has them go on for longer, and by other seeds.

use std::{env, str::FromStr};

use testkit::Dice;

/// How often an agent is killed.
pub(crate) fn kills() -> u64 {
    number("MGMT_SOAK_KILLS", 20)
}

/// What decides about everything that chance decides about. Its seed is shown with the output of a test that fails.
#[expect(clippy::print_stderr, reason = "shown with the failed test's output")]
pub(crate) fn dice() -> Dice {
    let seed = number("MGMT_SOAK_SEED", 14);
    eprintln!("MGMT_SOAK_SEED={seed}");
    Dice(seed)
}

fn number(variable: &str, default: u64) -> u64 {
    let given = env::var(variable).map(|text| u64::from_str(&text));
    given.map_or(default, |number| {
        number.unwrap_or_else(|error| panic!("{variable}: {error}"))
    })
}
