#!/usr/bin/env python3
"""The NVTX ranges of training steps, seen by a library that listens as a profiler does, on the simulator.

Usage: nvtx_test.py GANNET_SIM GANNET LISTENER.so
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

DCGAN = ["dcgan", "model.image_size=16", "model.generator_features=8", "model.discriminator_features=8", "model.latent=8",
         "train.batch=2"]
WGAN_GP = ["wgan_gp", "model.image_size=16", "model.generator_features=8", "model.discriminator_features=8", "model.latent=8",
           "train.batch=2", "train.n_critic=2"]


def listen(simulator, gannet, listener, what, configuration, *options):
    """The events ("graph" or "kernel", ranges around it), the ranges without one, and what the command printed."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "events"
        settings = ["--device", "cuda", *(word for key in configuration[1:] for word in ("--set", key))]
        command = [simulator, "--check", "none", gannet, "bench", what, configuration[0], *settings, *options]
        environment = {**os.environ, "NVTX_LISTENER": str(log), "NVTX_INJECTION64_PATH": listener, "LD_PRELOAD": listener}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        events, stack, names = [], [], set()
        assert "domain gannet" in log.read_text().splitlines()
        for line in log.read_text().splitlines():
            event, _, name = line.partition(" ")
            if event == "push":
                stack.append(name)
                names.add(name)
            elif event == "pop":
                stack.pop()  # IndexError: more ends than beginnings
            elif event in ("graph", "kernel"):
                events.append((event, tuple(stack)))
        assert not stack, f"ranges without an end: {stack}"
        return events, names, done.stdout


def timed(events):
    return [(event, ranges[1:]) for event, ranges in events if ranges[:1] == ("timed",)]


def figures(output):
    report = json.loads(output.splitlines()[-1])
    return {key: report[key] for key in ("loss_d", "loss_g", "d_real", "d_fake")}


def check_operators(ranges, player, operator):
    """Kernels of the operator, which is the player's, are in its range and that in the player's."""
    found = [one for one in ranges if one[-1].startswith(operator)]
    assert found, f"no range of {operator} in {sorted({one[-1] for one in ranges})}"
    assert all(one[-2:-1] == (player,) for one in found), found


def main():
    programs = sys.argv[1:4]
    steps = ["--warmup", "1", "--steps", "2", "--json"]

    events, names, graph_output = listen(*programs, "step", DCGAN, *steps)
    assert timed(events) == [("graph", ("step",))] * 2, timed(events)
    assert "discriminator.main.2 conv_fprop" in {name.split(" + ")[0] for name in names}, "not named while it is captured"

    events, _, output = listen(*programs, "step", DCGAN, *steps, "--kernel-by-kernel")
    kinds = {event for event, _ in timed(events)}
    assert kinds == {"kernel"}, kinds
    ranges = [ranges for _, ranges in timed(events)]
    assert all(one[0] == "step" and len(one) in (2, 3) for one in ranges), ranges
    for operator in ("discriminator.main.2 conv_fprop", "discriminator.main.2 conv_wgrad", "discriminator.update adam_update"):
        check_operators(ranges, "discriminator", operator)
    for operator in ("generator.main.3 conv_dgrad", "generator.main.3 conv_wgrad", "generator.update adam_update"):
        check_operators(ranges, "generator", operator)
    assert len(ranges) % 2 == 0 and ranges[:len(ranges) // 2] == ranges[len(ranges) // 2:], "two steps differ"
    assert figures(output) == figures(graph_output), "kernel by kernel, other numbers come out than from the graph"

    events, _, _ = listen(*programs, "step", WGAN_GP, *steps)
    assert timed(events) == [("graph", ("critic",)), ("graph", ("critic",)), ("graph", ("generator",))] * 2, timed(events)

    events, _, _ = listen(*programs, "operators", DCGAN, "--repeats", "1")
    ranges = [ranges for event, ranges in events if event == "kernel" and ranges[:1] == ("step",)]
    assert any(one[-1].startswith("generator.main.0 conv_dgrad") for one in ranges), ranges
    print(f"{len(ranges)} kernels in the ranges of their operators")


if __name__ == "__main__":
    main()
