#!/usr/bin/env bash
#
# What takes longer than CI has, by chance of another seed.
#
#   scripts/soak.sh [KILLS [SEED]]            kills agents at any time, while nodes are killed and configurations deployed;
#                                             by default 200 under each of native and systemd, by a seed from the clock
#   scripts/soak.sh --minutes MINUTES [SEED]  has a controller work, which takes two minutes more, for 100 agents and 20 clients who are killed
#                                             at random: fails if its memory grows, a descriptor is lost, or a request is left unanswered
#
# A run that fails is repeated by its seed; the moment of each kill depends on the machine as well.

set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,10 s/^# \{0,1\}//p' "$0" >&2
    exit 64
}

is_number() { [[ "$1" =~ ^[1-9][0-9]*$ ]]; }

if [ "${1:-}" = --minutes ]; then
    is_number "${2:-}" || usage
    features=(--no-default-features --features jemalloc)
    cargo build --release --locked "${features[@]}" --package mgmt-controller --package tools
    exec target/release/mgmt-bench --controller target/release/mgmt-controller \
        --agents 100 --nodes 20 --minutes "$2" --seed "${3:-$(date +%s)}"
fi

is_number "${1:-200}" || usage
export MGMT_SOAK_KILLS="${1:-200}" MGMT_SOAK_SEED="${2:-$(date +%s)}"
# A host without containers is no success.
export MGMT_REQUIRE=systemd

echo "scripts/soak.sh $MGMT_SOAK_KILLS $MGMT_SOAK_SEED"
cargo test --package conformance --no-default-features --locked --test conformance -- killed_at_any_time
