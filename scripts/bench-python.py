#!/usr/bin/env python3
"""The figures of mgmt-bench through a Python client, for comparison with figures that were taken with one.

Run it with an interpreter that has websocket-client, such as the one scripts/check.sh --setup makes:

    .local/zeek-client/1.5.0/bin/python scripts/bench-python.py HOST PORT

It replaces the controller's staged configuration. Times run from handing the text of a request to the library until it returns
the text of the answer; texts are made before and not decoded after. Bounded: about 2,050 requests.
"""

import json
import statistics
import sys
import time

import websocket

TOPIC = "zeek/management/controller"
SEQUENTIAL = 2_000
WARM_UP = 50
NODES = 2_000
REPEAT = 9


def value(kind, data):
    return {"@data-type": kind, "data": data}


def request(event, reqid, *args):
    name = value("string", f"Management::Controller::API::{event}")
    event = value("vector", [name, value("vector", [value("string", reqid), *args])])
    message = {"type": "data-message", "topic": TOPIC}
    message.update(value("vector", [value("count", 1), value("count", 1), event]))
    return json.dumps(message)


def configuration(nodes):
    """As mgmt-bench: workers over one instance for every fifty nodes."""
    none = value("none", {})
    env = value("table", [{"key": value("string", "SITE"), "value": value("string", "example")}])

    def instance_of(index):
        return value("string", f"instance-{index // 50:04}")

    def node(index):
        names = {0: "manager", 1: "logger-01", 2: "proxy-01"}
        roles = {0: "MANAGER", 1: "LOGGER", 2: "PROXY"}
        worker = index > 2
        fields = [
            value("string", names.get(index, f"worker-{index - 2:04}")),
            instance_of(index),
            value("enum-value", "Supervisor::" + roles.get(index, "WORKER")),
            value("enum-value", "Management::RUNNING"),
            none,
            none,
            none,
            value("string", "eth0") if worker else none,
            value("integer", index % 64) if worker else none,
            env,
            none,
        ]
        return value("vector", fields)

    instances = [
        value("vector", [instance_of(index), value("address", "0.0.0.0"), none]) for index in range(0, nodes, 50)
    ]
    members = [node(index) for index in range(nodes)]
    return value("vector", [value("string", f"bench-{nodes}"), value("set", instances), value("set", members)])


def exchange(client, text, reqid):
    started = time.perf_counter()
    client.send(text)
    while True:
        answer = client.recv()
        if reqid in answer:
            break
    elapsed = time.perf_counter() - started
    if '"type":"error"' in answer or '"data":false' in answer[:2000]:
        sys.exit(f"unexpected answer: {answer[:500]}")
    return elapsed


def report(name, seconds):
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    print(f"{name:<28} {len(ordered):>6} samples  median {statistics.median(ordered) * 1e3:9.3f} ms  p99 {p99 * 1e3:9.3f} ms")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    client = connect(skip_utf8_validation=True)
    times = []
    for number in range(WARM_UP + SEQUENTIAL):
        reqid = f"python-{number}."
        times.append(exchange(client, request("get_instances_request", reqid), reqid))
    report("get_instances", times[WARM_UP:])

    config = configuration(NODES)
    stage, fetch = [], []
    for number in range(REPEAT):
        reqid = f"stage-{number}."
        stage.append(exchange(client, request("stage_configuration_request", reqid, config), reqid))
        fetch.append(fetch_staged(client, f"fetch-{number}."))
    report(f"stage {NODES} nodes", stage)
    report(f"fetch {NODES} nodes", fetch)

    # By default the library checks UTF-8 in Python code, which takes longer than everything else.
    client = connect(skip_utf8_validation=False)
    report(f"fetch {NODES} nodes, checked", [fetch_staged(client, f"checked-{number}.") for number in range(REPEAT)])


def connect(skip_utf8_validation):
    url = f"ws://{sys.argv[1]}:{sys.argv[2]}/v1/messages/json"
    client = websocket.create_connection(url, timeout=30, skip_utf8_validation=skip_utf8_validation)
    client.send(json.dumps([TOPIC]))
    client.recv()
    return client


def fetch_staged(client, reqid):
    return exchange(client, request("get_configuration_request", reqid, value("boolean", False)), reqid)


if __name__ == "__main__":
    main()
