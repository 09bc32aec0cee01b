"""The memory that `gannet train` forecasts, of every family: the most that a run took is within 10 % of it, and --dry-run says the
same before.

Usage: memory_forecast_test.py GANNET
"""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

TOLERANCE = 0.10
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# Ready configurations, long enough to draw all that they draw.
RUNS = [["gaussian1d", "--steps", "60", "--set", "train.sample_every=10", "--set", "train.head_start=20"],
        ["vanilla", "--steps", "100", "--set", "model.image_size=32"],
        ["dcgan-small", "--steps", "20"],
        ["dcgan-small", "--steps", "20", "--set", "train.sample_count=1000"],
        ["wgan_gp-small", "--steps", "5"]]


def dataset(count=4000, side=32):
    images = bytes((n * 31 + x) % 256 for n in range(count) for x in range(side * side))
    header = json.dumps({"images": {"dtype": "U8", "shape": [count, side, side, 1], "data_offsets": [0, len(images)]}}).encode()
    return struct.pack("<Q", len(header)) + header + images


def size(text, before, after):
    number, unit = re.search(re.escape(before) + r" *([0-9.]+) (\w+)" + re.escape(after), text).groups()
    return float(number) * UNITS[unit]


def main():
    gannet = pathlib.Path(sys.argv[1]).resolve()
    environment = dict(os.environ, OMP_WAIT_POLICY="passive")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="gannet-memory-") as name:
        folder = pathlib.Path(name)
        (folder / "data").write_bytes(dataset())
        for number, arguments in enumerate(RUNS):
            command = [gannet, "train", *arguments, *(["--data", "data"] if arguments[0] != "gaussian1d" else [])]

            def say(*more):
                return subprocess.run([*command, *more], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

            planned = size(say("--dry-run"), "memory", " forecast:")
            report = say("--out", f"run{number}")
            taken, forecast = size(report, "memory", " at most"), size(report, "at most, forecast", "")
            share, early = taken / forecast - 1, taken / planned - 1
            failed = max(abs(share), abs(early)) > TOLERANCE
            failures += failed
            print(f"{'FAILED ' if failed else ''}{' '.join(arguments)}: {taken / (1 << 20):.1f} MiB at most; {100 * share:+.1f} % of the "
                  f"run's forecast, {100 * early:+.1f} % of the dry run's")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
