#!/usr/bin/env python3
"""Measures single operators of the CUDA backend: times on a GPU, counters on the simulator.

    operators.py run [TABLE] [--simulator gannet-sim] [--batch N] [--only PATTERN]... [--out FILE.json]
    operators.py compare BEFORE.json AFTER.json [--bound 0.05]

With --simulator every operator runs once in a process of its own under `gannet-sim --profile`. What the columns mean:

  moved    bytes in the different 32-byte sectors that its kernels touch, over the least that must be read and written once:
           what memory has to move even with a perfect cache between two reads of a kernel
  asked    bytes in the sectors of all requests, over the same: 1 where nothing is read twice through the first cache
  used     share of the bytes in requested sectors that a thread asked for: 1 is ideal, whatever the width of an access
  s/req    sectors a request of global memory (16 bytes a thread: 16)
  issue    warp instructions that an A100 can issue in the time that its memory takes for the least bytes: the share taken
  mma      warp instructions for one mma; conflicts: wavefronts of shared memory beyond the least; waves: A100, H100

On a GPU: microseconds cold and warm (least of several), and the time that the roofline allows as a share of the cold time. With
--vendor, convolutions and products also by cuDNN and cuBLASLt, and the ratio of their cold time to ours: above 1 ours is the
faster. What the operator ends with (bias, activation, slope) is a pass behind them; where cuDNN has no engine from bf16 to f32 (the
gradient of a filter) it is given f32, by a pass before; both gradients of a convolution are two kernels of theirs. Their time
has it all.
compare exits with 1 when an operator has become worse by more than the bound, or is gone.
"""

import argparse
import fnmatch
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build/release/bin"

# What a multiprocessor has, and how many there are.
GPUS = {"A100": {"multiprocessors": 108, "shared": 164 << 10}, "H100": {"multiprocessors": 132, "shared": 228 << 10}}
A100_LANES_PER_S = 108 * 128 * 1.41e9  # four warp instructions a clock and multiprocessor
A100_BYTES_PER_S = 1.555e12

PRODUCTS = ("convolution", "matmul")  # what cuDNN and cuBLASLt have

# Figure -> its sign: +1 where more is worse.
COMPARED = {"cold_us": 1, "warm_us": 1, "vendor_ratio": -1, "moved": 1, "asked": 1, "used": -1, "instructions": 1, "per_mma": 1,
            "conflicts": 1, "registers": 1, "spills": 1, "occupancy": -1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure the operators of a table")
    run.add_argument("table", nargs="?", default=HERE / "operators_dcgan64.txt")
    run.add_argument("--program", default=BUILD / "cuda_operators")
    run.add_argument("--simulator", nargs="?", const=BUILD / "gannet-sim", help="count on gannet-sim instead of timing on a GPU")
    run.add_argument("--batch", type=int, help="what N in the table stands for (128; 8 on the simulator)")
    run.add_argument("--only", action="append", default=[], metavar="PATTERN", help="operators whose names match (*, ?)")
    run.add_argument("--tf32", action="store_true", help="fp32 products may be of tf32")
    run.add_argument("--vendor", action="store_true", help="on a GPU: cuDNN and cuBLASLt beside ours")
    run.add_argument("--out", help="write the JSON here")
    compare = commands.add_parser("compare", help="two results side by side")
    compare.add_argument("before")
    compare.add_argument("after")
    compare.add_argument("--bound", type=float, default=0.05, help="how much worse a figure may become (0.05)")
    return parser.parse_args()


def names_of(options):
    names = [line.split()[0] for line in open(options.table) if line.split("#")[0].strip()]
    chosen = [name for name in names if not options.only or any(fnmatch.fnmatch(name, one) for one in options.only)]
    if not chosen:
        sys.exit(f"{options.table} has no such operator")
    return chosen


def lines_of(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return rows[0], rows[1:]


def waves(kernel, gpu):
    """Rounds of blocks that a GPU needs, from what a block takes of a multiprocessor."""
    launch = kernel["launch"]
    blocks = kernel["grid"][0] * kernel["grid"][1] * kernel["grid"][2]
    shared = launch["launch__shared_mem_per_block_static"] + launch["launch__shared_mem_per_block_dynamic"] + 1024
    resident = min(launch["launch__occupancy_limit_warps"], launch["launch__occupancy_limit_registers"],
                   launch["launch__occupancy_limit_blocks"], GPUS[gpu]["shared"] // shared)
    return blocks / (max(resident, 1) * GPUS[gpu]["multiprocessors"])


def counted(row, kernels):
    """Figures of an operator from the counters of its kernels."""
    total = {}
    for kernel in kernels:
        for name, value in kernel["metrics"].items():
            if name.endswith(".sum"):
                total[name[:-4]] = total.get(name[:-4], 0) + value
    sectors = {way: total[f"l1tex__t_sectors_pipe_lsu_mem_global_op_{way}"] for way in ("ld", "st")}
    requests = {way: total[f"l1tex__t_requests_pipe_lsu_mem_global_op_{way}"] for way in ("ld", "st")}
    asked_bytes = sum(total[f"smsp__sass_data_bytes_mem_global_op_{way}"] for way in ("ld", "st"))
    # Threads that wait for other blocks ask again and again, by generic loads of a word: that is no part of the work.
    waiting = sum(kernel["instructions_by_class"].get("load_generic", 0) for kernel in kernels)
    sectors["ld"], requests["ld"] = sectors["ld"] - waiting, requests["ld"] - waiting
    least = row["least_bytes"]
    mma = total["sm__inst_executed_pipe_tensor"]
    instructions = total["smsp__inst_executed"]
    launches = [kernel["launch"] for kernel in kernels]
    figures = {
        "kernels": sum(kernel["launches"] for kernel in kernels),
        "moved": 32 * (total["unique_sectors_read"] + total["unique_sectors_written"]) / least,
        "asked": 32 * sum(sectors.values()) / least,
        "used": asked_bytes / (32 * sum(sectors.values())) if sum(sectors.values()) else None,
        "sectors_per_load": sectors["ld"] / requests["ld"] if requests["ld"] else None,
        "sectors_per_store": sectors["st"] / requests["st"] if requests["st"] else None,
        "instructions": instructions,
        "lane_instructions_per_16_bytes": 16 * total["smsp__thread_inst_executed_pred_on"] / least,
        "issue_share": 32 * instructions / A100_LANES_PER_S / (least / A100_BYTES_PER_S),
        "per_mma": instructions / mma if mma else None,
        "mma": mma,
        "tensor_work_used": row["flops"] / total["tensor_flops"] if total["tensor_flops"] else None,
        "conflicts": sum(total[f"l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_{way}"] for way in ("ld", "st")),
        "registers": max(launch["launch__registers_per_thread"] for launch in launches),
        "spills": max(launch["launch__local_bytes_per_thread"] for launch in launches),
        "occupancy": min(launch["sm__maximum_warps_per_active_cycle_pct"] for launch in launches) / 100,
        "waves": {gpu: sum(waves(kernel, gpu) for kernel in kernels) for gpu in GPUS},
        "launches": [{key: kernel[key] for key in ("kernel", "grid", "block", "launches", "launch")} for kernel in kernels],
    }
    return {**row, **figures}


def run_on_simulator(options, names):
    rows, device = [], {}
    with tempfile.TemporaryDirectory() as folder:
        profile = pathlib.Path(folder) / "profile.json"
        for name in names:
            device, own = lines_of([options.simulator, "--check", "none", "--profile", profile, options.program, options.table,
                                    "--batch", options.batch or 8, "--only", name, *(["--tf32"] if options.tf32 else [])])
            rows.append(counted(own[0], json.loads(profile.read_text())["kernels"]))
            print_row(rows[-1], first=len(rows) == 1)
    return device, rows


def least_seconds(row, device):
    precision = "bf16" if "bf16(" in row["problem"] else "tf32" if device["tf32"] else "fp32"
    product = row["operator"].startswith(PRODUCTS)
    rate = device[f"{precision}_per_s"] if product else device["fp32_per_s"]
    return max(row["least_bytes"] / device["bytes_per_s"], row["flops"] / rate)


def vendor_row(command):
    """The same operator by cuDNN or cuBLASLt; the reason, as a text, where they are not there."""
    done = subprocess.run([str(part) for part in [*command, "--kernels", "vendor"]], capture_output=True, text=True)
    if done.returncode == 2:
        return done.stderr.strip()
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} --kernels vendor: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def run_on_gpu(options, names):
    rows, device = [], {}
    vendor = options.vendor
    for name in names:
        command = [options.program, options.table, "--batch", options.batch or 128, "--only", name,
                   *(["--tf32"] if options.tf32 else [])]
        device, own = lines_of(command)
        if device["simulated"]:
            sys.exit("this is the simulator, which has no times: give --simulator")
        row = own[0]
        row |= {"cold_us": 1e6 * row.pop("cold_s"), "warm_us": 1e6 * row.pop("warm_s")}
        row["share_of_roofline"] = 1e6 * least_seconds(row, device) / row["cold_us"]
        if vendor and row["operator"].startswith(PRODUCTS):
            of_vendor = vendor_row(command)
            if isinstance(of_vendor, str):
                print(f"nothing of cuDNN and cuBLASLt: {of_vendor}", file=sys.stderr)
                vendor = False
            else:
                row |= {"vendor_cold_us": 1e6 * of_vendor["cold_s"], "vendor_warm_us": 1e6 * of_vendor["warm_s"]}
                row["vendor_ratio"] = row["vendor_cold_us"] / row["cold_us"]
        rows.append(row)
        print_row(row, first=len(rows) == 1)
    return device, rows


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def print_row(row, first):
    if "moved" in row:
        if first:
            print(f"{'operator':46} {'least MB':>8} {'moved':>6} {'asked':>6} {'used':>5} {'ld s/req':>8} {'st s/req':>8} {'issue':>6} "
                  f"{'mma':>6} {'conflicts':>9} {'reg':>3} {'spill':>5} {'occ':>4}  waves")
        of_gpu = " ".join(f"{gpu} {value:.2f}" for gpu, value in row["waves"].items())
        print(f"{row['name']:46} {row['least_bytes'] / 1e6:8.3f} {row['moved']:6.3f} {row['asked']:6.3f} {number(row['used']):>5} "
              f"{number(row['sectors_per_load'], 1):>8} {number(row['sectors_per_store'], 1):>8} {row['issue_share']:6.2f} "
              f"{number(row['per_mma'], 1):>6} {row['conflicts']:9} {row['registers']:3} {row['spills']:5} {row['occupancy']:4.2f}  "
              f"{of_gpu}", flush=True)
        return
    if first:
        print(f"{'operator':46} {'cold us':>9} {'warm us':>9} {'GB/s':>7} {'TFLOP/s':>8} {'roofline':>8} {'vendor us':>9} "
              f"{'ratio':>5}")
    print(f"{row['name']:46} {row['cold_us']:9.2f} {row['warm_us']:9.2f} {row['least_bytes'] / row['cold_us'] / 1e3:7.0f} "
          f"{row['flops'] / row['cold_us'] / 1e6:8.2f} {100 * row['share_of_roofline']:7.1f}% "
          f"{number(row.get('vendor_cold_us')):>9} {number(row.get('vendor_ratio')):>5}", flush=True)


def compare(options):
    before, after = (json.loads(pathlib.Path(file).read_text()) for file in (options.before, options.after))
    for key in ("device", "batch", "tf32"):
        if before["device"][key] != after["device"][key]:
            sys.exit(f"{key} differs: {before['device'][key]}, now {after['device'][key]}")
    old, new = ({row["name"]: row for row in side["operators"]} for side in (before, after))
    worse = [f"{name}: gone" for name in old if name not in new]
    for name, row in new.items():
        if name not in old:
            print(f"{name:46} new")
            continue
        for figure, sign in COMPARED.items():
            was, now = old[name].get(figure), row.get(figure)
            if was is None or now is None or was == now:
                continue
            change = (now - was) / was if was else float("inf")
            print(f"{name:46} {figure:14} {was:14.3f} {now:14.3f} {100 * change:+8.1f}%")
            if sign * change > options.bound:
                worse.append(f"{name}: {figure} {was:.3f}, now {now:.3f}")
    for line in worse:
        print(f"worse: {line}")
    sys.exit(1 if worse else 0)


def main():
    options = arguments()
    if options.command == "compare":
        compare(options)
    names = names_of(options)
    device, rows = (run_on_simulator if options.simulator else run_on_gpu)(options, names)
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps({"device": device, "operators": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
