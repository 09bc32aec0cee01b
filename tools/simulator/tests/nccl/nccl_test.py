"""Runs the programs of this folder under the simulator: those that are right must pass, those that are wrong must be told so.

usage: nccl_test.py GANNET_SIM FOLDER_OF_PROGRAMS programs|faults|hosts [CASE...]

Exit code 77 when `hosts` can not make network namespaces.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CHECKS = "memcheck,initcheck,racecheck,synccheck"
PROGRAMS = [
    # program, arguments, options of the simulator, environment
    ("types", [], ["--devices", "4"], {}),
    ("types", [], ["--devices", "4", "--arch", "sm_90", "--schedule", "adversarial", "--seed", "7"], {}),
    ("streams", [], ["--devices", "8"], {}),
    ("streams", [], ["--devices", "8", "--schedule", "adversarial", "--seed", "3"], {}),
    ("communicators", [], ["--devices", "8"], {}),
    ("processes", ["--ranks", "2"], ["--devices", "2"], {"LARGE_MEGABYTES": "64"}),
    ("processes", ["--ranks", "8"], ["--devices", "8"], {"LARGE_MEGABYTES": "64"}),
    ("processes", ["--ranks", "3"], ["--devices", "3"], {"NCCL_COMM_ID": "127.0.0.1:47391"}),
    ("processes", ["--ranks", "3"], ["--devices", "3"], {"NCCL_SOCKET_IFNAME": "lo"}),
]

REMOTE = "remote process exited or there was a network error"
MISUSE = [r"rank [01]: cudaErrorUnknown, invalid usage"] * 2


def mismatch(first, second):
    headline = f"========= api: misuse of the API: ranks of a communicator do not call the same: rank 0 {first}, rank 1 {second}"
    return 3, [re.escape(headline)], MISUSE


def waits(*messages):
    """It never ends; within the time that --deadlock gives it says what it waits for."""
    return None, list(messages), []


# case: exit code (None: it hangs), patterns in standard error, patterns in standard output
ALL_REDUCE = r"ncclAllReduce\(count 16, float32, sum\)"
FAULTS = {
    "count": mismatch("ncclAllReduce(count 16, float32, sum)", "ncclAllReduce(count 17, float32, sum)"),
    "type": mismatch("ncclAllReduce(count 16, float32, sum)", "ncclAllReduce(count 16, int32, sum)"),
    "operator": mismatch("ncclAllReduce(count 16, float32, sum)", "ncclAllReduce(count 16, float32, max)"),
    "root": mismatch("ncclBroadcast(count 16, float32, root 0)", "ncclBroadcast(count 16, float32, root 1)"),
    "order": mismatch("ncclAllReduce(count 16, float32, sum)", "ncclBroadcast(count 16, float32, root 0)"),
    "transfer": mismatch("ncclSend(count 16, float32, to rank 1)", "ncclRecv(count 15, float32, from rank 0)"),
    "absent": waits(rf"rank 0 of 2 has waited 1 s in {ALL_REDUCE}, number 2 of .*: rank 1 has not called it$"),
    "crossed": waits(*[rf"rank {r} of 2 has waited 1 s in ncclSend\(count 16, float32, to rank {1 - r}\).*: rank {1 - r} has not called the "
                       rf"ncclRecv that belongs to it, it is in ncclSend\(count 16, float32, to rank {r}\)$" for r in (0, 1)]),
    "transfer and collective": waits(rf"rank 1 of 2 has waited 1 s in {ALL_REDUCE}, .*: rank 0 has not called it, it is in ncclSend\(",
                                     rf"rank 0 of 2 has waited 1 s in ncclSend\(.*: .*, it is in {ALL_REDUCE}$"),
    "two communicators": waits(rf"rank 0 of 2 has waited 1 s in {ALL_REDUCE}, number 2 of the collectives of communicator \w+: rank 1",
                               rf"rank 1 of 2 has waited 1 s in {ALL_REDUCE}, number 2 of the collectives of communicator \w+: rank 0"),
    "no group in init": waits(r"ncclCommInitRank: rank 0 of 2 has waited 1 s for the other ranks: 1 of 2 ranks have come, missing: 1$"),
    "no group": waits(r"ncclAllReduce: rank 0 of 2 has waited 1 s on the host: .*rank 1 has not called one.*ncclGroupStart"),
    "peer dies": (0, [r"rank 0 of 2 waits for rank 1, which can not be reached any more: its process has ended"],
                  [rf"rank 0: cudaErrorUnknown, {REMOTE}"]),
    "peer dies, abort": (0, [r"rank 0 of 2 waits for rank 1"], [rf"rank 0: cudaSuccess, {REMOTE}"]),
    # A communication that can not end does not keep the process from ending.
    "exit": (5, [rf"rank 0 of 2 has waited 1 s in {ALL_REDUCE}"], [r"^leaving$"]),
    "graph after destroy": (3, [r"the communicator was destroyed before the communication was done"], [r"^cudaErrorUnknown$"]),
    "too long": (3, [r"========= memcheck: out-of-bounds access: read of 16388 bytes"], [r"rank 0: cudaErrorIllegalAddress"]),
    "host memory": (3, [r"========= memcheck: .*: read of 64 bytes"], [r"rank 0: cudaErrorIllegalAddress"]),
    "uninitialized": (3, [r"========= initcheck: .*: read of 64 bytes"], []),
    "race": (3, [r"========= racecheck: race between streams: .*ncclAllReduce"], []),
    "no barrier": (3, [r"========= racecheck: race between streams: "], []),
    "in order": (0, [r"\A\Z"], [r"^PASSED$"]),
    "not simulated": (2, [r"^gannet-sim: ncclGroupSimulateEnd is not simulated$"], []),
}


def run(command, environment, seconds):
    """Exit code (None when it had to be ended), standard output and error; everything it started ends with it."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(command, stdout=output, stderr=error, env=dict(os.environ, **environment), start_new_session=True)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        error.seek(0)
        return code, output.read(), error.read()


def check_program(simulator, folder, program, arguments, options, environment):
    command = [simulator, "--check", CHECKS, *options, os.path.join(folder, "nccl_" + program), *arguments]
    code, output, error = run(command, environment, 300)
    if code == 0 and "PASSED" in output and "FAILED" not in output and "=========" not in error:
        return None
    return f"exit code {code}\n{output[-3000:]}{error[-3000:]}"


def check_fault(simulator, folder, case):
    code, in_error, in_output = FAULTS[case]
    command = [simulator, "--check", CHECKS, "--devices", "2", "--deadlock", "1", os.path.join(folder, "nccl_faults"), case]
    got, output, error = run(command, {}, 60 if code is not None else 6)
    problems = [f"exit code {got}, not {code}"] if got != code else []
    problems += [f"not in standard error: {p}" for p in in_error if not re.search(p, error, re.M)]
    problems += [f"not in standard output: {p}" for p in in_output if not re.search(p, output, re.M)]
    return "\n".join(problems) + f"\n{output[-2000:]}{error[-2000:]}" if problems else None


class Namespaces:
    """Two hosts: network namespaces that are joined by a cable, with addresses 10.219.7.1 and .2 and nothing else."""

    def __enter__(self):
        self.names = [f"gannet-sim-{os.getpid()}-{i}" for i in (0, 1)]
        cables = [f"gsim{os.getpid() % 100000}{i}" for i in "ab"]
        commands = [["ip", "netns", "add", n] for n in self.names]
        commands.append(["ip", "link", "add", cables[0], "type", "veth", "peer", "name", cables[1]])
        for i, (name, cable) in enumerate(zip(self.names, cables)):
            commands.append(["ip", "link", "set", cable, "netns", name, "name", "cable0"])
            commands.append(["ip", "-n", name, "addr", "add", f"10.219.7.{i + 1}/24", "dev", "cable0"])
            commands += [["ip", "-n", name, "link", "set", device, "up"] for device in ("lo", "cable0")]
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True)
        except (subprocess.CalledProcessError, FileNotFoundError) as problem:
            self.__exit__()
            print(f"network namespaces can not be made: {problem}")
            sys.exit(77)
        return self.names

    def __exit__(self, *_):
        for name in self.names:
            if shutil.which("ip"):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)


def check_hosts(simulator, folder):
    """Two ranks on each of two hosts; the id agreed upon, or made by rank 0 and handed over."""
    wrong = 0
    with Namespaces() as names:
        for agreed in (True, False):
            environment = {"LARGE_MEGABYTES": "32"}
            if agreed:
                environment["NCCL_COMM_ID"] = "10.219.7.1:40404"
            with tempfile.TemporaryDirectory() as shared:
                processes = []
                for rank in range(4):
                    command = ["ip", "netns", "exec", names[rank // 2], simulator, "--check", CHECKS, "--devices", "2",
                               os.path.join(folder, "nccl_processes"), "--rank", str(rank), "--ranks", "4"]
                    if not agreed:
                        command += ["--share", os.path.join(shared, "id")]
                    processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                                      env=dict(os.environ, **environment)))
                end = time.time() + 120
                for rank, process in enumerate(processes):
                    try:
                        output, _ = process.communicate(timeout=max(1, end - time.time()))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        output, _ = process.communicate()
                    if process.returncode != 0 or "PASSED" not in output:
                        wrong += 1
                        print(f"{'agreed' if agreed else 'shared'} id, rank {rank}: exit code {process.returncode}\n{output[-3000:]}")
    return wrong


def main():
    simulator, folder, what = sys.argv[1:4]
    chosen = sys.argv[4:]
    wrong = 0
    if what == "programs":
        for program in PROGRAMS:
            if chosen and program[0] not in chosen:
                continue
            begin = time.time()
            problem = check_program(simulator, folder, *program)
            wrong += problem is not None
            print(f"{' '.join([program[0], *program[1], *program[2]])} {program[3] or ''}: {problem or 'passed'} ({time.time() - begin:.1f} s)", flush=True)
    elif what == "faults":
        for case in FAULTS:
            if chosen and case not in chosen:
                continue
            problem = check_fault(simulator, folder, case)
            wrong += problem is not None
            print(f"{case}: {problem or 'as it must be'}", flush=True)
    else:
        wrong = check_hosts(simulator, folder)
        print(f"hosts: {wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
