#!/usr/bin/env python3
"""The agent's resident memory with many nodes: without them, with them, taken over by a new agent, and without them again.

    scripts/build.sh
    scripts/agent-memory.py target/release .local/zeek-client/1.5.0/bin/zeek-client [--nodes 128] [--rounds 3]

It starts a controller and an agent with stand-ins for nodes (`--simulate --supervise native`) on loopback, with Zeek's default TLS,
deploys with zeek-client, kills the agent and starts another one. Prints VmRSS of `proc(5)` in kB, and RssAnon, the part that is in no
file, for each round. Everything that was started is stopped.
"""

import argparse
import pathlib
import subprocess
import tempfile
import time

from daemons import Daemons, wait_for

# What an agent does only once, after a start or a deployment, is over by then. jemalloc gives memory back within ten seconds.
SETTLE_SECONDS = 15


def cluster(nodes):
    """An INI file of a manager, a logger, two proxies and workers."""
    roles = ["manager", "logger", "proxy", "proxy"]
    roles += ["worker"] * (nodes - len(roles))
    text = "[instances]\ninstance-1\n"
    for number, role in enumerate(roles[:nodes]):
        interface = "interface = lo\n" if role == "worker" else ""
        text += f"\n[{role}-{number}]\ninstance = instance-1\nrole = {role}\n{interface}"
    return text


class Round:
    def __init__(self, arguments, directory):
        self.daemons = Daemons(arguments.programs, directory)
        self.directory = self.daemons.directory
        self.zeek_client = pathlib.Path(arguments.zeek_client).absolute()
        self.nodes = arguments.nodes

    def client(self, *arguments):
        command = [self.zeek_client, "--configfile", "/dev/null", "--controller", self.controller, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    def deploy(self, nodes):
        path = self.directory / "cluster.ini"
        path.write_text(cluster(nodes))
        self.client("deploy-config", path)

    def start_agent(self):
        self.agent, _ = self.daemons.start_agent("instance-1", self.broker)
        wait_for("the agent", lambda: "instance-1" in self.client("get-instances"))

    def running(self):
        """How many nodes run. The agent itself is among those that zeek-client lists."""
        return self.client("get-nodes").count('"RUNNING"') - 1

    def memory(self, what):
        """VmRSS and RssAnon in kB."""
        time.sleep(SETTLE_SECONDS)
        lines = pathlib.Path(f"/proc/{self.agent.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        resident, anonymous = (int(fields[key].split()[0]) for key in ("VmRSS", "RssAnon"))
        print(f"{what}: {resident} ({anonymous})", end="; ", flush=True)

    def run(self):
        _, ready = self.daemons.start_controller()
        self.controller, self.broker = ready["websocket"][0], ready["broker"][0]
        self.start_agent()
        self.memory("without nodes")
        self.deploy(self.nodes)
        wait_for("all nodes", lambda: self.running() == self.nodes)
        self.memory("deployed")
        self.agent.kill()
        self.agent.wait()
        self.start_agent()
        wait_for("all nodes", lambda: self.running() == self.nodes)
        self.memory("taken over")
        self.deploy(0)
        self.memory("without them again")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", help="where mgmt-controller and mgmt-agent are")
    parser.add_argument("zeek_client")
    parser.add_argument("--nodes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as directory:
            attempt = Round(arguments, directory)
            try:
                attempt.run()
            finally:
                attempt.daemons.stop()


main()
