#!/usr/bin/env bash
#
# Shows a cluster at work with the real zeek-client: builds controller and agent, starts them, and runs what an operator would run
# first. The cluster is a simulation: the agent runs stand-ins for Zeek, so none has to be installed.
#
#   scripts/demo.sh           on free ports, with a private state directory; stops everything at the end
#   scripts/demo.sh --keep    afterwards leaves controller and agent running in the foreground on Zeek's own ports, on the
#                             loopback interface, with their state below .local/demo, until Ctrl-C
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
        sed -n '3,11s/^# \{0,1\}//p' "$0" >&2
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
build() {
    cargo build --release --locked --no-default-features \
        --package mgmt-controller --bin mgmt-controller --package mgmt-agent --bin mgmt-agent --package mgmt-client --bin mgmtctl
}

WORK=""
CONTROLLER_PID=""
AGENT_PID=""

clean_up() {
    local pid
    # The agent first: it ends its nodes.
    for pid in "$AGENT_PID" "$CONTROLLER_PID"; do
        if [ -n "$pid" ]; then
            kill "$pid" 2>/dev/null || true
            wait "$pid" 2>/dev/null || true
        fi
    done
    if [ -n "$WORK" ]; then
        rm -rf "$WORK"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

CONTROLLER="${CARGO_TARGET_DIR:-target}/release/mgmt-controller"
AGENT="${CARGO_TARGET_DIR:-target}/release/mgmt-agent"
MGMTCTL="${CARGO_TARGET_DIR:-target}/release/mgmtctl"

# wait_for PID LOG COMMAND...: until the command succeeds; shows the log if the process ends instead, or after half a minute.
wait_for() {
    local pid="$1" log="$2" tries
    shift 2
    for ((tries = 0; tries < 300; tries++)); do
        if "$@"; then
            return 0
        fi
        if ! kill -0 "$pid" 2>/dev/null; then
            break
        fi
        sleep 0.1
    done
    cat "$log" >&2
    return 1
}

# ready FILE KEY: the first address below a key of a ready file.
ready() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]][0])' "$1" "$2"; }

start_controller() {
    WORK="$(mktemp -d)"
    mkdir "$WORK/state"
    say "\$ mgmt-controller --name controller --websocket-listen 127.0.0.1:0 --listen 127.0.0.1:0 --state-dir STATE --spool-dir SPOOL"
    "$CONTROLLER" --name controller --websocket-listen 127.0.0.1:0 --listen 127.0.0.1:0 \
        --state-dir "$WORK/state" --spool-dir "$WORK/spool" --ready-file "$WORK/ready.json" 2>"$WORK/controller.err" &
    CONTROLLER_PID=$!
    wait_for "$CONTROLLER_PID" "$WORK/controller.err" test -s "$WORK/ready.json"
    ADDRESS="$(ready "$WORK/ready.json" websocket)"
    BROKER="$(ready "$WORK/ready.json" broker)"
    say "listening for zeek-client on $ADDRESS, for agents on $BROKER"
}

# Whether the controller knows the agent.
agent_is_known() {
    "$ZEEK_CLIENT" --configfile /dev/null --controller "$ADDRESS" get-instances 2>/dev/null | grep -q instance-1
}

start_agent() {
    mkdir "$WORK/agent"
    say "\$ mgmt-agent --simulate --name instance-1 --controller $BROKER --listen 127.0.0.1:0 --state-dir STATE --spool-dir SPOOL"
    "$AGENT" --simulate --name instance-1 --controller "$BROKER" --listen 127.0.0.1:0 \
        --state-dir "$WORK/agent" --spool-dir "$WORK/agent/spool" 2>"$WORK/agent.err" &
    AGENT_PID=$!
    wait_for "$AGENT_PID" "$WORK/agent.err" agent_is_known
    grep -o "SIMULATION.*" "$WORK/agent.err"
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

# operate EXPECTED_EXIT ARGUMENT...: runs mgmtctl likewise.
operate() {
    local expected="$1" status=0
    shift
    say ""
    say "\$ mgmtctl --socket STATE/nodes/controller/control.sock $*"
    "$MGMTCTL" --socket "$WORK/state/nodes/controller/control.sock" "$@" || status=$?
    if [ "$status" -ne "$expected" ]; then
        say "mgmtctl exited with $status, expected $expected"
        return 1
    fi
    if [ "$status" -ne 0 ]; then
        say "(exit code $status)"
    fi
}

session() {
    show 0 get-instances
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
INI
    show 0 deploy-config cluster.ini
    show 0 get-nodes
    show 0 get-id-value Log::default_rotation_interval
    show 0 get-config --deployed
    operate 0 status
    say ""
    say "A node that ends by itself is started again:"
    local pid
    pid="$(grep -o '"pid":[0-9]*' "$WORK/agent/nodes/worker-01/run.json")"
    say "\$ kill -9 ${pid#*:}"
    kill -9 "${pid#*:}"
    wait_for "$AGENT_PID" "$WORK/agent.err" grep -q "node worker-01 is up" "$WORK/agent.err"
    grep -o "node worker-01 .*" "$WORK/agent.err"
    say ""
    say "Before anything is stopped it is looked whether the new nodes could run. If not, the cluster stays as it is:"
    echo "} error" >"$WORK/tuning.zeek"
    write_configuration mistake.ini <<INI
[instances]
instance-1

[manager]
instance = instance-1
role = manager
scripts = $WORK/tuning.zeek
INI
    show 1 deploy-config mistake.ini
    say ""
    say "A node that cannot start is shown with what it wrote. Stand-ins fail as they are told:"
    write_configuration failure.ini <<'INI'
[instances]
instance-1

[manager]
instance = instance-1
role = manager

[worker-01]
instance = instance-1
role = worker
interface = eth0
env = 'STAND_IN_NODE={"exit": {"status": 1}, "stderr": "fatal error: no such packet source"}'
INI
    show 1 deploy-config failure.ini
    operate 1 status
    say ""
    say "Without nodes in the configuration, none is left:"
    write_configuration empty.ini <<'INI'
[instances]
instance-1
INI
    show 0 deploy-config empty.ini
    show 0 get-nodes
}

stop_agent() {
    kill -TERM "$AGENT_PID"
    wait "$AGENT_PID"
    AGENT_PID=""
    # Each process that the agent starts has a file of this directory on its command line.
    local left
    left="$(grep -lsF "$WORK/agent" /proc/[0-9]*/cmdline || true)"
    if [ -n "$left" ]; then
        say "left behind: $left"
        return 1
    fi
    say "stopped; no process is left"
}

stop_controller() {
    kill -TERM "$CONTROLLER_PID"
    wait "$CONTROLLER_PID"
    CONTROLLER_PID=""
    say "stopped; its management log began with:"
    say ""
    head -n 20 "$WORK"/spool/log-queue/management-controller__*.log | cut -c 1-160
}

ZEEK_CLIENT="$(zeek_client_path "${ZEEK_CLIENT_VERSIONS[0]}")"

step "Rust toolchain" need_rust
step "Debian packages" packages
step "zeek-client ${ZEEK_CLIENT_VERSIONS[0]}" need_zeek_client "${ZEEK_CLIENT_VERSIONS[0]}"
step "build" build
step "start the controller" start_controller
step "start the agent" start_agent
step "zeek-client at work" session
step "stop the agent" stop_agent
step "stop the controller" stop_controller
print_summary

if [ "$KEEP" = yes ]; then
    mkdir -p "$LOCAL/demo/state" "$LOCAL/demo/agent"
    say ""
    say "The controller now serves 127.0.0.1:2149 until Ctrl-C, with a simulated instance-1. In another terminal:"
    say "  ${ZEEK_CLIENT#"$ROOT"/} get-instances"
    say ""
    rm -rf "$WORK"
    WORK=""
    "$AGENT" --simulate --name instance-1 --controller 127.0.0.1:2150 --listen 127.0.0.1:2151 \
        --state-dir "$LOCAL/demo/agent" --spool-dir "$LOCAL/demo/agent/spool" 2>"$LOCAL/demo/agent.err" &
    AGENT_PID=$!
    "$CONTROLLER" --name controller --websocket-listen 127.0.0.1:2149 --listen 127.0.0.1:2150 \
        --state-dir "$LOCAL/demo/state" --spool-dir "$LOCAL/demo/spool"
    exit
fi

say ""
say "Next:"
say "  scripts/demo.sh --keep                  leave a controller running on port 2149 for your own zeek-client"
say "  $CONTROLLER dump-config      what a controller started here would use, and where each setting comes from"
say "  scripts/check.sh                        run all tests"
