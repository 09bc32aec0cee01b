"""Kills a training at random moments and resumes it: it must always go on, leave no broken file, and end with the same bytes as a
training that nobody killed.

Usage: kill_resume_test.py GANNET [--kills N] [--seed N] [--family NAME]
"""

import argparse
import json
import pathlib
import random
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gannet", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=FAMILIES, default="dcgan")
    arguments = parser.parse_args()
    gannet, chance = arguments.gannet.resolve(), random.Random(arguments.seed)

    with tempfile.TemporaryDirectory(prefix="gannet-kill-") as name:
        folder = pathlib.Path(name)
        (folder / "data").write_bytes(dataset())
        (folder / "config.json").write_text(json.dumps(FAMILIES[arguments.family]))
        command = [gannet, "train", "config.json", "--data", "data", "--out"]
        options = {"cwd": folder, "stdout": subprocess.DEVNULL}
        start = time.monotonic()
        subprocess.run([*command, "whole"], check=True, **options)
        whole, run = time.monotonic() - start, folder / "killed"

        kills, finished, moments = 0, False, []
        while kills < arguments.kills:
            resume = ["--resume"] if (run / "config.json").exists() else []
            with subprocess.Popen([*command, "killed", *resume], **options) as process:
                # Short lives, so that all kills fall into one training; some fall into its start.
                try:
                    code = process.wait(timeout=chance.uniform(0, 2.5 * whole / arguments.kills))
                    finished = True
                    if code != 0:
                        sys.exit(f"resuming after kill {kills} at step {newest_step(run)}: exit code {code}")
                except subprocess.TimeoutExpired:
                    process.kill()
                    finished = False
            if finished:
                break
            kills += 1
            check_whole(gannet, run)
            moments.append(newest_step(run))
        if not finished:
            resume = ["--resume"] if (run / "config.json").exists() else []
            subprocess.run([*command, "killed", *resume], check=True, **options)
        last = f"checkpoints/step_{FAMILIES[arguments.family]['train']['steps']:08}.safetensors"
        same = (run / last).read_bytes() == (folder / "whole" / last).read_bytes()
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        once = steps == list(range(1, FAMILIES[arguments.family]["train"]["steps"] + 1))
        left = [str(path) for path in run.rglob(".*.partial")]
        print(f"{arguments.family}: {kills} kills (newest checkpoint after each: {moments}); always resumed, no broken file; "
              f"last checkpoint {'equal to' if same else 'DIFFERENT from'} the uninterrupted run's; "
              f"metrics have {'each step once' if once else 'steps MISSING or TWICE'}; left over: {left or 'nothing'}")
        return not (same and once and not left and kills == arguments.kills)


if __name__ == "__main__":
    sys.exit(main())
