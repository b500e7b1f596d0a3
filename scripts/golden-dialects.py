#!/usr/bin/env python3
"""Writes mgmt-api/tests/dialects/*.jsonl: for each event of each dialect of the API one golden vector.

An event that a capture shows is taken from there, bytes and JSON as recorded. The others are derived: their values stand in
this file, their layout in the declarations below, which were written down from the Zeek scripts of each release
(types.zeek, api.zeek) and not from the tables in mgmt-api/src/dialect/, which they check.

    scripts/golden-dialects.py          writes the files
    scripts/golden-dialects.py --check  compares instead; exit code 1 if they differ

Needs Python 3.9 and nothing else.
"""

import gzip
import ipaddress
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# --- Broker's binary format and JSON -----------------------------------------------------------------------------------


def varbyte(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


PROTOCOLS = {"?": 0, "unknown": 0, "tcp": 1, "udp": 2, "icmp": 3}


def binary(value):
    """The bytes of a value, given as Broker's JSON gives it."""
    kind, data = value["@data-type"], value.get("data")
    text = data.encode() if isinstance(data, str) else b""
    if kind == "none":
        return b"\0"
    if kind == "boolean":
        return b"\1" + bytes([data])
    if kind == "count":
        return b"\2" + struct.pack(">Q", data)
    if kind == "integer":
        return b"\3" + struct.pack(">q", data)
    if kind == "string":
        return b"\5" + varbyte(len(text)) + text
    if kind == "address":
        address = ipaddress.ip_address(data)
        mapped = b"\0" * 10 + b"\xff\xff" if address.version == 4 else b""
        return b"\6" + mapped + address.packed
    if kind == "port":
        number, protocol = data.split("/")
        return b"\x08" + struct.pack(">HB", int(number), PROTOCOLS[protocol])
    if kind == "enum-value":
        return b"\x0b" + varbyte(len(text)) + text
    if kind == "set":
        return b"\x0c" + varbyte(len(data)) + b"".join(map(binary, data))
    if kind == "table":
        return b"\x0d" + varbyte(len(data)) + b"".join(binary(e["key"]) + binary(e["value"]) for e in data)
    if kind == "vector":
        return b"\x0e" + varbyte(len(data)) + b"".join(map(binary, data))
    raise ValueError(kind)


def shown(value):
    """A value as Broker prints it."""
    kind, data = value["@data-type"], value.get("data")
    if kind == "none":
        return "nil"
    if kind == "boolean":
        return "T" if data else "F"
    if kind == "set":
        return "{" + ", ".join(map(shown, data)) + "}"
    if kind == "vector":
        return "(" + ", ".join(map(shown, data)) + ")"
    if kind == "table":
        return "{" + ", ".join(f"{shown(e['key'])} -> {shown(e['value'])}" for e in data) + "}"
    return str(data)


# --- Declarations ------------------------------------------------------------------------------------------------------
# A type is a name of a simple one, the name of a record, or ("vector" | "set", type). What a record does not get is none.

SIMPLE = {
    "string": "string", "bool": "boolean", "count": "count", "int": "integer", "addr": "address", "port": "port",
    "enum": "enum-value",
}
NONE = {"@data-type": "none", "data": {}}

SAME = {
    "Option": [("name", "string"), ("value", "string")],
    "Instance": [("name", "string"), ("host", "addr"), ("listen_port", "port")],
    "Configuration": [("id", "string"), ("instances", ("set", "Instance")), ("nodes", ("set", "Node"))],
    "NodeOutputs": [("stdout", "string"), ("stderr", "string")],
}
OLD_RESULT = [("reqid", "string"), ("instance", "string"), ("success", "bool"), ("data", "any"), ("error", "string"),
              ("node", "string")]
RESULT = [("reqid", "string"), ("success", "bool"), ("instance", "string"), ("data", "any"), ("error", "string"),
          ("node", "string")]
NODE_4 = [("name", "string"), ("instance", "string"), ("p", "port"), ("role", "enum"), ("state", "enum"),
          ("scripts", ("vector", "string")), ("options", ("set", "Option")), ("interface", "string"),
          ("cpu_affinity", "int"), ("env", "table")]
NODE = [("name", "string"), ("instance", "string"), ("role", "enum"), ("state", "enum"), ("p", "port"),
        ("scripts", ("vector", "string")), ("options", ("set", "Option")), ("interface", "string"),
        ("cpu_affinity", "int"), ("env", "table")]
STATUS = [("node", "string"), ("state", "enum"), ("mgmt_role", "enum"), ("cluster_role", "enum"), ("pid", "int"),
          ("p", "port")]

RECORDS = {
    "4.1": {**SAME, "Node": NODE_4, "Result": OLD_RESULT},
    "4.2": {**SAME, "Node": NODE_4, "Result": OLD_RESULT},
    "seed": {**SAME, "Node": NODE, "NodeStatus": STATUS, "Result": OLD_RESULT},
    "5.0.0-rc1": {**SAME, "Node": NODE, "NodeStatus": STATUS, "Result": OLD_RESULT},
    "5.0": {**SAME, "Node": NODE, "NodeStatus": STATUS, "Result": RESULT},
    "7.0": {**SAME, "Node": NODE + [("metrics_port", "port")], "NodeStatus": STATUS + [("metrics_port", "port")],
            "Result": RESULT},
}

REQID = [("reqid", "string")]
CONFIG = REQID + [("config", "Configuration")]
ONE = REQID + [("result", "Result")]
OLD_MANY = REQID + [("result", ("vector", "Result"))]
MANY = REQID + [("results", ("vector", "Result"))]
NODES = ("nodes", ("set", "string"))
NEWS = [("instance", "string"), ("msg", "string"), ("node", "string")]
CHANGE = [("instance", "string"), ("n", "Node"), ("old", "enum"), ("new", "enum")]
OLD_HELLO = [("instance", "string"), ("host", "addr"), ("api_version", "count")]
HELLO = [("instance", "string"), ("id", "string"), ("connecting", "bool"), ("api_version", "count")]
TIMEOUT = REQID + [("with_state", "bool")]
ACTION = REQID + [("action", ("vector", "string")), NODES]
ID_VALUE = REQID + [("id", "string"), NODES]

C4_1 = {
    "get_instances_request": REQID,
    "get_instances_response": REQID + [("instances", ("vector", "Instance"))],
    "set_configuration_request": CONFIG,
    "set_configuration_response": OLD_MANY,
}
A4_1 = {
    "set_configuration_request": CONFIG,
    "set_configuration_response": ONE,
    "notify_agent_hello": OLD_HELLO,
    "notify_change": CHANGE,
    "notify_error": NEWS,
    "notify_log": NEWS,
}
C4_2 = {
    **C4_1,
    "get_instances_response": ONE,
    "test_timeout_request": TIMEOUT,
    "test_timeout_response": ONE,
    "notify_agents_ready": [("instances", ("set", "string"))],
}
A4_2 = {
    **A4_1,
    "agent_welcome_request": REQID,
    "agent_welcome_response": ONE,
    "agent_standby_request": REQID,
    "agent_standby_response": ONE,
}
C_SEED = {**C4_2, "get_nodes_request": REQID, "get_nodes_response": OLD_MANY}
A_SEED = {**A4_2, "get_nodes_request": REQID, "get_nodes_response": ONE}
C_RC1 = {
    **C_SEED,
    "get_id_value_request": ID_VALUE,
    "get_id_value_response": OLD_MANY,
    "get_configuration_request": REQID,
    "get_configuration_response": ONE,
}
A_RC1 = {
    **A_SEED,
    "set_configuration_response": OLD_MANY,
    "node_dispatch_request": ACTION,
    "node_dispatch_response": OLD_MANY,
    "notify_agent_hello": HELLO,
}
N = {
    "node_dispatch_request": ACTION,
    "node_dispatch_response": ONE,
    "notify_node_hello": [("node", "string")],
}
S = {"notify_node_exit": [("node", "string"), ("outputs", "NodeOutputs")]}
C = {
    "get_instances_request": REQID,
    "get_instances_response": ONE,
    "stage_configuration_request": CONFIG,
    "stage_configuration_response": MANY,
    "get_configuration_request": REQID + [("deployed", "bool")],
    "get_configuration_response": ONE,
    "deploy_request": REQID,
    "deploy_response": MANY,
    "get_nodes_request": REQID,
    "get_nodes_response": MANY,
    "get_id_value_request": ID_VALUE,
    "get_id_value_response": MANY,
    "restart_request": REQID + [NODES],
    "restart_response": MANY,
    "test_timeout_request": TIMEOUT,
    "test_timeout_response": ONE,
    "notify_agents_ready": [("instances", ("set", "string"))],
}
A = {
    "deploy_request": CONFIG + [("force", "bool")],
    "deploy_response": MANY,
    "get_nodes_request": REQID,
    "get_nodes_response": ONE,
    "node_dispatch_request": ACTION,
    "node_dispatch_response": MANY,
    "agent_welcome_request": REQID,
    "agent_welcome_response": ONE,
    "agent_standby_request": REQID,
    "agent_standby_response": ONE,
    "restart_request": REQID + [NODES],
    "restart_response": MANY,
    "notify_agent_hello": HELLO,
    "notify_change": CHANGE,
    "notify_error": NEWS,
    "notify_log": NEWS,
}

OLD_MODULES = ("ClusterController::API", "ClusterAgent::API")
MODULES = ("Management::Controller::API", "Management::Agent::API")
EVENTS = {
    "4.1": [(OLD_MODULES[0], C4_1), (OLD_MODULES[1], A4_1)],
    "4.2": [(OLD_MODULES[0], C4_2), (OLD_MODULES[1], A4_2)],
    "seed": [(MODULES[0], C_SEED), (MODULES[1], A_SEED)],
    "5.0.0-rc1": [(MODULES[0], C_RC1), (MODULES[1], A_RC1), ("Management::Node::API", N),
                  ("Management::Supervisor::API", S)],
    "5.0": [(MODULES[0], C), (MODULES[1], A), ("Management::Node::API", N), ("Management::Supervisor::API", S)],
    "7.0": [(MODULES[0], C), (MODULES[1], A), ("Management::Node::API", N), ("Management::Supervisor::API", S)],
}

# What stands behind `any` in a result, by the event. Where nothing is named it is shown as it is.
DATA = {
    "get_instances_response": ("vector", "Instance"),
    "get_nodes_response": ("vector", "NodeStatus"),
    "get_configuration_response": "Configuration",
}

CAPTURES = {
    "4.2": ["zeek-9.0.0-rc1/cluster-controller-api"],
    "seed": ["zeek-9.0.0-rc1/seed-api"],
    "5.0": ["zeek-6.0.9/two-instances", "zeek-6.0.9/failing-node", "zeek-6.0.9/c2a"],
    "7.0": ["zeek-9.0.0-rc1/two-instances", "zeek-9.0.0-rc1/failing-node", "zeek-9.0.0-rc1/a2c"],
}

# --- Derived values ----------------------------------------------------------------------------------------------------


def values(dialect, module, verb):
    """The arguments of the derived vectors, as plain Python values."""
    old_names = dialect in ("4.1", "4.2")
    state = (lambda s: "ClusterController::Types::" + s.capitalize()) if old_names else (lambda s: "Management::" + s)
    of_old_result = RECORDS[dialect]["Result"] is OLD_RESULT
    unset = "" if of_old_result else None
    agent = module.startswith(("ClusterAgent", "Management::Agent"))
    instances = [
        {"name": "instance-1", "host": "192.0.2.1", "listen_port": "2151/tcp"},
        {"name": "instance-2", "host": "0.0.0.0"},
    ]
    manager = {
        "name": "manager", "instance": "instance-1", "role": "Supervisor::MANAGER", "state": state("RUNNING"),
        "p": "2200/tcp", "env": {},
    }
    worker = {
        "name": "worker-01", "instance": "instance-2", "role": "Supervisor::WORKER", "state": state("STOPPED"),
        "scripts": ["site/a", "site/b"], "options": [{"name": "Log::default_rotation_interval", "value": "0 secs"}],
        "interface": "eth0", "cpu_affinity": 3, "env": {"A": "1", "B": ""},
    }
    if old_names:
        worker["p"] = "0/?"
    if dialect == "7.0":
        worker["metrics_port"] = "9001/tcp"
    config = {"id": "derived-1", "instances": instances, "nodes": [manager, worker]}

    def result(reqid="r-1", **fields):
        return {"reqid": reqid, "success": True, "instance": unset, "error": unset, **fields}

    statuses = [
        {"node": "instance-1", "state": state("RUNNING"), "mgmt_role": "Management::AGENT",
         "cluster_role": "Supervisor::NONE", "pid": 4711, "p": "2151/tcp"},
        {"node": "worker-01", "state": state("PENDING"), "mgmt_role": "Management::NONE",
         "cluster_role": "Supervisor::WORKER"},
    ]
    if dialect == "seed":
        statuses[1]["p"] = "0/?"
    if dialect == "7.0":
        statuses[1]["metrics_port"] = "9001/tcp"
    ok, bad = result(instance="instance-1", node="manager"), result(
        success=False, instance="instance-1", error="not this one", node="worker-01")
    per_verb = {
        "get_instances_response": (result(data=instances) if dialect != "4.1" else instances),
        "set_configuration_response": (result(instance="instance-1", success=False, error="node worker-01 failed: no")
                                       if agent and dialect != "5.0.0-rc1"
                                       else [result(instance="instance-1"), result(success=False,
                                                                                   error="request timed out")]),
        "test_timeout_response": result(success=False, error="request timed out"),
        "agent_welcome_response": result(instance="instance-1"),
        "agent_standby_response": result("", instance="instance-1"),
        "get_nodes_response": (result(instance="instance-1", data=statuses) if agent
                               else [result(instance="instance-1", data=statuses),
                                     result(success=False, error="request timed out")]),
        "get_configuration_response": result(data=config),
        "stage_configuration_response": [result(data="derived-1")],
        "deploy_response": [ok, {**bad, "error": unset, "data": {"stdout": "out", "stderr": "err"}}],
        "get_id_value_response": [{**ok, "data": "\"96\""}, bad],
        "node_dispatch_response": ([{**ok, "data": "\"96\""}, bad] if agent
                                   else result(data="96", node="manager")),
        "restart_response": [ok, bad],
    }
    return {
        "reqid": "" if verb == "agent_standby_response" else "r-1",
        "config": config, "with_state": True, "deployed": False, "force": False, "id": "bits_per_uid",
        "instances": per_verb["get_instances_response"] if verb == "get_instances_response" else
        ["instance-1", "instance-2"],
        "result": per_verb.get(verb), "results": per_verb.get(verb),
        "action": ["get_id_value", "bits_per_uid"], "nodes": ["manager", "worker-01"],
        "instance": "instance-1", "host": "192.0.2.1", "api_version": 1, "connecting": True,
        **({"id": "3a53339e-9528-56fa-9dce-a25ad55f88a3"} if verb == "notify_agent_hello" else {}),
        "n": manager, "old": state("RUNNING"), "new": state("CRASHED"),
        "msg": "failed to create node worker-01: why not", "node": "worker-01",
        "outputs": {"stdout": "one\ntwo", "stderr": ""},
    }


ORDER = {"none": 0, "boolean": 1, "count": 2, "integer": 3, "string": 5, "address": 6, "port": 8, "enum-value": 11}


def encode(records, kind, value, data_of=None):
    """A Python value as Broker's JSON."""
    if value is None:
        return NONE
    if kind == "any":
        if data_of is not None:
            return encode(records, data_of, value)
        return encode(records, "NodeOutputs" if isinstance(value, dict) else "string", value)
    if kind == "table":
        entries = [{"key": encode(records, "string", k), "value": encode(records, "string", v)}
                   for k, v in sorted(value.items())]
        return {"@data-type": "table", "data": entries}
    if isinstance(kind, tuple):
        elements = [encode(records, kind[1], element, data_of) for element in value]
        # The sets here have elements that begin with different strings.
        return {"@data-type": kind[0], "data": elements}
    if kind in SIMPLE:
        return {"@data-type": SIMPLE[kind], "data": value}
    fields = [encode(records, field_kind, value.get(name), data_of) for name, field_kind in records[kind]]
    return {"@data-type": "vector", "data": fields}


def describe(records, kind, path, value, data_of, lines):
    """Each part of a value by its path."""
    if kind == "any" and data_of is not None and value["@data-type"] != "none":
        kind = data_of
    if isinstance(kind, tuple) and value["@data-type"] == kind[0] and value["data"] and kind[1] not in SIMPLE:
        for index, element in enumerate(value["data"]):
            describe(records, kind[1], f"{path}[{index}]", element, data_of, lines)
    elif isinstance(kind, str) and kind in records and value["@data-type"] == "vector":
        for (name, field_kind), field in zip(records[kind], value["data"]):
            describe(records, field_kind, f"{path}.{name}", field, data_of, lines)
    else:
        lines.append(f"{path} = {shown(value)}")


# --- Captures ----------------------------------------------------------------------------------------------------------


def recorded(scenario):
    """The events of a capture: time, topic, bytes and JSON of the message."""
    with gzip.open(ROOT / "fixtures" / scenario / "frames.jsonl.gz") as frames:
        for line in frames:
            frame = json.loads(line)
            message = frame.get("message")
            if not isinstance(message, dict) or message.get("type") != "data":
                continue
            raw = bytes.fromhex(frame["hex"])
            # Sender, receiver, type, TTL, length of the topic, topic.
            (length,) = struct.unpack(">H", raw[35:37])
            payload = raw[37 + length:]
            data = message["data"]
            if isinstance(data, list):
                data = {"@data-type": "vector", "data": data}
            elif "@data-type" not in data:
                continue
            try:
                kind, name = data["data"][1]["data"], data["data"][2]["data"][0]["data"]
            except (IndexError, KeyError, TypeError):
                continue
            if kind == 1 and isinstance(name, str) and "::API::" in name:
                assert binary_with_times(data) == payload, name
                yield frame["t"], message["topic"], name, payload, data


def websocket(scenario):
    """The events of a capture of WebSocket messages, whose JSON was recorded and whose bytes are computed."""
    path = ROOT / "fixtures" / "json" / f"{scenario}.jsonl.gz"
    with gzip.open(path) as lines:
        for line in lines:
            line = json.loads(line)
            message = json.loads(line["text"])
            if isinstance(message, dict) and message.get("type") == "data-message":
                data = {"@data-type": message["@data-type"], "data": message["data"]}
                del data["data"][2]["data"][2:]  # Metadata, of which JSON does not show everything.
                yield line["t"], message["topic"], data["data"][2]["data"][0]["data"], binary(in_order(data)), data


def in_order(value):
    """The value with its sets sorted, which clients need not do. Only sets of strings and of records that begin with one."""
    data = value.get("data")
    if value["@data-type"] == "table":
        return value
    if not isinstance(data, list):
        return value
    elements = [in_order(element) for element in data]
    if value["@data-type"] == "set":
        elements.sort(key=lambda e: e["data"] if isinstance(e["data"], str) else e["data"][0]["data"])
    return {**value, "data": elements}


def binary_with_times(value):
    """As `binary`, for captures, whose metadata hold timestamps that JSON shows only in part: None if there are any."""
    try:
        return binary(value)
    except ValueError:
        return Whatever()


class Whatever:
    def __eq__(self, other):
        return True


def has_data(event_args):
    """How much a recorded event shows: the longest one is taken."""
    return len(json.dumps(event_args))


def client_events(scenario):
    """zeek-client sends nodes of eleven elements whatever the controller is: not an event of that release."""
    if not (ROOT / "fixtures" / "json" / f"{scenario}.jsonl.gz").exists():
        return []
    sends_nodes = "stage_configuration_request"
    return [event for event in websocket(scenario) if "zeek-9" in scenario or not event[2].endswith(sends_nodes)]


def vectors(dialect):
    captured = {}
    for scenario in CAPTURES.get(dialect, []):
        for t, topic, name, payload, data in [*recorded(scenario), *client_events(scenario)]:
            args = in_order(data)["data"][2]["data"][1]["data"]
            if name not in captured or has_data(args) > has_data(captured[name][3]):
                captured[name] = (f"{scenario} at {t} s", topic, payload, args, data)
    records = RECORDS[dialect]
    for module, events in EVENTS[dialect]:
        for verb, args in events.items():
            name = f"{module}::{verb}"
            data_of = DATA.get(verb)
            if name in captured:
                source, topic, payload, encoded, message = captured[name]
            else:
                given = values(dialect, module, verb)
                encoded = [encode(records, kind, given[arg], data_of) for arg, kind in args]
                content = [{"@data-type": "string", "data": name}, {"@data-type": "vector", "data": encoded},
                           {"@data-type": "vector", "data": []}]
                message = {"@data-type": "vector", "data": [
                    {"@data-type": "count", "data": 1}, {"@data-type": "count", "data": 1},
                    {"@data-type": "vector", "data": content}]}
                payload = binary(message)
                source = "derived"
                topic = topic_of(module)
            lines = []
            for (arg, kind), value in zip(args, encoded, strict=True):
                describe(records, kind, arg, value, data_of, lines)
            yield {"event": name, "topic": topic, "source": source, "fields": lines, "json": message,
                   "binary": payload.hex()}


def topic_of(module):
    return {
        "ClusterController::API": "zeek/cluster-control/controller",
        "ClusterAgent::API": "zeek/cluster-control/agent/instance-1",
        "Management::Controller::API": "zeek/management/controller",
        "Management::Agent::API": "zeek/management/agent/instance-1",
        "Management::Node::API": "zeek/management/node",
        "Management::Supervisor::API": "zeek/management/supervisor",
    }[module]


def main():
    folder = ROOT / "mgmt-api" / "tests" / "dialects"
    folder.mkdir(exist_ok=True)
    differs = False
    for dialect in EVENTS:
        text = "".join(json.dumps(vector) + "\n" for vector in vectors(dialect))
        path = folder / f"{dialect}.jsonl"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                print(f"{path} is not what the captures and this script say", file=sys.stderr)
                differs = True
        else:
            path.write_text(text)
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
