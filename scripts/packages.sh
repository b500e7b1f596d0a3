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
    build_agent --no-default-features --features jemalloc
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

# generate PROGRAM: what it says about itself.
generate() {
    local program="$1" name shell
    name="$(basename "$program")"
    manual "$program" "$name"
    for shell in bash zsh fish; do
        "$program" completion "$shell" >"$GENERATED/$name.$shell"
    done
}

# settings PROGRAM DAEMON: its configuration file, with what its unit needs.
settings() { "$1" example-config | cat - "packaging/systemd/$2.toml" >"$GENERATED/mgmt-$2.toml"; }

# build_all PROFILE PROFILE-OF-AGENT BUILD: builds the programs in these profiles, and what they say about themselves.
build_all() {
    local profile="$1" agent_profile="$2" controller agent client
    controller="$(directory "$profile")/mgmt-controller"
    client="$(directory "$profile")/mgmtctl"
    agent="$(directory "$agent_profile")/mgmt-agent"
    step "Rust toolchain" need_rust
    step "Debian packages" packages
    step "cargo-deb" need_cargo_deb
    step "programs" "$3"
    rm -rf "$GENERATED" "$PACKAGES"
    mkdir -p "$GENERATED" "$PACKAGES"
    generate "$controller"
    generate "$agent"
    generate "$client"
    settings "$controller" controller
    settings "$agent" agent
}

# Where cargo has what it builds in a profile.
directory() { printf 'target/%s' "${1/#dev/debug}"; }

# pack CRATE PROFILE DIRECTORY [OPTION...]
pack() {
    "$CARGO_DEB" deb --no-build --quiet --package "$1" --profile "$2" --output "$3/" "${@:4}"
}

# pack_dev DIRECTORY [OPTION...]
pack_dev() {
    local crate
    for crate in mgmt-controller mgmt-client mgmt-agent; do
        pack "$crate" dev "$1" --fast "${@:2}"
    done
}

case "${1:-}" in
    "")
        build_all release agent build
        step "mgmt-controller" pack mgmt-controller release "$PACKAGES"
        step "mgmt-client" pack mgmt-client release "$PACKAGES"
        step "mgmt-agent" pack mgmt-agent agent "$PACKAGES"
        print_summary
        ls "$PACKAGES"
        ;;
    --dev)
        build_all dev dev build_dev
        step "packages" pack_dev "$PACKAGES"
        step "their next version" pack_dev "$PACKAGES/next" --deb-version 999
        print_summary
        ;;
    *)
        sed -n '3,9s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
