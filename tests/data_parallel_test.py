"""Several ranks train what one rank trains with the whole batch: the same figures and weights within rounding, the same bits on
every rank after every step (each checkpoint compares them) and in every run.

Usage: data_parallel_test.py [--simulator GANNET_SIM] [--ranks N ...] [--steps N] GANNET
"""

import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

MODEL = {"image_size": 16, "channels": 1, "latent": 8, "generator_features": 8, "discriminator_features": 8}
TRAIN = {"batch": 16, "sample_count": 4, "sample_every": 0, "checkpoint_every": 1, "keep_last": 1, "threads": 1, "ema": 0.99,
         "sync_batch_norm": True, "bucket_kib": 8}
FAMILIES = {"dcgan": {"model": {"family": "dcgan", **MODEL}, "train": TRAIN, "data": {"flip": True}},
            "wgan_gp": {"model": {"family": "wgan_gp", **MODEL}, "loss": {"kind": "wasserstein", "gradient_penalty": 10},
                        "train": {**TRAIN, "n_critic": 2}}}
SCALARS, WEIGHTS = 1e-5, 1e-4  # relative to the largest of the figure, or of the tensor


def dataset(count=64, side=16):
    images = bytes((n * 31 + x * y + (n % 7) * x) % 256 for n in range(count) for y in range(side) for x in range(side))
    header = json.dumps({"images": {"dtype": "U8", "shape": [count, side, side, 1], "data_offsets": [0, len(images)]}}).encode()
    return struct.pack("<Q", len(header)) + header + images


def tensors(file):
    """Name -> floats of a safetensors file."""
    data = file.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    result = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            result[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])
    return result


def figures(run):
    """Each figure of metrics.jsonl but the rate, step by step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0] if name not in ("step", "images_per_s")}


def apart(one, other):
    """The largest difference, relative to the largest magnitude."""
    if len(one) != len(other) or not all(map(math.isfinite, one + other)):
        return math.inf
    return max(abs(a - b) for a, b in zip(one, other)) / (max(map(abs, one)) or 1)


def same_numbers(name, one, other, allowed):
    if one.keys() != other.keys():
        raise AssertionError(f"{name}: {sorted(one.keys() ^ other.keys())} are not in both")
    worst = max((apart(list(one[key]), list(other[key])), key) for key in one)
    if worst[0] > allowed:
        raise AssertionError(f"{name}: {worst[1]} is {worst[0]:.1e} apart, {allowed:.0e} are allowed")
    return f"{worst[0]:.1e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gannet", type=pathlib.Path)
    parser.add_argument("--simulator", type=pathlib.Path, help="train with --device cuda on the simulator's devices")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--family", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    arguments = parser.parse_args()

    def train(folder, family, out, ranks, *more):
        command = [arguments.gannet.resolve(), "train", f"{family}.json", "--data", "data.safetensors", "--out", out, "--steps",
                   str(arguments.steps), *more]
        if arguments.simulator:
            command = [arguments.simulator.resolve(), "--devices", str(ranks), *command, "--device", "cuda", "--gpus", str(ranks)]
        elif ranks > 1:
            command += ["--processes", str(ranks)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
        if done.returncode != 0:
            raise AssertionError(f"{family} with {ranks} ranks: exit code {done.returncode}\n{done.stdout[-3000:]}")
        return folder / out

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "data.safetensors").write_bytes(dataset())
        last = f"checkpoints/step_{arguments.steps:08}.safetensors"
        for family in arguments.family:
            (folder / f"{family}.json").write_text(json.dumps(FAMILIES[family]))
            alone = train(folder, family, f"{family}-1", 1)
            for ranks in arguments.ranks:
                run = train(folder, family, f"{family}-{ranks}", ranks)
                scalars = same_numbers(f"{family}, {ranks} ranks", figures(alone), figures(run), SCALARS)
                weights = same_numbers(f"{family}, {ranks} ranks", tensors(alone / last), tensors(run / last), WEIGHTS)
                again = train(folder, family, f"{family}-{ranks}-again", ranks)
                if (run / last).read_bytes() != (again / last).read_bytes():
                    raise AssertionError(f"{family}, {ranks} ranks: two runs differ")
                print(f"{family}: {ranks} ranks against one over {arguments.steps} steps: figures {scalars}, weights {weights}; "
                      "two runs and all ranks alike to the bit", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
