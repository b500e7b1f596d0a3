#!/usr/bin/env bash
#
# Coverage-guided fuzzing of the codec.
#
#   scripts/fuzz.sh SECONDS [TARGET...]      by default every target
#
# Needs cargo-fuzz (cargo install cargo-fuzz --locked) and a C++ compiler, but no nightly toolchain. Inputs that are found are kept
# in fuzz/corpus, those that fail in fuzz/artifacts; the first failing target ends the run.

set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { sed -n '3,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
seconds="$1"
shift
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(frame value json envelope handshake)

# cargo-fuzz wants unstable options of the compiler; a stable one takes them if it is told so.
export RUSTC_BOOTSTRAP=1

cargo run --quiet --release --manifest-path fuzz/Cargo.toml --bin seed
for target in "${targets[@]}"; do
    # No sanitizer: there is no unsafe code in what is fuzzed, and without one it runs several times as fast.
    cargo fuzz run --sanitizer none "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1
done
