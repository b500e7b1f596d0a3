#!/usr/bin/env bash
#
# The one check: what a person runs before a commit is what CI runs.
#
#   scripts/check.sh            everything
#   scripts/check.sh --setup    only install what the checks and tests need
#
# It installs missing Debian packages (as root or with password-less sudo, otherwise it lists them), and below .local/ zeek-client
# in four releases, what the OpenAPI documents are tested with, cargo-deb, and where it is root a Debian that our packages are installed in. With MGMT_REQUIRE=browser also
# Chromium, which is large, and axe-core. Stops at the first failing step and names it.

set -euo pipefail
# shellcheck source=scripts/setup-lib.sh
. "$(dirname "$0")/setup-lib.sh"
cd "$ROOT"

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# Incremental artefacts are of no use to a build that is made once.
if [ -n "${CI:-}" ]; then
    export CARGO_INCREMENTAL=0
fi

# The default features build OpenSSL and an allocator from source, which takes minutes; the checks link the system's.
FEATURES=(--no-default-features)

needs_browser() { [[ ",${MGMT_REQUIRE:-}," == *,browser,* ]]; }

packages() {
    want gcc "linker, and compiler of the bundled SQLite" has cc
    want libc6-dev "C headers" test -e /usr/include/stdio.h
    want libssl-dev "OpenSSL to link tests with" has_openssl
    want pkg-config "finds OpenSSL" has pkg-config
    want openssl "the other side in tests of TLS" has openssl
    want python3 "zeek-client, and a client made of an OpenAPI document" has python3
    want python3-venv "private environments for them" has_venv
    want python3-broker "Broker's own reader and writer of the store" has_debian_broker
    want strace "the test that the store is synced before the reply" has strace
    want systemd-container "nodes kept by systemd, in a container" has systemd-nspawn
    want dbus "likewise" has dbus-daemon
    want polkitd "likewise" test -x /usr/lib/polkit-1/polkitd
    want prometheus "promtool, which checks metrics and alert rules" has promtool
    want debootstrap "a Debian to install the packages in" has debootstrap
    want dpkg-dev "finds what the packages depend on" has dpkg-shlibdeps
    want shellcheck "check of these scripts" has shellcheck
    if needs_browser; then
        want chromium "the browser that the status page is tested in" has chromium
        want chromium-driver "drives it" has chromedriver
        want curl "gets axe-core" has curl
    fi
    install_missing
}

shell_scripts() {
    git ls-files -z -- '*.sh' .ci/run | xargs -0 shellcheck --external-sources
}

format() { cargo fmt --all --check; }

lints() { cargo clippy --workspace --all-targets "${FEATURES[@]}" --locked -- -D warnings; }

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps "${FEATURES[@]}" --locked; }

# What the tests start: each built alone, as operators build it, with the features of dependencies that tests do not add to.
programs() {
    local program
    for program in mgmt-controller:mgmt-controller mgmt-agent:mgmt-agent mgmt-client:mgmtctl zeek-simulator:zeek tools:replay; do
        cargo build --locked "${FEATURES[@]}" --package "${program%:*}" --bin "${program#*:}"
    done
}

# Tests print their own results; the sum of all binaries is kept for the last line.
tests() {
    local log status
    log="$(mktemp)"
    status=0
    # setup has installed it.
    export MGMT_REQUIRE="promtool${MGMT_REQUIRE:+,$MGMT_REQUIRE}"
    # Most of the time they wait for processes and for time.
    export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
    cargo test --workspace "${FEATURES[@]}" --locked 2>&1 | tee "$log" || status=$?
    TEST_TOTALS="$(awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed", passed, failed }' "$log")"
    rm -f "$log"
    return "$status"
}

setup() {
    step "Rust toolchain" need_rust fmt clippy
    step "Debian packages" packages
    step "zeek-client ${ZEEK_CLIENT_VERSIONS[*]}" need_zeek_client "${ZEEK_CLIENT_VERSIONS[@]}"
    step "OpenAPI" need_openapi
    if needs_browser; then
        step "axe-core $AXE_VERSION" need_axe
    fi
    step "Debian 12" need_debian
}

case "${1:-}" in
    "")
        setup
        step "shellcheck" shell_scripts
        step "cargo fmt" format
        step "cargo clippy" lints
        step "cargo doc" documentation
        step "cargo build" programs
        step "our packages" scripts/packages.sh --dev
        step "cargo test" tests
        print_summary
        say ""
        say "$TEST_TOTALS"
        ;;
    --setup)
        setup
        print_summary
        ;;
    *)
        sed -n '3,10s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
