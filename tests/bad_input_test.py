"""Bad input to the gannet command: exit code 2, one line that says what is wrong, nothing changed on disk.

Usage: bad_input_test.py GANNET [--table]   --table prints every command with its message
"""

import os
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # asking for one is an error on every machine

TINY = {"model": {"family": "dcgan", "image_size": 16, "channels": 1, "latent": 8, "generator_features": 8, "discriminator_features": 8},
        "train": {"batch": 4, "steps": 2, "sample_count": 4, "threads": 1}}


def safetensors(header, data=b"", length=None):
    """A file with this header (a dict or bytes), and with this length written where the header's should be."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(kind, shape, begin, end):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def pictures(count, side, channels):
    size = count * side * side * channels
    return safetensors({"images": tensor("U8", [count, side, side, channels], 0, size)}, bytes(i * 7 % 251 for i in range(size)))


def png(side):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(side)) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def idx(count, side, present):
    return struct.pack(">IIII", 0x803, count, side, side) + bytes(present)


def make_files(folder, gannet):
    """What the commands below are given."""
    def write(name, content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))

    def run(*arguments):
        subprocess.run([gannet, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    write("tiny.json", TINY)
    write("wide.json", {**TINY, "model": {**TINY["model"], "generator_features": 16}})
    write("line.json", {"model": {"family": "gaussian1d"}, "train": {"batch": 8, "steps": 1, "threads": 1}})
    write("malformed.json", '{"model": {"family": "dcgan"},\n "train": {"batch": 4,}}')
    write("twice.json", '{"model": {"family": "dcgan", "family": "vanilla"}}')
    write("empty.json", "")
    write("list.json", "[]")
    write("no-family.json", {"train": {"batch": 4}})
    write("family-number.json", {"model": {"family": 3}})
    write("unknown-family.json", {"model": {"family": "dcgann"}})
    write("large.json", b" " * (2 << 20))
    write("binary.json", bytes(range(256)))
    (folder / "folder").mkdir()

    write("data", pictures(8, 16, 1))
    write("data-rgb", pictures(8, 16, 3))
    write("data-8", pictures(8, 8, 1))
    write("data-truncated", pictures(8, 16, 1)[:-100])
    write("data-none", safetensors({"images": tensor("U8", [0, 16, 16, 1], 0, 0)}))
    write("data-float", safetensors({"images": tensor("F32", [1, 2, 2, 1], 0, 16)}, bytes(16)))
    write("data-rank", safetensors({"images": tensor("U8", [4, 4], 0, 16)}, bytes(16)))
    write("data-labels", safetensors({"images": tensor("U8", [4, 2, 2, 1], 4, 20), "labels": tensor("I32", [1], 0, 4)}, bytes(20)))
    write("data-empty", b"")
    write("data-text", "these are not the tensors you are looking for")
    write("st-length", safetensors({}, length=1 << 60))
    write("st-short-length", b"\1\0\0")
    write("st-json", safetensors(b'{"images": '))
    write("st-utf8", safetensors(b'{"\xff\xfe": {}}'))
    write("st-deep", safetensors(b"[" * 50000))
    write("st-overlap", safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, bytes(6)))
    write("st-hole", safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 6, 10)}, bytes(10)))
    write("st-negative", safetensors({"a": tensor("U8", [4], -4, 0)}, bytes(4)))
    write("st-backward", safetensors({"a": tensor("U8", [4], 4, 0)}, bytes(4)))
    write("st-size", safetensors({"a": tensor("F32", [4], 0, 4)}, bytes(4)))
    write("st-product", safetensors({"a": tensor("U8", [1 << 33, 1 << 33], 0, 4)}, bytes(4)))
    write("st-type", safetensors({"a": tensor("F31", [1], 0, 4)}, bytes(4)))
    write("st-twice", safetensors(b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": {"dtype": "U8", "shape": [1], '
                                  b'"data_offsets": [1, 2]}}', bytes(2)))
    write("st-trailing", safetensors({"a": tensor("U8", [1], 0, 1)}, bytes(9)))

    write("pictures/good.png", png(20))
    write("pictures/bad.png", png(20)[:-40])
    (folder / "no-pictures").mkdir()
    write("short-idx3-ubyte", idx(10, 28, 1000))
    write("magic-idx3-ubyte", b"\0\0\x0b\3" + idx(1, 2, 4)[4:])
    write("good-idx3-ubyte", idx(2, 4, 32))
    write("gz-idx3-ubyte.gz", b"\x1f\x8b\x08\0" + bytes(30))

    run("train", "tiny.json", "--data", "data", "--out", "run")
    run("train", "wide.json", "--data", "data", "--out", "wide")
    run("train", "tiny.json", "--data", "data", "--out", "other")
    run("train", "tiny.json", "--data", "data", "--out", "damaged")
    run("train", "line.json", "--out", "line")
    shutil.copy(folder / "wide/checkpoints/step_00000002.safetensors", folder / "other/checkpoints")
    path = folder / "damaged/checkpoints/step_00000002.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    (folder / "bare").mkdir()
    write("bare/config.json", (folder / "run/config.json").read_text())
    write("odd/config.json", (folder / "run/config.json").read_text())
    write("odd/checkpoints", "no folder")
    write("weights", safetensors({"generator.main.0.weight": tensor("F32", [1], 0, 4)}, bytes(4)))
    write("z", safetensors({"z": tensor("F32", [2, 9], 0, 72)}, bytes(72)))
    write("replay", safetensors({"real": tensor("F32", [2, 4, 1, 16, 16], 0, 8192)}, bytes(8192)))


def train(*arguments, out="new", config="tiny.json", data="data"):
    return ["train", config, *(["--data", data] if data else []), "--out", out, *arguments]


# What is given, and words that the message must have.
CASES = [
    # usage
    ([], ["subcommand"]),
    (["trian"], ["'trian'", "'train'"]),
    (["--stepz"], ["'--stepz'"]),
    (["bench", "stpe"], ["'stpe'", "'step'"]),
    (["bench"], ["step, operators"]),
    (["train"], ["CONFIG"]),
    (train("--stepz", "3"), ["--stepz"]),
    (train("--steps", "0"), ["--steps"]),
    (train("--steps", "many"), ["--steps"]),
    (train("--steps", "99999999999999999999"), ["--steps", "from 1 to 1000000000"]),
    (train("--device", "tpu"), ["--device"]),
    (train("--device", "cuda"), ["--device cuda: ", "CUDA", "--device cpu"]),
    (train("--gpus", "2"), ["--gpus 2"]),
    (train("--gpus", "0"), ["--gpus", "from 1", "'0'"]),
    (train(out=""), ["--out", "''"]),
    (train("--threads", "-1"), ["--threads"]),
    # configurations
    (train(config="dcgann"), ["'dcgann'", "'dcgan'"]),
    (train(config="nowhere/at.json"), ["nowhere/at.json"]),
    (train(config="folder"), ["folder"]),
    (train(config="/dev/null"), ["/dev/null", "not a regular file"]),
    (train(config="malformed.json"), ["malformed.json", "line 2, column 23"]),
    (train(config="twice.json"), ["'family'", "twice"]),
    (train(config="empty.json"), ["empty.json"]),
    (train(config="list.json"), ["object"]),
    (train(config="binary.json"), ["binary.json"]),
    (train(config="large.json"), ["too large"]),
    (train(config="no-family.json"), ["model.family"]),
    (train(config="family-number.json"), ["model.family", "a text"]),
    (train(config="unknown-family.json"), ["'dcgann'", "'dcgan'"]),
    (train("--set", "train.bacth=4"), ["'train.bacth'", "'train.batch'"]),
    (train("--set", "train.batch=four"), ["train.batch", "an integer"]),
    (train("--set", "train.batch=0"), ["train.batch", "from 1"]),
    (train("--set", "train.batch=1.5"), ["train.batch", "an integer"]),
    (train("--set", "train.precision=fp8"), ["train.precision", "fp32"]),
    (train("--set", "generator_optimizer.learning_rate=-1"), ["learning_rate"]),
    (train("--set", "train={}x"), ["'train'", "object"]),
    (train("--set", "train.batch"), ["key=value"]),
    (train("--set", b"data.file=63\x86"), ["not UTF-8"]),
    (train(data=b"63\x86.safetensors"), ["not UTF-8"]),
    (train("--set", "model.image_size=48"), ["image_size"]),
    (train("--set", "model.channels=5"), ["model.channels"]),
    (train("--set", "loss.kind=wasserstein"), ["loss.kind"]),
    # datasets
    (train(data=None), ["--data"]),
    (train(data="nowhere"), ["nowhere"]),
    (train(data="folder"), ["folder"]),
    (train(data="data-empty"), ["data-empty"]),
    (train(data="data-text"), ["data-text"]),
    (train(data="data-truncated"), ["data-truncated"]),
    (train(data="data-none"), ["data-none"]),
    (train(data="data-float"), ["data-float"]),
    (train(data="data-rank"), ["data-rank"]),
    (train(data="data-labels"), ["data-labels", "labels"]),
    (train(data="data-8"), ["8x8", "16x16"]),
    (train(data="data-rgb"), ["3 channels"]),
    (train(data="replay"), ["replay"]),
    # safetensors
    *[(["info", name], [name]) for name in ("st-length", "st-short-length", "st-json", "st-utf8", "st-deep", "st-overlap", "st-hole",
                                            "st-negative", "st-backward", "st-size", "st-product", "st-type", "st-twice",
                                            "st-trailing", "data-text", "nowhere")],
    # sources
    (["prepare", "jpegs", "pictures", "--out", "new"], ["jpegs"]),
    (["prepare", "folder", "nowhere", "--out", "new", "--size", "16"], ["nowhere"]),
    (["prepare", "folder", "pictures", "--out", "new", "--size", "16"], ["bad.png"]),
    (["prepare", "folder", "pictures", "--out", "new"], ["size"]),
    (["prepare", "folder", "no-pictures", "--out", "new", "--size", "16"], ["no-pictures"]),
    (["prepare", "idx", "short-idx3-ubyte", "--out", "new"], ["short-idx3-ubyte"]),
    (["prepare", "idx", "magic-idx3-ubyte", "--out", "new"], ["magic-idx3-ubyte"]),
    (["prepare", "idx", "gz-idx3-ubyte.gz", "--out", "new"], ["gz-idx3-ubyte.gz"]),
    (["prepare", "idx", "good-idx3-ubyte", "--out", "data"], ["data"]),
    (["prepare", "cifar10", "good-idx3-ubyte", "--out", "new"], ["good-idx3-ubyte"]),
    (["prepare", "emoji", "good-idx3-ubyte", "--out", "new"], ["good-idx3-ubyte"]),
    (["prepare", "idx", "good-idx3-ubyte", "--out", "new", "--filter", "sinc"], ["sinc"]),
    # runs
    (train(out="run"), ["--resume"]),
    (train(out="pictures"), ["not empty"]),
    (train(out="data"), ["not a folder"]),
    (train("--resume"), ["new"]),
    (train("--resume", out="pictures"), ["config.json"]),
    (train("--resume", out="bare"), ["no checkpoint"]),
    (train("--resume", out="run", config="wide.json"), ["model.generator_features: 8, now 16"]),
    (train("--resume", "--set", "train.seed=2", out="run"), ["train.seed"]),
    (train("--resume", "--steps", "1", out="run"), ["2 steps already"]),
    (train("--resume", "--steps", "4", out="other"), ["another model", "generator.main.0.weight"]),
    (train("--resume", "--steps", "4", out="damaged"), ["step_00000002.safetensors"]),
    (train("--resume", "--init", "weights", "--steps", "4", out="run"), ["--init"]),
    (train("--init", "nowhere"), ["nowhere"]),
    (train("--init", "weights"), ["weights", "generator.main.1.weight"]),
    (train("--init", "data"), ["generator."]),
    (train("--replay", "replay"), ["'z'"]),
    (train("--replay", "data"), ["'real'"]),
    (["sample", "nowhere"], ["nowhere"]),
    (["sample", "bare"], ["no checkpoint"]),
    (["sample", "odd"], ["cannot read folder", "odd/checkpoints"]),
    (["sample", "damaged"], ["step_00000002.safetensors"]),
    (["sample", "data"], ["not a checkpoint"]),
    (["sample", "run", "--out", "new.jpg"], ["new.jpg"]),
    (["sample", "run", "--count", "0"], ["--count"]),
    (["sample", "run", "--seed", "-1"], ["--seed", "'-1'"]),
    (["sample", "run", "--out", "nowhere/new.png"], ["nowhere", "no such folder"]),
    (["sample", "run", "--z", "z"], ["(2,9)", "(8)"]),
    (["sample", "run", "--z", "data"], ["'z'"]),
    (["sample", "run", "--interpolate", "1-2"], ["A:B"]),
    (["sample", "line"], ["safetensors"]),
    (["eval", "run"], ["--data"]),
    (["eval", "run", "--data", "data-rgb"], ["3 channels"]),
    (["eval", "run", "--data", "data", "--metrics", "fid"], ["fid"]),
    (["eval", "line", "--data", "data"], ["gaussian1d"]),
    (["bench", "step", "nothing"], ["'nothing'"]),
    (["bench", "operators"], ["CONFIG"]),
]


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(folder.rglob("*"))}


def main():
    gannet = pathlib.Path(sys.argv[1]).resolve()
    table = "--table" in sys.argv[2:]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="gannet-bad-input-") as name:
        folder = pathlib.Path(name)
        make_files(folder, gannet)
        before = snapshot(folder)
        for arguments, words in CASES:
            done = subprocess.run([gannet, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=60, check=False)
            command, message = " ".join(map(os.fsdecode, ["gannet", *arguments])), done.stderr
            faults = []
            if done.returncode != 2:
                faults.append(f"exit code {done.returncode}")
            if message.count("\n") != 1 or not message.startswith("gannet: error: "):
                faults.append("not one line beginning with 'gannet: error: '")
            faults += [f"does not say '{word}'" for word in words if word not in message]
            after = snapshot(folder)
            if after != before:
                changed = sorted(set(after.items()) ^ set(before.items()))
                faults.append("changed on disk: " + ", ".join(sorted({path for path, _ in changed})))
                before = after
            if table:
                print(f"{command}\n    {message.strip()}")
            if faults:
                failures += 1
                print(f"FAILED {command}\n    {message.strip()}\n    " + "\n    ".join(faults))
    print(f"{len(CASES) - failures} of {len(CASES)} bad inputs are refused with exit code 2, one message and nothing changed")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
