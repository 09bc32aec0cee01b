"""Ranks on two hosts, which are two network namespaces of this machine: where they reach each other, and what they do when the
cable between them is cut.

Usage: hosts_test.py GROUP_TEST

Skipped (77) where namespaces can not be made (it takes root and `ip`).
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
NAMES = [f"gannet-{os.getpid()}-{side}" for side in "ab"]
PORT = 29600
CABLES = {"IPv4": ["10.213.7.1", "10.213.7.2"], "IPv6": ["fd00:213:7::1", "fd00:213:7::2"]}


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@contextlib.contextmanager
def two_hosts():
    """Two namespaces with a cable between them, and a second one that leads nowhere."""
    cable = [f"gt{os.getpid() % 100000}{side}" for side in "ab"]
    try:
        for name in NAMES:
            made = ip("netns", "add", name)
            if made.returncode != 0:
                print(f"skipped: no network namespaces here: {made.stderr.strip()}")
                sys.exit(SKIPPED)
            ip("-n", name, "link", "set", "lo", "up")
        ends = [cable[0], "netns", NAMES[0], "type", "veth", "peer", "name", cable[1], "netns", NAMES[1]]
        if ip("link", "add", *ends).returncode:
            print("skipped: no virtual cables here")
            sys.exit(SKIPPED)
        for side in (0, 1):
            ip("-n", NAMES[side], "address", "add", f"{CABLES['IPv4'][side]}/24", "dev", cable[side])
            ip("-n", NAMES[side], "address", "add", f"{CABLES['IPv6'][side]}/64", "dev", cable[side], "nodad")
            ip("-n", NAMES[side], "link", "set", cable[side], "up")
        yield cable
    finally:
        for name in NAMES:
            ip("netns", "delete", name)


class Job:
    """Two ranks on each host."""

    def __init__(self, program, scenario, address, folder, **variables):
        self.ranks, self.files = [], []
        for rank in range(4):
            env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank % 2), "LOCAL_WORLD_SIZE": "2",
                   "MASTER_ADDR": address, "MASTER_PORT": str(PORT), "GANNET_JOB": "two hosts", **variables}
            self.files.append(pathlib.Path(folder) / f"{scenario}.{address.replace(':', '_')}.{rank}")
            with open(self.files[-1], "wb") as output:
                command = ["ip", "netns", "exec", NAMES[rank // 2], program, "--rank", scenario]
                self.ranks.append(subprocess.Popen(command, env=env, stdout=output, stderr=output))

    def output(self, rank):
        return self.files[rank].read_text()

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        try:
            return [rank.wait(max(0.01, deadline - time.monotonic())) for rank in self.ranks]
        except subprocess.TimeoutExpired:
            for rank in self.ranks:
                rank.kill()
            return ["not ended"]


def check_addresses(program, folder, kind):
    """Everybody is known by an address that all can reach, also who shares rank 0's host."""
    first, second = CABLES[kind]
    job = Job(program, "meet", first, folder)
    codes = job.wait(60)
    expected = [f"address {address} " for address in (first, first, second, second)]
    for rank in range(4):
        lines = job.output(rank).splitlines()
        if codes != [0] * 4 or not all(line.startswith(start) for line, start in zip(lines, expected, strict=True)):
            sys.exit(f"{kind}: exit codes {codes}, rank {rank} should say {expected}, not {lines}")


def check_cut(program, folder, cable):
    """Both sides notice within the silence that is allowed, and each names one of the other side."""
    job = Job(program, "steps", CABLES["IPv4"][0], folder, TEST_SILENCE="4")
    deadline = time.monotonic() + 30
    while not all("ready" in job.output(rank) for rank in range(4)):
        if time.monotonic() > deadline:
            sys.exit(f"the ranks do not start: {[job.output(rank) for rank in range(4)]}")
        time.sleep(0.01)
    time.sleep(0.3)
    ip("-n", NAMES[1], "link", "set", cable[1], "down")
    start = time.monotonic()
    codes = job.wait(30)
    seconds = time.monotonic() - start
    ip("-n", NAMES[1], "link", "set", cable[1], "up")
    for rank, silent in enumerate((("rank 2", "rank 3"), ("rank 2", "rank 3"), ("rank 0",), ("rank 0",))):
        errors = [line for line in job.output(rank).splitlines() if "error" in line]
        if codes != [1] * 4 or len(errors) != 1 or not any(f"error: {name} (" in errors[0] for name in silent):
            sys.exit(f"cut cable: exit codes {codes}, rank {rank} should call one of {silent} silent: {errors}")
    if seconds > 6:
        sys.exit(f"cut cable: the last rank ended after {seconds:.1f} s")
    return seconds


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    if shutil.which("ip") is None:
        print("skipped: there is no ip (iproute2)")
        sys.exit(SKIPPED)
    with two_hosts() as cable, tempfile.TemporaryDirectory(prefix="gannet-hosts-") as folder:
        for kind in CABLES:
            check_addresses(program, folder, kind)
        seconds = check_cut(program, folder, cable)
    print(f"two hosts: met over {' and '.join(CABLES)}; with silence limited to 4 s, all ended {seconds:.1f} s after the cut")


if __name__ == "__main__":
    main()
