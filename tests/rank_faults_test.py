"""What ends a rank ends the job: soon, everywhere, with a message that says who and why, and with a whole checkpoint to go on from.

Trains with three ranks on CPUs and does something to one of them at a random moment; --trials of each kind. With --table it prints
the seconds to the end and the messages.

Usage: rank_faults_test.py [--trials N] [--only KIND ...] [--table] GANNET
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from data_parallel_test import FAMILIES, dataset

RANKS, SILENCE, WITHIN = 3, 5, 12  # seconds without a sign of life that end a job here, and in which all must be over
STEPS = 100000


class Job:
    """Three ranks, started by `gannet train --processes` or one by one."""

    def __init__(self, gannet, folder, launcher=True, change=lambda rank, command, environment: None, ranks=range(RANKS)):
        self.folder, self.begun = folder, time.monotonic()
        self.out = open(folder / "out.txt", "wb")
        command = [gannet, "train", "run.json", "--data", "data.safetensors", "--out", "run", "--steps", str(STEPS)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        self.processes = []
        if launcher:
            self.start([*command, "--processes", str(RANKS)], environment)
            return
        port = free_port()
        for rank in ranks:
            own, place = list(command), {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank),
                                         "LOCAL_WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                                         "GANNET_JOB": str(folder)}
            change(rank, own, place)
            self.start(own, {**environment, **place})

    def start(self, command, environment):
        self.processes.append(subprocess.Popen(command, cwd=self.folder, env=environment, stdout=self.out, stderr=self.out,
                                               stdin=subprocess.DEVNULL))

    def text(self):
        return (self.folder / "out.txt").read_text(errors="replace")

    def step(self):
        file = self.folder / "run/checkpoints"
        return max((int(name.stem.removeprefix("step_")) for name in file.glob("step_*.safetensors")), default=-1)

    def pids(self):
        """Of the ranks, by rank: the launcher's children, or what was started."""
        if len(self.processes) > 1:
            return [process.pid for process in self.processes]
        children = pathlib.Path(f"/proc/{self.processes[0].pid}/task/{self.processes[0].pid}/children").read_text().split()
        of = {}
        for child in children:
            place = dict(entry.split("=", 1) for entry in pathlib.Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in entry)
            of[int(place["RANK"])] = int(child)
        return [of[rank] for rank in sorted(of)]

    def wait_for_step(self, step, seconds=60):
        while self.step() < step:
            if time.monotonic() - self.begun > seconds or all(process.poll() is not None for process in self.processes):
                raise AssertionError(f"does not train:\n{self.text()[-2000:]}")
            time.sleep(0.02)

    def end(self, stopped=()):
        """Seconds until all have ended, and their exit codes."""
        begun = time.monotonic()
        try:
            for process in self.processes:
                process.wait(timeout=WITHIN + 30)
        except subprocess.TimeoutExpired:
            for pid in [process.pid for process in self.processes]:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"still there after {WITHIN + 30} s:\n{self.text()[-2000:]}") from None
        finally:
            for pid in stopped:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return time.monotonic() - begun, [process.returncode for process in self.processes]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def one_line(text):
    lines = [line for line in text.splitlines() if "error" in line]
    return lines[0] if lines else (text.splitlines() or ["nothing"])[-1]


# Each kind: (job, chance) -> (exit codes allowed, what the output must say, processes that were stopped)


def signalled(number, target, says, codes):
    def act(gannet, folder, chance):
        job = Job(gannet, folder)
        job.wait_for_step(chance.randint(1, 30))
        time.sleep(chance.random() * 0.05)
        rank = {"rank 0": 0, "a rank": chance.randint(1, RANKS - 1)}.get(target)
        pid = job.processes[0].pid if rank is None else job.pids()[rank]
        os.kill(pid, number)
        return job, codes, says.format(rank=rank), [pid] if number == signal.SIGSTOP else []

    return act


def unlike(change, says):
    def act(gannet, folder, chance):
        rank = chance.randint(1, RANKS - 1)
        job = Job(gannet, folder, launcher=False, change=lambda r, command, place: change(folder, command) if r == rank else None)
        return job, {1, 2}, says.format(rank=rank), []

    return act


def other_weights(folder, command):
    command += ["--init", "other.safetensors"]


def other_configuration(folder, command):
    command += ["--set", "loss.label_smoothing=0.1"]


def other_program(folder, command):
    other = command[0].with_name(f"other-{folder.name}")  # beside it, where it finds its libraries
    shutil.copy(command[0], other)
    with open(other, "ab") as file:
        file.write(b"another")
    command[0] = other


def port_in_use(gannet, folder, chance):
    """Whoever listens there knows nothing of the job: the ranks meet all the same."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = str(taken.getsockname()[1])
    job = Job(gannet, folder, launcher=False, change=lambda rank, command, place: place.update(MASTER_PORT=port))
    job.wait_for_step(chance.randint(1, 10))
    job.port = taken  # as long as the job
    os.kill(job.pids()[0], signal.SIGTERM)
    return job, {143}, "", []


def never_comes(gannet, folder, chance):
    gone = chance.randint(1, RANKS - 1)
    job = Job(gannet, folder, launcher=False, ranks=[rank for rank in range(RANKS) if rank != gone],
              change=lambda rank, command, place: command.extend(["--set", "train.patience=4"]))
    return job, {1}, f"rank[^;]* {gone} did not come", []


def disk_full(gannet, folder, chance):
    """As a full disk: none of rank 0's files may grow beyond what the metrics soon are."""
    limit = chance.randint(110, 150) * 1000

    def change(rank, command, place):
        command += ["--set", "train.checkpoint_every=0"]
        if rank == 0:
            command[:0] = ["prlimit", f"--fsize={limit}"]

    job, metrics = Job(gannet, folder, launcher=False, change=change), folder / "run/metrics.jsonl"
    while time.monotonic() - job.begun < 60 and not (metrics.exists() and metrics.stat().st_size > limit - 5000):
        time.sleep(0.01)
    return job, {1}, r"rank 0.*metrics.jsonl|error: .*metrics.jsonl", []


KINDS = {
    "SIGKILL of a rank": signalled(signal.SIGKILL, "a rank", r"rank {rank} \(", {1}),
    "SIGKILL of rank 0": signalled(signal.SIGKILL, "rank 0", r"rank 0 \(", {1}),
    "SIGKILL of the launcher": signalled(signal.SIGKILL, "launcher", "stopped by SIGTERM", {-9}),
    "SIGSTOP of a rank": signalled(signal.SIGSTOP, "a rank", r"rank {rank} \(", {1}),
    "SIGSTOP of rank 0": signalled(signal.SIGSTOP, "rank 0", r"rank 0 \(", {1}),
    "SIGTERM of a rank": signalled(signal.SIGTERM, "a rank", "stopped by SIGTERM", {143}),
    "SIGTERM of rank 0": signalled(signal.SIGTERM, "rank 0", "stopped by SIGTERM", {143}),
    "SIGTERM of the launcher": signalled(signal.SIGTERM, "launcher", "stopped by SIGTERM", {143}),
    "other weights": unlike(other_weights, r"rank {rank} \(.*another weights|rank {rank} \(.*other weights"),
    "another configuration": unlike(other_configuration, r"rank {rank} \(.*label_smoothing"),
    "another program": unlike(other_program, r"rank {rank} \(.*program"),
    "a port in use": port_in_use,
    "a rank that never comes": never_comes,
    "a full disk on rank 0": disk_full,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gannet", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    gannet = arguments.gannet.resolve()
    configuration = json.loads(json.dumps(FAMILIES["dcgan"]))
    configuration["train"].update(batch=6 * RANKS, keep_last=2, silence=SILENCE, sample_every=0)
    failures = []
    for kind in arguments.only:
        seconds, message = [], ""
        for trial in range(arguments.trials):
            chance = random.Random(f"{kind} {trial}")
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                (folder / "data.safetensors").write_bytes(dataset())
                (folder / "run.json").write_text(json.dumps(configuration))
                if kind == "other weights":
                    start = [gannet, "train", "run.json", "--data", "data.safetensors", "--steps", "1", "--set", "train.seed=2",
                             "--out", "seed2"]
                    subprocess.run(start, cwd=folder, check=True, stdout=subprocess.DEVNULL)
                    shutil.copy(folder / "seed2/checkpoints/step_00000001.safetensors", folder / "other.safetensors")
                try:
                    job, codes, says, stopped = KINDS[kind](gannet, folder, chance)
                    took, ended = job.end(stopped)
                    if kind == "SIGKILL of the launcher":  # whose ranks save and end by themselves
                        until = time.monotonic() + WITHIN
                        while "stopped by" not in job.text() and time.monotonic() < until:
                            time.sleep(0.02)
                    text = job.text()
                    message = one_line(text)
                    wrong = [code for code in ended if code not in codes]
                    if wrong:
                        raise AssertionError(f"exit codes {ended}, not {codes}\n{text[-2000:]}")
                    if not re.search(says, text):
                        raise AssertionError(f"no word of '{says}':\n{text[-2000:]}")
                    if took > WITHIN:
                        raise AssertionError(f"took {took:.1f} s")
                    for file in (folder / "run/checkpoints").glob("step_*.safetensors"):
                        subprocess.run([gannet, "info", file], check=True, stdout=subprocess.DEVNULL)
                    seconds.append(took)
                    for other in gannet.parent.glob(f"other-{folder.name}"):
                        other.unlink()
                except AssertionError as error:
                    failures.append(kind)
                    print(f"{kind}, trial {trial}: {error}", flush=True)
        if seconds:
            line = f"{kind:26} {len(seconds)} of {arguments.trials}, {min(seconds):.1f} to {max(seconds):.1f} s"
            print(line + (f"  {message[:150]}" if arguments.table else ""), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
