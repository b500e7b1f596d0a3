# shellcheck shell=bash
#
# What the scripts share: steps with timings, and installing what is missing. Sourced, never run.
#
# Everything is idempotent and quick when nothing is missing. System packages come from apt-get where the caller is root or has
# sudo without a password; otherwise the script ends with the list of what is missing and the command that installs it.
# Packages from PyPI go into virtual environments below .local/ in the checkout, never into the system.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
LOCAL="$ROOT/.local"

# Releases of zeek-client that speak WebSocket; the conformance tests run each of them.
# shellcheck disable=SC2034 # read by the scripts that source this
ZEEK_CLIENT_VERSIONS=(1.5.0 1.4.0 1.3.1 1.2.0)
# Pinned, because zeek-client prints this library's error texts and the tests compare what it prints.
WEBSOCKET_CLIENT_VERSION=1.9.0

# Of the daemons' OpenAPI documents: what makes clients of them, and what looks whether answers fit them.
OPENAPI_TOOLS="openapi-python-client==0.29.1 jsonschema==4.26.0"

# The status page is looked at by it.
AXE_VERSION=4.14.1
AXE_SHA512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5

# Makes the packages.
CARGO_DEB_VERSION=3.8.0
CARGO_DEB="$LOCAL/cargo-deb/bin/cargo-deb"

# build_agent [OPTION...]: by itself, as its profile and its allocator, which gives back at once what it does not need, are others
# (docs/performance.md).
build_agent() {
    JEMALLOC_SYS_WITH_MALLOC_CONF=narenas:1,tcache:false,dirty_decay_ms:0 \
        cargo build --profile agent --locked --package mgmt-agent "$@"
}

STEP_SUMMARY=()

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a named step; prints its name, how long it took, and stops the script with the name if it fails.
step() {
    local name="$1" started elapsed
    shift
    say "==> $name"
    started=$SECONDS
    if ! "$@"; then
        say ""
        die "step failed: $name (after $((SECONDS - started)) s)"
    fi
    elapsed=$((SECONDS - started))
    STEP_SUMMARY+=("$(printf '%5d s  %s' "$elapsed" "$name")")
}

print_summary() {
    say ""
    say "Steps passed:"
    printf '  %s\n' "${STEP_SUMMARY[@]}"
}

# --- system packages -------------------------------------------------------------------------------------------------------

MISSING_PACKAGES=()
MISSING_REASONS=()

# want PACKAGE REASON TEST...: remembers the package if the test command fails.
want() {
    local package="$1" reason="$2"
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        MISSING_PACKAGES+=("$package")
        MISSING_REASONS+=("$(printf '  %-16s %s' "$package" "$reason")")
    fi
}

has() { command -v "$1"; }

# A virtual environment needs ensurepip, which Debian ships apart from python3.
has_venv() { python3 -c 'import ensurepip, venv'; }

has_openssl() { test -e /usr/include/openssl/ssl.h; }

# Debian's own interpreter: packages from apt are not visible to others on PATH.
has_debian_broker() { /usr/bin/python3 -c 'import broker'; }

apt_get() {
    local command=(apt-get)
    if [ "$(id -u)" -ne 0 ]; then
        command=(sudo -n apt-get)
    fi
    env DEBIAN_FRONTEND=noninteractive "${command[@]}" -q -y -o Dpkg::Use-Pty=0 "$@"
}

may_install() {
    has apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

# Installs what want() found missing, or explains it.
install_missing() {
    if [ "${#MISSING_PACKAGES[@]}" -eq 0 ]; then
        say "nothing is missing"
        return 0
    fi
    say "missing:"
    printf '%s\n' "${MISSING_REASONS[@]}"
    if may_install; then
        apt_get update >/dev/null || return 1
        apt_get install --no-install-recommends "${MISSING_PACKAGES[@]}" || return 1
        MISSING_PACKAGES=()
        MISSING_REASONS=()
    else
        say ""
        say "Neither root nor password-less sudo here. Install them, then run this again:"
        say "  sudo apt-get update && sudo apt-get install --no-install-recommends ${MISSING_PACKAGES[*]}"
        return 1
    fi
}

# --- the Rust toolchain ----------------------------------------------------------------------------------------------------

# need_rust COMPONENT...: cargo itself cannot be installed from here; its components can, where rustup manages them.
need_rust() {
    if ! has cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
        export PATH
    fi
    if ! has cargo >/dev/null; then
        say "cargo is missing. Install Rust 1.89 or newer, for example with rustup (https://rustup.rs)."
        return 1
    fi
    local component
    for component in "$@"; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        if has rustup >/dev/null && (cd "$ROOT" && rustup component add "${component/fmt/rustfmt}"); then
            continue
        fi
        say "cargo $component is missing. Install it: rustup component add ${component/fmt/rustfmt}"
        return 1
    done
    cargo --version
}

# --- another Debian --------------------------------------------------------------------------------------------------------

# debian_12 DIRECTORY PACKAGE,...: makes a Debian 12 there, from where this machine's apt has it, else from debootstrap's default.
debian_12() {
    local mirror
    # shellcheck disable=SC2016 # apt-get expands it
    mirror="$(apt-get indextargets --format '$(REPO_URI)' "Codename: bookworm" "Created-By: Packages" | head -n 1)"
    debootstrap --variant=minbase --include="$2" bookworm "$1" ${mirror:+"$mirror"} |
        grep --line-buffered -v '^I: \(Validating\|Retrieving\|Extracting\|Unpacking\|Configuring\)'
}

# A Debian with systemd, into copies of which tests install our packages. Only root can make one.
need_debian() {
    local home="$LOCAL/debian-12" wanted="systemd-sysv,libpam-systemd,dbus,polkitd,libssl3,procps"
    if [ "$(id -u)" -ne 0 ]; then
        say "not root: no test installs the packages"
    elif [ "$(cat "$home.complete" 2>/dev/null)" = "$wanted" ]; then
        say "it is here"
    else
        rm -rf --one-file-system "$home" "$home.complete"
        mkdir -p "$home"
        # A container may not let root do what this takes.
        if debian_12 "$home" "$wanted" && [ -z "$(chroot "$home" dpkg --audit)" ]; then
            printf '%s' "$wanted" >"$home.complete"
        else
            rm -rf --one-file-system "$home"
            say "it cannot be made here: no test installs the packages"
        fi
    fi
}

# --- cargo-deb -------------------------------------------------------------------------------------------------------------

need_cargo_deb() {
    if [ "$("$CARGO_DEB" --version 2>/dev/null)" = "$CARGO_DEB_VERSION" ]; then
        say "cargo-deb $CARGO_DEB_VERSION is here"
        return 0
    fi
    cargo install --quiet --locked --root "$LOCAL/cargo-deb" "cargo-deb@$CARGO_DEB_VERSION"
}

# --- zeek-client -----------------------------------------------------------------------------------------------------------

zeek_client_path() { printf '%s/zeek-client/%s/bin/zeek-client' "$LOCAL" "$1"; }

# need_zeek_client VERSION...: installs the releases from PyPI, each into an environment of its own. The stamp is written last:
# an interrupted installation is done again.
need_zeek_client() {
    mkdir -p "$LOCAL/zeek-client"
    local version home stamp wanted
    for version in "$@"; do
        home="$LOCAL/zeek-client/$version"
        stamp="$home/.complete"
        wanted="zeek-client==$version websocket-client==$WEBSOCKET_CLIENT_VERSION"
        (
            flock 9
            if [ -x "$home/bin/zeek-client" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$home $wanted" ]; then
                say "zeek-client $version is here"
                exit 0
            fi
            say "installing zeek-client $version into ${home#"$ROOT"/}"
            rm -rf "$home"
            python3 -m venv "$home" || exit 1
            # shellcheck disable=SC2086 # two requirements
            "$home/bin/python" -m pip install --quiet --disable-pip-version-check $wanted || exit 1
            # Environments cannot be moved: the stamp names the place it was made for.
            printf '%s %s' "$home" "$wanted" >"$stamp"
        ) 9>"$LOCAL/zeek-client/lock" || return 1
    done
}

# --- OpenAPI ---------------------------------------------------------------------------------------------------------------

# need_openapi: what the daemons' OpenAPI documents are tested with, from PyPI into .local/openapi.
need_openapi() {
    local home="$LOCAL/openapi"
    mkdir -p "$home"
    (
        flock 9
        if [ "$(cat "$home/complete" 2>/dev/null)" = "$OPENAPI_TOOLS" ] && "$home/venv/bin/python" -c ""; then
            say "$OPENAPI_TOOLS are here"
            exit 0
        fi
        rm -rf "$home/venv" "$home/complete"
        python3 -m venv "$home/venv" || exit 1
        # shellcheck disable=SC2086 # two requirements
        "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check $OPENAPI_TOOLS || exit 1
        printf '%s' "$OPENAPI_TOOLS" >"$home/complete"
    ) 9>"$home/lock"
}

# --- axe-core --------------------------------------------------------------------------------------------------------------

# need_axe: what finds faults of accessibility, from npm, into .local/axe-core.
need_axe() {
    local home="$LOCAL/axe-core" stamp="$LOCAL/axe-core/.complete" registry archive
    if [ "$(cat "$stamp" 2>/dev/null)" = "$AXE_VERSION" ]; then
        say "axe-core $AXE_VERSION is here"
        return 0
    fi
    registry="$(npm config get registry 2>/dev/null || say https://registry.npmjs.org/)"
    archive="$home/axe-core.tgz"
    say "getting axe-core $AXE_VERSION"
    rm -rf "$home"
    mkdir -p "$home"
    curl --fail --silent --show-error --location --output "$archive" "${registry%/}/axe-core/-/axe-core-$AXE_VERSION.tgz" || return 1
    printf '%s  %s\n' "$AXE_SHA512" "$archive" | sha512sum --check --quiet || return 1
    tar -xzf "$archive" -C "$home" --strip-components=1 package/axe.min.js || return 1
    printf '%s' "$AXE_VERSION" >"$stamp"
}
