#!/usr/bin/env python3
"""What trouble in three of twelve clusters costs the answers of another: by turns without and with it.

    scripts/build.sh
    scripts/clusters-bench.py target/release [--rounds 5] [--seconds 5]

It starts a controller and twelve agents with stand-ins for nodes (`--simulate --supervise native`) on loopback, and deploys a cluster of
one host on each. Then it asks the controller for things of one cluster, one request after the other on its control socket, and in each
second turn meanwhile the agent of another cluster is stopped (SIGSTOP) in the middle of a deployment, a node of a second one always
dies, and a third one is deployed again and again. Prints, for each kind of request, median and p99 in ms and the ratio of the p99 of both
kinds of turns. This script, the controller and the agent of the cluster that is asked, of which one works at a time, have one CPU; the other
agents with their nodes, and mgmtctl, have the others, as they are on other hosts. Everything that was started is stopped.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from daemons import Daemons, wait_for

CLUSTERS = [f"c{number}" for number in range(1, 13)]
HANGING, FAILING, DEPLOYED, ASKED = "c1", "c2", "c3", "c4"
# A stand-in for a node that ends at once; zeek-simulator has the format.
ALWAYS_DIES = {"STAND_IN_NODE": json.dumps({"stderr": "no such interface", "exit": {"status": 1}})}
REQUESTS = {
    "deployed configuration": f"/v1/clusters/{ASKED}/configurations/deployed",
    "status, which its agent is asked for": f"/v1/clusters/{ASKED}/status",
}


class Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def free_ports():
    """The first of two ports in a row that are free: a manager listens on one, and forwards by ZeroMQ on the next."""
    while True:
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError, OverflowError):
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
            return port


class Site:
    def __init__(self, arguments, directory):
        cpus = sorted(os.sched_getaffinity(0))
        self.others = cpus[1:] or cpus
        self.daemons = Daemons(arguments.programs, directory)
        os.sched_setaffinity(0, cpus[:1])
        _, ready = self.daemons.start_controller()
        self.socket = self.daemons.directory / "controller/nodes/controller/control.sock"
        self.agents = {}
        for name in CLUSTERS:
            os.sched_setaffinity(0, cpus[:1] if name == ASKED else self.others)
            self.agents[name], _ = self.daemons.start_agent(name, ready["broker"][0])
        os.sched_setaffinity(0, cpus[:1])
        self.ports = {name: free_ports() for name in CLUSTERS}

    def mgmtctl(self, cluster, *arguments):
        command = [self.daemons.programs / "mgmtctl", "--socket", self.socket, "--cluster", cluster, *arguments]
        elsewhere = ["taskset", "--cpu-list", ",".join(map(str, self.others))]
        return subprocess.Popen(elsewhere + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def deploy(self, cluster, env):
        manager = {"name": "manager", "role": "manager", "port": self.ports[cluster]}
        worker = {"name": "worker", "role": "worker", "interface": "lo", "env": env}
        nodes = [{"instance": cluster, **node} for node in (manager, worker)]
        path = self.daemons.directory / f"{cluster}.json"
        path.write_text(json.dumps({"instances": [{"name": cluster}], "nodes": nodes}))
        return self.mgmtctl(cluster, "deploy", path, "--yes")

    def deploy_all(self):
        for cluster in CLUSTERS:
            deployment = self.deploy(cluster, {})
            output, _ = deployment.communicate()
            if deployment.returncode:
                raise SystemExit(output)

    @contextlib.contextmanager
    def trouble(self):
        """Three other clusters are in trouble as long as this lasts."""
        is_over = threading.Event()

        def deploy_again():
            number = 0
            while not is_over.is_set():
                self.deploy(DEPLOYED, {"NUMBER": str(number)}).communicate()
                number += 1

        failing = self.deploy(FAILING, ALWAYS_DIES)
        self.agents[HANGING].send_signal(signal.SIGSTOP)
        hanging = self.deploy(HANGING, {"TURN": str(time.monotonic())})
        deploying = threading.Thread(target=deploy_again)
        deploying.start()
        try:
            yield
        finally:
            is_over.set()
            deploying.join()
            self.agents[HANGING].send_signal(signal.SIGCONT)
            hanging.communicate()
            failing.communicate()
            if failing.returncode == 0:
                raise SystemExit(f"a node of {FAILING} should have died")

    def is_calm(self):
        status = self.mgmtctl(HANGING, "status")
        status.communicate()
        return status.returncode == 0

    def calm(self):
        self.deploy(FAILING, {}).communicate()
        wait_for("calm", self.is_calm)

    def ask(self, path, seconds):
        """How long each answer takes, in ms."""
        connection = Connection(self.socket)
        times = []
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            times.append((time.perf_counter() - begin) * 1000)
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")
        connection.close()
        return times


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def measure(site, arguments):
    quiet = {name: [] for name in REQUESTS}
    troubled = {name: [] for name in REQUESTS}
    for _ in range(arguments.rounds):
        for name, path in REQUESTS.items():
            quiet[name].append(site.ask(path, arguments.seconds))
        with site.trouble():
            for name, path in REQUESTS.items():
                troubled[name].append(site.ask(path, arguments.seconds))
        site.calm()
    for name in REQUESTS:
        ratios = [p99(after) / p99(before) for before, after in zip(quiet[name], troubled[name])]
        for what, rounds in (("quiet", quiet[name]), ("trouble elsewhere", troubled[name])):
            times = [time for times in rounds for time in times]
            print(f"{name}, {what}: median {statistics.median(times):.3f}, p99 {p99(times):.3f}")
        print(f"{name}: ratio of p99, median of rounds {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", help="where mgmt-controller, mgmt-agent and mgmtctl are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of requests of each kind in a turn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = Site(arguments, directory)
        try:
            site.deploy_all()
            measure(site, arguments)
        finally:
            site.daemons.stop()


main()
