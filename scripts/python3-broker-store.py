#!/usr/bin/python3
"""Writes and reads configuration stores with the original Broker (Debian's package python3-broker).

    python3-broker-store.py read FILE    prints every row as JSON: an object of keys and values, both as Broker prints them
    python3-broker-store.py write FILE   creates a store as Zeek's controller would have left it

tests/store.rs compares what this prints with our own reading, and fixtures/python3-broker/ holds a store that it wrote.
Needs the interpreter that Debian's packages are for: /usr/bin/python3.
"""

import ipaddress
import json
import sys

import broker

RUNTIME = "Management::Controller::Runtime::"


def open_store(endpoint, path):
    store = endpoint.attach_master("store", broker.Backend.SQLite, {"path": path})
    if store is None:
        sys.exit(f"Broker cannot open {path}")
    return store


def read(store):
    """Everything as Broker prints it, which keeps the types apart."""
    keys = store._store.keys().get()
    rows = {}
    for key in keys.as_set() if keys.get_type() == broker.Data.Type.Set else keys.as_vector():
        rows[str(key)] = str(store._store.get(key).get())
    json.dump(rows, sys.stdout, indent=1, sort_keys=True)
    print()


def node(name, instance, role, port=None, metrics_port=None, **fields):
    """A Management::Node of Zeek 7.0 and later: eleven fields."""
    return [
        name,
        instance,
        broker.Enum("Supervisor::" + role),
        broker.Enum("Management::PENDING"),
        port and broker.Port(port, broker.Port.TCP),
        fields.get("scripts"),
        fields.get("options"),
        fields.get("interface"),
        fields.get("cpu_affinity"),
        fields.get("env", {}),
        metrics_port and broker.Port(metrics_port, broker.Port.TCP),
    ]


def configuration(assigned):
    """With or without what the controller fills in."""

    def metrics(port):
        return port if assigned else None

    # Broker's Python bindings take their own sets and tables only: lists, as records are, cannot be hashed.
    def broker_set(elements):
        return broker.Set([broker.Data(element) for element in elements])

    host = ipaddress.ip_address("192.168.17.23" if assigned else "0.0.0.0")
    return [
        "a-configuration",
        broker_set([
            ["instance-1", host, None],
            ["instance-2", ipaddress.ip_address("2001:db8::2"), broker.Port(2151, broker.Port.TCP)],
        ]),
        broker_set([
            node("manager", "instance-1", "MANAGER", 5000, metrics(9000)),
            node("logger-01", "instance-1", "LOGGER", 2200 if assigned else None, metrics(9001),
                 scripts=["policy/tuning/json-logs", "site/z\u00fcrich"]),
            node("proxy-01", "instance-2", "PROXY", 2201 if assigned else None, metrics(9000)),
            node("worker-01", "instance-2", "WORKER", None, metrics(9001), interface="eth0",
                 cpu_affinity=3, env={"FOO": "BAR", "EMPTY": ""}),
        ]),
    ]


def write(store):
    # Zeek converts a count to an int only where its script says so; cpu_affinity is an int, as Python's numbers are here.
    store.put(broker.Enum(RUNTIME + "STAGED"), configuration(assigned=False))
    store.put(broker.Enum(RUNTIME + "READY"), configuration(assigned=True))
    store.put(broker.Enum(RUNTIME + "DEPLOYED"), configuration(assigned=True))
    # put() returns before the write; a question is answered after it.
    store.exists(broker.Enum(RUNTIME + "DEPLOYED"))


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("read", "write"):
        sys.exit(__doc__)
    endpoint = broker.Endpoint()
    store = open_store(endpoint, sys.argv[2])
    {"read": read, "write": write}[sys.argv[1]](store)
    del store
    endpoint.shutdown()


main()
