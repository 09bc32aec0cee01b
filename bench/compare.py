"""Times the DCGAN training step of gannet and of PyTorch eager in alternation, with the same threads, on one machine.

Every repetition runs each contender once in a process of its own, in rotating order. A contender's figure is the median over
the repetitions of its images per second; the spread is (highest - lowest) / median. PyTorch is given every variant that may
be its best (layout, freezing D in G's step), and its best median is what gannet is compared with.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def contenders(arguments):
    steps = ["--warmup", str(arguments.warmup), "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    keys = {"model.image_size": arguments.size, "model.generator_features": arguments.features,
            "model.discriminator_features": arguments.features, "train.batch": arguments.batch}
    settings = [f"--set={key}={value}" for key, value in keys.items()]
    commands = {"gannet": [arguments.gannet, "bench", "step", "dcgan", "--json", *steps, *settings]}
    torch = [sys.executable, HERE / "pytorch_dcgan.py", *steps, "--size", str(arguments.size), "--batch", str(arguments.batch),
             "--features", str(arguments.features)]
    for layout in ("nchw", "channels-last"):
        commands[f"PyTorch {layout}"] = [*torch, "--layout", layout]
        commands[f"PyTorch {layout}, D frozen"] = [*torch, "--layout", layout, "--freeze"]
    return commands


def measure(command, threads):
    """One process: its images per second (median over its steps), and seconds from its start to the end of its first step."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    first_step = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event.get("event") == "first step":
                first_step = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}")
    return statistics.median(event["images_per_s"]), first_step


def summary(samples):
    rates, starts = zip(*samples)
    median = statistics.median(rates)
    return {"images_per_s": median, "spread": (max(rates) - min(rates)) / median, "first_step_s": statistics.median(starts),
            "repetitions": rates}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gannet", default=HERE.parent / "build/release/bin/gannet", help="the program to time")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2, help="steps of a process before the timed ones")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a process")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "build/bench/dcgan.json")
    arguments = parser.parse_args()

    commands = contenders(arguments)
    names = list(commands)
    samples = {name: [] for name in names}
    for repetition in range(arguments.repetitions):
        for turn in range(len(names)):
            name = names[(turn + repetition) % len(names)]
            samples[name].append(measure(commands[name], arguments.threads))
            progress = f"{repetition + 1}/{arguments.repetitions}  {name:30} {samples[name][-1][0]:7.1f} images/s"
            print(progress, file=sys.stderr, flush=True)

    results = {name: summary(samples[name]) for name in names}
    best = max(names[1:], key=lambda name: results[name]["images_per_s"])
    ratio = results["gannet"]["images_per_s"] / results[best]["images_per_s"]
    print(f"DCGAN step, {arguments.size}x{arguments.size}, {arguments.features} features, batch {arguments.batch}, fp32, "
          f"{arguments.threads} threads, median of {arguments.repetitions}\n")
    print("| | images/s | spread | to the first step |\n|---|---|---|---|")
    for name in names:
        result = results[name]
        print(f"| {name} | {result['images_per_s']:.1f} | {result['spread']:.1%} | {result['first_step_s']:.2f} s |")
    print(f"\ngannet / {best}: {ratio:.3f}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(arguments).items() if isinstance(value, int)}
    report = {"settings": settings, "results": results, "best_pytorch": best, "ratio": ratio}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
