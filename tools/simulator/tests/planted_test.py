"""Runs every planted bug under every check: it must be found and named, and the same program without it must be silent.

usage: planted_test.py GANNET_SIM PLANTED [--table] [--schedule adversarial] [CASE...]
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

HEADLINE = re.compile(r"^========= (\w+)( warning)?: ([^:]+): (.*)$", re.M)


def run(arguments, case, fixed):
    command = [arguments.simulator, "--devices", "2", "--check", "all", "--timeout", "2", "--schedule", arguments.schedule,
               arguments.program, case] + (["fixed"] if fixed else [])
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    return done.returncode, HEADLINE.findall(done.stderr), done.stderr


def judge(arguments, case, fault):
    """What is wrong with a case, or None; and what the simulator said."""
    code, found, text = run(arguments, case, fixed=False)
    named = [f for f in found if f[2] == fault]
    if not named:
        return f"not found; exit code {code}: {text.strip()[-600:]}", ""
    warning = all(f[1] for f in named)
    wanted = 0 if warning else 3
    if code != wanted:
        return f"exit code {code}, not {wanted}", named[0][3]
    code, found, text = run(arguments, case, fixed=True)
    if code != 0 or found:
        return f"the program without the bug: exit code {code}: {text.strip()[-600:]}", named[0][3]
    return None, named[0][3]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("simulator")
    parser.add_argument("program")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--schedule", default="fair")
    arguments = parser.parse_args()
    listing = subprocess.run([arguments.simulator, arguments.program], capture_output=True, text=True, check=True).stdout
    cases = [line.split("\t") for line in listing.splitlines()]
    if arguments.cases:
        cases = [c for c in cases if c[0] in arguments.cases]
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (case, fault), (problem, message) in zip(cases, pool.map(lambda c: judge(arguments, *c), cases)):
            wrong += problem is not None
            if problem is not None:
                print(f"{case} ({fault}): {problem}")
            elif arguments.table:
                print(f"{case:26} {fault:46} {message}")
    print(f"{len(cases)} planted bugs, {len(cases) - wrong} found and named with a silent twin, {wrong} not")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
