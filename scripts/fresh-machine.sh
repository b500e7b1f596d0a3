#!/usr/bin/env bash
#
# Whether the README's two commands work on a fresh machine: makes a Debian 12 that has git, curl, CA certificates and this machine's
# Rust toolchain, nothing else, clones the last commit into it, and runs scripts/demo.sh and scripts/check.sh there, with an empty
# cargo registry.
#
#   scripts/fresh-machine.sh    as root; needs 15 GB below $TMPDIR (default: /var/tmp) and half an hour
#
# How to reach the package registries is taken from this machine as it is configured: apt, pip, cargo, proxies, CA certificates.
# The exit status is 0 if both commands end with 0. In either case no mount, process or file of the machine is left.

set -euo pipefail
# shellcheck source=scripts/setup-lib.sh
. "$(dirname "$0")/setup-lib.sh"

# Of the user there.
NEW_HOME=/srv/operator

packages() {
    want debootstrap "makes the machine" has debootstrap
    install_missing
}

# copy PATH...: each that this machine has, to the same place there.
copy() {
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then
            mkdir -p "$MACHINE$(dirname "$path")"
            rm -rf "${MACHINE:?}$path"
            cp -aL "$path" "$MACHINE$path"
        fi
    done
}

install_debian() { debian_12 "$MACHINE" git,curl,ca-certificates; }

copy_settings() {
    mkdir -p "$MACHINE$NEW_HOME"
    copy /etc/apt /usr/share/keyrings /etc/resolv.conf /etc/hosts
    copy /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates
    copy /etc/pip.conf
    local from="${CARGO_HOME:-$HOME/.cargo}" file
    mkdir -p "$MACHINE$NEW_HOME/.cargo"
    for file in config config.toml credentials.toml; do
        if [ -e "$from/$file" ]; then
            cp -L "$from/$file" "$MACHINE$NEW_HOME/.cargo/"
        fi
    done
    for file in .config/pip .pip; do
        if [ -e "$HOME/$file" ]; then
            mkdir -p "$MACHINE$NEW_HOME/$(dirname "$file")"
            cp -aL "$HOME/$file" "$MACHINE$NEW_HOME/$file"
        fi
    done
}

# The mounts are in this process's own namespace: they end with it.
mount_toolchain() {
    local toolchain
    toolchain="$(cd "$ROOT" && rustc --print sysroot)"
    mkdir -p "$MACHINE/opt/rust" &&
        mount --bind "$toolchain" "$MACHINE/opt/rust" &&
        mount -o remount,bind,ro "$MACHINE/opt/rust" &&
        mount -t proc proc "$MACHINE/proc" &&
        mount -t sysfs -o ro sysfs "$MACHINE/sys" &&
        mount --rbind /dev "$MACHINE/dev"
}

clone() { git clone --quiet "$ROOT" "$MACHINE$NEW_HOME/clone"; }

# there COMMAND: runs it in the clone, with the environment of a fresh login and this machine's ways to the registries.
there() {
    local environment=() variable
    while IFS= read -r variable; do
        environment+=("$variable=${!variable}")
    done < <(compgen -e | grep -iE '^(https?_proxy|no_proxy|all_proxy|PIP_.*|CARGO_(HTTP|NET|REGISTR|SOURCE).*|SSL_CERT_FILE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|REQUESTS_CA_BUNDLE)$')
    env -i HOME="$NEW_HOME" TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "${environment[@]}" chroot "$MACHINE" env --chdir="$NEW_HOME/clone" "$@"
}

# Everything that happens in the namespaces.
inside() {
    step "Debian" install_debian
    step "settings" copy_settings
    step "toolchain" mount_toolchain
    step "clone" clone
    step "scripts/demo.sh" there scripts/demo.sh
    step "scripts/check.sh" there scripts/check.sh
    print_summary
}

clean_up() {
    # Not SIGTERM, which unshare ignores.
    kill -KILL "$NAMESPACES" 2>/dev/null || true
    wait "$NAMESPACES" 2>/dev/null || true
    rm -rf --one-file-system "$MACHINE"
}

case "${1:-}" in
    "")
        [ "$(id -u)" -eq 0 ] || die "needs root"
        step "Debian packages" packages
        MACHINE="$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-machine.XXXXXX")"
        # As the root of every machine: tests run a daemon as another user.
        chmod 0755 "$MACHINE"
        trap clean_up EXIT
        trap 'exit 130' INT TERM HUP
        # All its processes end with the first one, and the mounts with the last.
        unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" --inside "$MACHINE" &
        NAMESPACES=$!
        wait "$NAMESPACES"
        ;;
    --inside)
        MACHINE="$2"
        inside
        ;;
    *)
        sed -n '3,11s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
