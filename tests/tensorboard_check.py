"""Loads a run's event files with TensorBoard's own reader and compares them with metrics.jsonl.

Usage: tensorboard_check.py RUN   with `pip install tensorboard` in the environment
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator


def as_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main():
    run = pathlib.Path(sys.argv[1])
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


if __name__ == "__main__":
    main()
