"""Kills a training at random moments and resumes it: it must always go on, leave no broken file, and end with the same bytes as a
training that nobody killed.

Usage: kill_resume_test.py GANNET [--kills N] [--seed N] [--family NAME]
"""

import argparse
import json
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

TRAIN = {"batch": 16, "steps": 400, "sample_count": 16, "sample_every": 20, "checkpoint_every": 7, "keep_last": 3, "threads": 1,
         "ema": 0.99}
MODEL = {"image_size": 16, "channels": 1, "latent": 8, "generator_features": 16, "discriminator_features": 16}
FAMILIES = {"dcgan": {"model": {"family": "dcgan", **MODEL}, "train": TRAIN, "data": {"flip": True}},
            "wgan_gp": {"model": {"family": "wgan_gp", **MODEL}, "loss": {"kind": "wasserstein", "gradient_penalty": 10},
                        "train": {**TRAIN, "n_critic": 2, "steps": 150}}}


def dataset(count=100, side=16):
    images = bytes((n * 31 + x * y) % 256 for n in range(count) for y in range(side) for x in range(side))
    header = json.dumps({"images": {"dtype": "U8", "shape": [count, side, side, 1], "data_offsets": [0, len(images)]}}).encode()
    return struct.pack("<Q", len(header)) + header + images


def check_whole(gannet, run):
    """Every checkpoint that has its name is whole (info reads all of it), and every picture ends as PNG files do."""
    for file in run.glob("checkpoints/*.safetensors"):
        if not file.name.startswith("."):
            subprocess.run([gannet, "info", file], check=True, stdout=subprocess.DEVNULL)
    for file in run.glob("samples/*.png"):
        if not file.name.startswith(".") and not file.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise AssertionError(f"{file} is broken")


def newest_step(run):
    return max((int(file.stem.removeprefix("step_")) for file in run.glob("checkpoints/step_*.safetensors")), default=None)


def measured_step(run):
    """The last step with a whole line in metrics.jsonl; 0 when there is none."""
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def resume(command, run, options, kill):
    """Starts or resumes the run. kill(): is it time? Returns the exit code, None when killed."""
    again = ["--resume"] if (run / "config.json").exists() else []
    with subprocess.Popen([*command, run.name, *again], **options) as process:
        while process.poll() is None:
            if kill():
                process.kill()
                break
            time.sleep(0.001)
        code = process.wait()
    return None if code == -signal.SIGKILL else code


def moment(run, steps, startup, interval, chance):
    """When to kill: some lives end in the start, at a random time; most after metrics.jsonl has advanced to a random step, at a
    random time before or in the next checkpoint (metrics are written with checkpoints and samples). A slow machine makes the
    lives longer, not shorter in steps."""
    begun = time.monotonic()
    if chance.random() < 0.2:
        delay = chance.uniform(0, startup)
        return lambda: time.monotonic() - begun >= delay
    target, after, reached = measured_step(run) + chance.randint(1, max(1, steps // 12)), chance.uniform(0, 1.2 * interval), []

    def due():
        if not reached and measured_step(run) >= target:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() - reached[0] >= after

    return due


def judge(run, whole, steps):
    """What a finished run does wrong; empty when nothing."""
    faults = []
    last = f"checkpoints/step_{steps:08}.safetensors"
    if (run / last).read_bytes() != (whole / last).read_bytes():
        faults.append("the last checkpoint is DIFFERENT from the uninterrupted run's")
    made = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    if made != list(range(1, steps + 1)):
        faults.append("metrics have steps MISSING or TWICE")
    left = [str(path) for path in run.rglob(".*.partial")]
    if left:
        faults.append(f"left over: {left}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gannet", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=FAMILIES, default="dcgan")
    arguments = parser.parse_args()
    gannet, chance = arguments.gannet.resolve(), random.Random(arguments.seed)
    steps = FAMILIES[arguments.family]["train"]["steps"]

    with tempfile.TemporaryDirectory(prefix="gannet-kill-") as name:
        folder = pathlib.Path(name)
        (folder / "data").write_bytes(dataset())
        (folder / "config.json").write_text(json.dumps(FAMILIES[arguments.family]))
        command = [gannet, "train", "config.json", "--data", "data", "--out"]
        options = {"cwd": folder, "stdout": subprocess.DEVNULL}
        whole, first_step, begun = folder / "whole", [], time.monotonic()

        def watch():
            if not first_step and measured_step(whole):
                first_step.append(time.monotonic() - begun)
            return False

        if resume(command, whole, options, watch) != 0:
            sys.exit("the uninterrupted run failed")
        total = time.monotonic() - begun
        startup = first_step[0] if first_step else total
        interval = (total - startup) / steps * TRAIN["checkpoint_every"]

        kills, number, faults = [], 1, []
        run = folder / "killed1"
        while len(kills) < arguments.kills:
            code = resume(command, run, options, moment(run, steps, startup, interval, chance))
            if code is None:
                kills.append((number, measured_step(run)))
                check_whole(gannet, run)
            elif code != 0:
                sys.exit(f"resuming after kill {len(kills)} at step {newest_step(run)}: exit code {code}")
            else:  # it was faster: judge it, and go on with another
                faults += judge(run, whole, steps)
                number += 1
                run = folder / f"killed{number}"
        if resume(command, run, options, lambda: False) != 0:
            sys.exit(f"resuming after the last kill at step {newest_step(run)} failed")
        faults += judge(run, whole, steps)
        distinct = len({(of, step) for of, step in kills if step > 0})
        if 2 * distinct < len(kills):
            faults.append(f"only {distinct} of the kills came at different steps")
        print(f"{arguments.family}: {len(kills)} kills in {number} runs (last step measured before each: "
              f"{[step for _, step in kills]}; {distinct} different ones); always resumed, no broken file; "
              f"{'; '.join(faults) or 'last checkpoint equal to the uninterrupted one, each step measured once, nothing left over'}")
        return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
