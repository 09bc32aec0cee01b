"""Measures gannet-sim: warp instructions a second of the kernels in speed.cu, on one host thread with the checks off and on, and on
two host threads. Times of one thread are of the CPU, so that they hold on a machine with other work; the best of several runs
counts. "two threads" is how much sooner two are done, which only a quiet machine shows; "by CPU" what it would be if both always ran:
twice the CPU time of one thread over that of two.

usage: speed.py GANNET_SIM [--nvcc NVCC] [--isa v3|v4] [--repeat 3]

A check of the simulator's speed, not of a device's: run it by hand.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

# Rounds and blocks of each kernel: about half a second with the checks off.
SIZES = {"integer": (4000, 32), "floating": (4000, 32), "tile": (1000, 32), "reduction": (2000, 32), "mma": (400, 32)}
# What is asked of the slowest kernel, in millions of warp instructions a second; of mma.sync by itself.
WANTED = {"none": 40.0, "all": 10.0, "mma": 2.0, "two": 1.8}
MMA_PER_ROUND, WARPS_PER_BLOCK = 16, 8


def simulate(arguments, options, kernel, rounds, blocks):
    command = [arguments.simulator, *options, *(["--isa", arguments.isa] if arguments.isa else []), arguments.program, kernel,
               str(rounds), str(blocks)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def instructions(arguments, kernel, rounds, blocks):
    """Warp instructions of a launch, from the counters of two short ones: each round has as many as any other."""
    def count(n):
        profile = pathlib.Path(arguments.folder) / "profile.json"
        simulate(arguments, ["--check", "none", "--profile", profile], kernel, n, 1)
        # The first launch of the program only decodes the kernel: a round of one block.
        return sum(k["metrics"]["smsp__inst_executed.sum"] for k in json.loads(profile.read_text())["kernels"])

    two, three = count(16), count(24)
    a_round = (three - two) / 8
    return a_round * rounds * blocks


def best(arguments, options, kernel, rounds, blocks):
    times = [simulate(arguments, options, kernel, rounds, blocks).stdout.split()[:2] for _ in range(arguments.repeat)]
    return min(float(wall) for wall, _ in times), min(float(cpu) for _, cpu in times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulator")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--isa", choices=["v3", "v4"])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as arguments.folder:
        arguments.program = str(pathlib.Path(arguments.folder) / "speed")
        source = pathlib.Path(__file__).with_name("speed.cu")
        subprocess.run([arguments.nvcc, "-gencode", "arch=compute_80,code=[compute_80,sm_80]", "-lineinfo", "-cudart", "shared",
                        "-std=c++20", "-O2", "-o", arguments.program, source], check=True)
        print(f"{'kernel':12}{'instructions':>14}{'M/s, no checks':>16}{'M/s, all checks':>17}{'two threads':>13}{'by CPU':>8}")
        slow = []
        for kernel, (rounds, blocks) in SIZES.items():
            count = instructions(arguments, kernel, rounds, blocks)
            wall, off = best(arguments, ["--threads", "1", "--check", "none"], kernel, rounds, blocks)
            _, on = best(arguments, ["--threads", "1", "--check", "all"], kernel, rounds, blocks)
            two, both = best(arguments, ["--threads", "2", "--check", "none"], kernel, rounds, blocks)
            note = ""
            if kernel == "mma":
                rate = MMA_PER_ROUND * WARPS_PER_BLOCK * rounds * blocks / off / 1e6
                note = f"  {rate:.2f} M mma.sync/s"
                if rate < WANTED["mma"]:
                    slow.append(f"mma: {rate:.2f} M/s")
            else:
                slow += [f"{kernel}, {name}: {count / time / 1e6:.1f} M/s"
                         for name, time in (("none", off), ("all", on)) if count / time / 1e6 < WANTED[name]]
            if wall / two < WANTED["two"]:
                slow.append(f"{kernel}: two threads are {wall / two:.2f} times one")
            print(f"{kernel:12}{count:14.0f}{count / off / 1e6:16.1f}{count / on / 1e6:17.1f}{wall / two:13.2f}{2 * off / both:8.2f}"
                  f"{note}", flush=True)
    for line in slow:
        print(f"below what is asked: {line}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
