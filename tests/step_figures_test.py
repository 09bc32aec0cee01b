#!/usr/bin/env python3
"""The figures of a step, as `gannet bench step` and bench/step.py tell them, against others of the same step.

Usage: step_figures_test.py GANNET GANNET_SIM STEP.py
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

SETTINGS = ["train.precision=bf16", "train.batch=2", "model.image_size=16", "model.generator_features=8",
            "model.discriminator_features=8", "model.latent=8"]
TIMES = {"images_per_s", "step_ms", "first_step_s", "gflop_per_s"}
MMA_FLOPS = 2 * 16 * 8 * 16  # of an mma.m16n8k16


def output_of(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def near(value, expected, bound, what):
    assert abs(value - expected) <= bound * expected, f"{what}: {value}, expected {expected}"


def main(gannet, simulator, script):
    sets = [word for key in SETTINGS for word in ("--set", key)]
    simulated = [simulator, "--check", "none", gannet]

    # Under the simulator there are no times, and it says so.
    once = ["--warmup", "1", "--steps", "1"]
    text = output_of(*simulated, "bench", "step", "dcgan", "--device", "cuda", *once, *sets)
    assert "images/s" not in text and " ms" not in text and "means nothing" in text, text
    lines = [json.loads(line) for line in
             output_of(*simulated, "bench", "step", "dcgan", "--device", "cuda", "--json", *once, *sets).splitlines()]
    assert not TIMES & lines[-1].keys() and lines[-1]["simulated"] is True and "seconds" not in lines[0], lines
    on_cpu = json.loads(output_of(gannet, "bench", "step", "dcgan", "--json", *once, *sets[2:]).splitlines()[-1])
    assert TIMES <= on_cpu.keys() and on_cpu["simulated"] is False and "launches" not in on_cpu, on_cpu

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "step.json"
        table = output_of(sys.executable, "-B", script, "dcgan", *sets, "--gannet", gannet, "--simulator", simulator, "--out", out)
        result = json.loads(out.read_text())
    step, rows = result["step"], result["kernels"]

    # What the plan says, against its operators one by one.
    operators = json.loads(output_of(*simulated, "bench", "operators", "dcgan", "--device", "cuda", "--json", "--repeats", "1", *sets))
    products = [row for row in operators if row["kind"].startswith(("convolution", "matmul"))]
    assert products and len(products) < len(operators)
    for figures in (step, lines[-1]):
        assert figures["kernels"] == len(operators), (figures, len(operators))
        near(figures["flops"], sum(row["flops"] for row in operators), 1e-9, "flops")
        near(figures["product_flops"], sum(row["flops"] for row in products), 1e-9, "flops of products")
        near(figures["least_bytes"], sum(row["bytes"] for row in operators), 1e-9, "least bytes")
    assert lines[-1]["launches"] == step["graph_launches"] == 1

    # What was counted, against what can be known by hand: nothing of the steps before, or of what comes before them, is in it.
    assert step["launches"] == step["kernels"], f"{step['launches']} launches, {step['kernels']} kernels"
    parameters = re.search(r"generator ([\d,]+), discriminator ([\d,]+)", output_of(gannet, "train", "dcgan", "--dry-run", *sets[2:]))
    count = sum(int(number.replace(",", "")) for number in parameters.groups())
    update = [row for row in rows if "update<" in row["kernel"]]
    assert [row["launches"] for row in update] == [2], update
    # Adam reads parameter, gradient and two moments and writes all but the gradient; sectors at the tensors' ends are not full.
    near(update[0]["moved_bytes"], 7 * 4 * count, 0.1, "bytes of the updates")
    draw = [row for row in rows if "draw<" in row["kernel"]]
    assert len(draw) == 1 and draw[0]["moved_bytes"] == 32 + 32, draw  # the step's number; 2 * 8 numbers of 2 bytes
    assert step["tensor_flops"] == MMA_FLOPS * step["mma"] > step["product_flops"]
    near(step["tensor_work_used"], step["product_flops"] / step["tensor_flops"], 1e-9, "share of tensor work")
    near(step["moved_over_least"], step["moved_bytes"] / step["least_bytes"], 1e-9, "moved over least")
    assert 0.9 < step["moved_over_least"] < 1.15 and step["asked_bytes"] >= step["moved_bytes"], step
    for name in ("launches", "moved_bytes", "asked_bytes", "instructions", "mma", "conflicts"):
        assert step[name] == sum(row[name] for row in rows), name
    for line in (f"moved over least: {step['moved_over_least']:.3f}", f"tensor work used: {step['tensor_work_used']:.3f}",
                 f"the plan: {step['kernels']} kernels in 1 "):
        assert line in table, table
    print(f"{step['kernels']} kernels, moved over least {step['moved_over_least']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
