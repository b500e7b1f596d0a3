#!/usr/bin/env bash
#
# Kills agents at any time, while nodes are killed and configurations deployed, more often than CI does, and by chance of another seed.
#
#   scripts/soak.sh [KILLS [SEED]]      by default 200 under each of native and systemd, by a seed from the clock
#
# A run that fails is repeated by its seed; the moment of each kill depends on the machine as well.

set -euo pipefail
cd "$(dirname "$0")/.."

export MGMT_SOAK_KILLS="${1:-200}" MGMT_SOAK_SEED="${2:-$(date +%s)}"
# A host without containers is no success.
export MGMT_REQUIRE=systemd

echo "scripts/soak.sh $MGMT_SOAK_KILLS $MGMT_SOAK_SEED"
cargo test --package conformance --no-default-features --locked --test conformance -- killed_at_any_time
