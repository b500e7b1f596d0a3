#!/usr/bin/env bash
#
# Shows the controller at work with the real zeek-client: builds it, starts it, and runs what an operator would run first.
#
#   scripts/demo.sh           on free ports, with a private state directory; stops everything at the end
#   scripts/demo.sh --keep    afterwards leaves the controller running in the foreground on Zeek's own port, 2149, on the
#                             loopback interface, with its state below .local/demo, until Ctrl-C
#
# It installs what is missing: Debian packages (as root or with password-less sudo, otherwise it lists them) and zeek-client
# below .local/.

set -euo pipefail
# shellcheck source=scripts/setup-lib.sh
. "$(dirname "$0")/setup-lib.sh"
cd "$ROOT"

KEEP=no
case "${1:-}" in
    "") ;;
    --keep) KEEP=yes ;;
    *)
        sed -n '3,10s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

packages() {
    want gcc "linker, and compiler of the bundled SQLite" has cc
    want libc6-dev "C headers" test -e /usr/include/stdio.h
    want libssl-dev "TLS as the system has it" has_openssl
    want pkg-config "finds the system's OpenSSL" has pkg-config
    want python3 "zeek-client" has python3
    want python3-venv "private environment for zeek-client" has_venv
    install_missing
}

# With the system's OpenSSL and allocator: those that operators get take minutes to build.
build() { cargo build --release --locked --no-default-features --package mgmt-controller --bin mgmt-controller; }

WORK=""
CONTROLLER_PID=""

clean_up() {
    if [ -n "$CONTROLLER_PID" ]; then
        kill "$CONTROLLER_PID" 2>/dev/null || true
        wait "$CONTROLLER_PID" 2>/dev/null || true
    fi
    if [ -n "$WORK" ]; then
        rm -rf "$WORK"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

CONTROLLER="${CARGO_TARGET_DIR:-target}/release/mgmt-controller"

# Waits for the file that the controller writes once it listens; a controller that ended instead is shown.
wait_until_ready() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if [ -s "$WORK/ready.json" ]; then
            return 0
        fi
        if ! kill -0 "$CONTROLLER_PID" 2>/dev/null; then
            break
        fi
        sleep 0.1
    done
    cat "$WORK/controller.err" >&2
    return 1
}

start_controller() {
    WORK="$(mktemp -d)"
    mkdir "$WORK/state"
    say "\$ mgmt-controller --name controller --websocket-listen 127.0.0.1:0 --listen 127.0.0.1:0 --state-dir STATE --spool-dir SPOOL"
    "$CONTROLLER" --name controller --websocket-listen 127.0.0.1:0 --listen 127.0.0.1:0 \
        --state-dir "$WORK/state" --spool-dir "$WORK/spool" --ready-file "$WORK/ready.json" 2>"$WORK/controller.err" &
    CONTROLLER_PID=$!
    wait_until_ready
    ADDRESS="$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["websocket"][0])' "$WORK/ready.json")"
    say "listening for zeek-client on $ADDRESS"
}

# write_configuration FILE: takes the text from standard input and shows it.
write_configuration() {
    say ""
    say "\$ cat $1"
    tee "$WORK/$1"
}

# show EXPECTED_EXIT ARGUMENT...: runs zeek-client as an operator would and shows what it prints.
show() {
    local expected="$1" status=0
    shift
    say ""
    say "\$ zeek-client --controller $ADDRESS $*"
    (cd "$WORK" && exec "$ZEEK_CLIENT" --configfile /dev/null --controller "$ADDRESS" "$@" </dev/null) || status=$?
    if [ "$status" -ne "$expected" ]; then
        say "zeek-client exited with $status, expected $expected"
        return 1
    fi
    if [ "$status" -ne 0 ]; then
        say "(exit code $status)"
    fi
}

session() {
    show 0 get-instances
    say ""
    say "No agent has connected yet. A configuration can be checked and staged all the same:"
    write_configuration cluster.ini <<'INI'
[instances]
instance-1

[manager]
instance = instance-1
role = manager

[logger-01]
instance = instance-1
role = logger

[worker-01]
instance = instance-1
role = worker
interface = eth0
cpu_affinity = 3
INI
    show 0 stage-config cluster.ini
    show 0 get-config
    say ""
    say "A mistake is explained, and what was staged before stays:"
    write_configuration mistake.ini <<'INI'
[instances]
instance-1

[manager]
instance = instance-2
role = manager
INI
    show 1 stage-config mistake.ini
    say ""
    say "The cluster has no processes yet, and nobody to ask for them:"
    show 1 get-nodes
    say ""
    say "Deploying needs the agent of every instance. Without one the controller gives up after 10 s:"
    show 1 deploy
}

stop_controller() {
    kill -TERM "$CONTROLLER_PID"
    wait "$CONTROLLER_PID"
    CONTROLLER_PID=""
    say "stopped; its management log:"
    say ""
    cat "$WORK"/spool/log-queue/management-controller__*.log
}

ZEEK_CLIENT="$(zeek_client_path "${ZEEK_CLIENT_VERSIONS[0]}")"

step "Rust toolchain" need_rust
step "Debian packages" packages
step "zeek-client ${ZEEK_CLIENT_VERSIONS[0]}" need_zeek_client "${ZEEK_CLIENT_VERSIONS[0]}"
step "build" build
step "start the controller" start_controller
step "zeek-client at work" session
step "stop the controller" stop_controller
print_summary

if [ "$KEEP" = yes ]; then
    mkdir -p "$LOCAL/demo/state"
    say ""
    say "The controller now serves 127.0.0.1:2149 until Ctrl-C. In another terminal:"
    say "  ${ZEEK_CLIENT#"$ROOT"/} get-instances"
    say ""
    rm -rf "$WORK"
    trap - EXIT INT TERM
    exec "$CONTROLLER" --name controller --websocket-listen 127.0.0.1:2149 --listen 127.0.0.1:2150 \
        --state-dir "$LOCAL/demo/state" --spool-dir "$LOCAL/demo/spool"
fi

say ""
say "Next:"
say "  scripts/demo.sh --keep                  leave a controller running on port 2149 for your own zeek-client"
say "  $CONTROLLER dump-config      what a controller started here would use, and where each setting comes from"
say "  scripts/check.sh                        run all tests"
