"""Controller and agents for the scripts that measure them: started on loopback, in a directory of their own, and stopped."""

import contextlib
import json
import pathlib
import subprocess
import time

WAIT_SECONDS = 60


def wait_for(what, condition):
    """What the condition returns, once that is true; an exception counts as not yet."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            if result := condition():
                return result
        time.sleep(0.1)
    raise SystemExit(f"waited {WAIT_SECONDS} s for {what}")


class Daemons:
    def __init__(self, programs, directory):
        self.programs = pathlib.Path(programs).resolve()
        self.directory = pathlib.Path(directory)
        self.processes = []

    def start(self, program, name, *options):
        """Starts mgmt-controller or mgmt-agent under this name; its process, and what it says when it is ready."""
        ready = self.directory / f"{name}.json"
        ready.unlink(missing_ok=True)
        state = self.directory / name
        state.mkdir(exist_ok=True)
        command = [self.programs / program, "--name", name, "--listen", "127.0.0.1:0", "--ready-file", ready, *options]
        command += ["--state-dir", state, "--spool-dir", state / "spool"]
        with open(state / "stderr", "ab") as stderr:
            process = subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process, wait_for(f"{name}, see {state}/stderr", lambda: json.loads(ready.read_text()))

    def start_controller(self):
        return self.start("mgmt-controller", "controller", "--websocket-listen", "127.0.0.1:0")

    def start_agent(self, name, broker):
        """An agent with stand-ins for nodes, which connects to the controller at this address."""
        return self.start("mgmt-agent", name, "--controller", broker, "--simulate", "--supervise", "native")

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()
