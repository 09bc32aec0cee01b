#!/usr/bin/env python3
"""What the kernels of one training step do on gannet-sim, against the least that the step's plan allows.

    step.py CONFIG [--set key=value]... [--out FILE.json]        (as gannet bench step; give it a small problem)

Profiles a run of one timed step and a run of two: what the second has more is one step. A line a kernel:

  launches   of the kernel in a step
  moved      MB in the different 32-byte sectors that its launches touch: what memory has to move even with a perfect cache
             within a launch;  asked: MB in the sectors of all requests, also of threads that wait for other blocks
  instr      warp instructions;  mma: of them on tensor cores
  conflicts  wavefronts of shared memory beyond the least

Below: kernels of the plan, bytes moved over the least bytes of the plan (each kernel's operands once), and the share of the
multiplications issued on tensor cores that the plan's convolutions and products of matrices need (above 1 where CUDA cores do
some of them).
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build/release/bin"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configuration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a key of the configuration")
    parser.add_argument("--gannet", default=BUILD / "gannet")
    parser.add_argument("--simulator", default=BUILD / "gannet-sim")
    parser.add_argument("--out", type=pathlib.Path, help="write the JSON here")
    return parser.parse_args()


def profile(options, steps):
    """Sums of the counters of all launches by kernel, and what gannet says of a step."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "profile.json"
        command = [options.simulator, "--check", "none", "--profile", file, options.gannet, "bench", "step", options.configuration,
                   "--device", "cuda", "--json", "--warmup", "1", "--steps", str(steps)]
        command += [word for key in options.set for word in ("--set", key)]
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")
        counters = collections.defaultdict(collections.Counter)
        for kernel in json.loads(file.read_text())["kernels"]:
            own = counters[kernel["kernel"]]
            own["launches"] += kernel["launches"]
            for name, value in kernel["metrics"].items():
                if name.endswith(".sum"):
                    own[name[:-4]] += value
    return counters, json.loads(done.stdout.splitlines()[-1])


def short(kernel):
    """forward<float, 4, 0> of void gannet::kernels::cuda::(anonymous namespace)::forward<float, (int)4, (bool)0>(Task)"""
    name = re.sub(r"^void |\(anonymous namespace\)::|gannet::kernels::|cuda::", "", kernel)
    name = re.sub(r"\([A-Za-z][\w:]*\)(?=\d)", "", name)
    name = re.sub(r"\([^()]*\)$", "", name)
    return name if len(name) <= 60 else name[:59] + "…"


def figures_of(kernel, counters):
    both = ("ld", "st")
    sectors = sum(counters[f"l1tex__t_sectors_pipe_lsu_mem_global_op_{way}"] for way in both)
    return {"kernel": kernel, "launches": counters["launches"],
            "moved_bytes": 32 * (counters["unique_sectors_read"] + counters["unique_sectors_written"]),
            "asked_bytes": 32 * sectors, "instructions": counters["smsp__inst_executed"],
            "mma": counters["sm__inst_executed_pipe_tensor"], "tensor_flops": counters["tensor_flops"],
            "conflicts": sum(counters[f"l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_{way}"] for way in both)}


def step_of(options):
    (before, _), (after, plan) = profile(options, 1), profile(options, 2)
    for kernel, counters in after.items():
        counters.subtract(before.get(kernel, {}))
    rows = [figures_of(kernel, counters) for kernel, counters in after.items() if counters["launches"]]
    rows.sort(key=lambda row: -row["moved_bytes"])
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name != "kernel"}
    total |= {"kernels": plan["kernels"], "graph_launches": plan["launches"], "flops": plan["flops"],
              "product_flops": plan["product_flops"], "least_bytes": plan["least_bytes"],
              "moved_over_least": total["moved_bytes"] / plan["least_bytes"],
              "tensor_work_used": plan["product_flops"] / total["tensor_flops"] if total["tensor_flops"] else None}
    return {"configuration": options.configuration, "settings": options.set, "backend": plan["backend"], "step": total,
            "kernels": rows}


def print_table(result):
    print(f"{'kernel':60} {'launches':>8} {'moved MB':>9} {'share':>6} {'asked MB':>9} {'instr':>11} {'mma':>9} {'conflicts':>9}")
    step = result["step"]
    for row in [*result["kernels"], {**step, "kernel": "a step"}]:
        print(f"{short(row['kernel']):60} {row['launches']:8} {row['moved_bytes'] / 1e6:9.3f} "
              f"{100 * row['moved_bytes'] / step['moved_bytes']:5.1f}% {row['asked_bytes'] / 1e6:9.3f} {row['instructions']:11} "
              f"{row['mma']:9} {row['conflicts']:9}")
    print(f"\nthe plan: {step['kernels']} kernels in {step['graph_launches']} launches of graphs, "
          f"{step['product_flops'] / 1e9:.4g} GFLOP of products, {step['least_bytes'] / 1e6:.3f} MB at least")
    print(f"moved over least: {step['moved_over_least']:.3f}")
    if step["tensor_work_used"] is not None:
        print(f"tensor work used: {step['tensor_work_used']:.3f}")


def main():
    options = arguments()
    result = step_of(options)
    print_table(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
