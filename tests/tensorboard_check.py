"""Loads a run's event files with TensorBoard's own reader and compares them with metrics.jsonl.

Usage: tensorboard_check.py RUN              of a run that is there
       tensorboard_check.py --train GANNET   of a small run, trained for it in two parts: it has two event files
Exits with 77 where the package tensorboard is missing.
"""

import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

if importlib.util.find_spec("tensorboard") is None:
    print("the Python package tensorboard is missing: skipped")
    sys.exit(77)

from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from kill_resume_test import FAMILIES, dataset


def as_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def check(run):
    events = EventAccumulator(str(run), size_guidance={SCALARS: 0, IMAGES: 0})
    events.Reload()
    metrics = {line["step"]: line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())}
    scalars = 0
    for tag in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), f"{tag}: steps {steps}"
        for event in events.Scalars(tag):
            wanted = metrics[event.step][tag]
            assert abs(event.value - as_float32(wanted)) <= 1e-6 * abs(wanted), f"{tag} at step {event.step}: {event.value}, not {wanted}"
            scalars += 1
    pictures = events.Images("samples") if "samples" in events.Tags()["images"] else []
    for event in pictures:
        file = run / f"samples/step_{event.step:08}.png"
        assert event.encoded_image_string == file.read_bytes(), f"picture of step {event.step} differs from {file}"
        assert (event.width, event.height) == struct.unpack(">II", event.encoded_image_string[16:24])
    assert scalars, "no scalars"
    print(f"{run}: {scalars} scalars equal metrics.jsonl, {len(pictures)} pictures equal samples/")
    return scalars, len(pictures)


def train_and_check(gannet):
    with tempfile.TemporaryDirectory(prefix="gannet-tensorboard-") as name:
        folder = pathlib.Path(name)
        (folder / "data").write_bytes(dataset())
        for steps in (30, 60):
            configuration = json.loads(json.dumps(FAMILIES["dcgan"]))
            configuration["train"].update(steps=steps, tensorboard_every=3)
            (folder / "config.json").write_text(json.dumps(configuration))
            resume = ["--resume"] if steps > 30 else []
            subprocess.run([gannet, "train", "config.json", "--data", "data", "--out", "run", *resume], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL)
        scalars, pictures = check(folder / "run")
        assert scalars >= 4 * 20 and pictures >= 3, "fewer than were written"


def main():
    if sys.argv[1] == "--train":
        train_and_check(pathlib.Path(sys.argv[2]).resolve())
    else:
        check(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
