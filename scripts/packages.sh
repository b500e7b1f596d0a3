#!/usr/bin/env bash
#
# Makes the Debian packages zeek-mgmt-controller, zeek-mgmt-agent and zeek-mgmt-client in target/packages.
#
#   scripts/packages.sh            as operators should have them; takes minutes
#   scripts/packages.sh --dev      of the programs that tests use, and of each a next version, to upgrade to
#
# They link the system's OpenSSL, so they are for the Debian release, and those after it, on which they are made. What is missing is
# installed (as root or with password-less sudo) or listed; cargo-deb goes into .local/.

set -euo pipefail
# shellcheck source=scripts/setup-lib.sh
. "$(dirname "$0")/setup-lib.sh"
cd "$ROOT"

GENERATED=target/packaging
PACKAGES=target/packages

packages() {
    want gcc "compiler of SQLite and jemalloc, and linker" has cc
    want libc6-dev "C headers" test -e /usr/include/stdio.h
    want make "builds jemalloc" has make
    want libssl-dev "OpenSSL to link with" has_openssl
    want pkg-config "finds OpenSSL" has pkg-config
    want dpkg-dev "finds what the programs depend on" has dpkg-shlibdeps
    install_missing
}

build() {
    cargo build --release --locked --no-default-features --package mgmt-client
    cargo build --release --locked --no-default-features --features jemalloc --package mgmt-controller
    JEMALLOC_SYS_WITH_MALLOC_CONF="$AGENT_MALLOC_CONF" \
        cargo build --profile agent --locked --no-default-features --features jemalloc --package mgmt-agent
}

build_dev() {
    local program
    for program in mgmt-controller:mgmt-controller mgmt-agent:mgmt-agent mgmt-client:mgmtctl; do
        cargo build --locked --no-default-features --package "${program%:*}" --bin "${program#*:}"
    done
}

# manual PROGRAM PAGE [SUBCOMMAND...]: the page, and those of the subcommands that it names.
manual() {
    local program="$1" page="$2" subcommand
    shift 2
    "$program" man "$@" >"$GENERATED/$page.1"
    while IFS= read -r subcommand; do
        manual "$program" "$page-$subcommand" "$@" "$subcommand"
    done < <(sed -n "s/\\\\//g; s/^$page-\([a-z-]*\)(1)\$/\1/p" "$GENERATED/$page.1")
}

# generate PROGRAM COMPLETION: what it says about itself.
generate() {
    local program="$1" completion="$2" name shell
    name="$(basename "$program")"
    manual "$program" "$name"
    for shell in bash zsh fish; do
        "$program" "$completion" "$shell" >"$GENERATED/$name.$shell"
    done
}

# pack PROFILE-OF-AGENT PROFILE DIRECTORY [OPTION...]
pack() {
    local agent_profile="$1" profile="$2"
    local output="$3" crate
    shift 3
    for crate in mgmt-controller mgmt-client; do
        "$CARGO_DEB" deb --no-build --quiet --profile "$profile" --package "$crate" --output "$output/" "$@"
    done
    "$CARGO_DEB" deb --no-build --quiet --profile "$agent_profile" --package mgmt-agent --output "$output/" "$@"
}

main() {
    local agent_profile="$1" profile="$2" directory="$3" agent_directory="$4"
    step "Rust toolchain" need_rust
    step "Debian packages" packages
    step "cargo-deb" need_cargo_deb
    step "programs" "$5"
    rm -rf "$GENERATED" "$PACKAGES"
    mkdir -p "$GENERATED" "$PACKAGES"
    local controller="target/$directory/mgmt-controller" agent="target/$agent_directory/mgmt-agent"
    generate "$controller" completions
    generate "$agent" completions
    generate "target/$directory/mgmtctl" completion
    "$controller" example-config >"$GENERATED/mgmt-controller.toml"
    "$agent" example-config >"$GENERATED/mgmt-agent.toml"
    step "packages" pack "$agent_profile" "$profile" "$PACKAGES" "${@:6}"
}

case "${1:-}" in
    "")
        main agent release release agent build
        print_summary
        ls "$PACKAGES"
        ;;
    --dev)
        main dev dev debug debug build_dev --fast
        step "their next version" pack dev dev "$PACKAGES/next" --fast --deb-version 999
        print_summary
        ;;
    *)
        sed -n '3,9s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
