#!/usr/bin/env bash
#
# Builds the programs as operators should have them: mgmt-controller, mgmt-agent and mgmtctl in target/release.
#
#   scripts/build.sh
#
# They bring their own OpenSSL, which has the anonymous ciphers that Zeek uses by default on every distribution, and an
# allocator. Both are built from source, which takes minutes and needs a C compiler, make and perl: what is missing is installed
# (as root or with password-less sudo) or listed.

set -euo pipefail
# shellcheck source=scripts/setup-lib.sh
. "$(dirname "$0")/setup-lib.sh"
cd "$ROOT"

packages() {
    want gcc "compiler of OpenSSL, SQLite and jemalloc, and linker" has cc
    want libc6-dev "C headers" test -e /usr/include/stdio.h
    want make "builds OpenSSL and jemalloc" has make
    want perl "configures OpenSSL" has_perl
    install_missing
}

# OpenSSL's configuration needs more than the perl-base that every Debian has.
has_perl() { perl -MFindBin -MIPC::Cmd -MFile::Compare -MPod::Usage -e 1; }

build() { cargo build --release --locked --package mgmt-controller --package mgmt-client; }

step "Rust toolchain" need_rust
step "Debian packages" packages
step "controller and mgmtctl" build
step "agent" build_agent
cp target/agent/mgmt-agent target/release/mgmt-agent
print_summary
