"""Counters of textbook kernels against values worked out by hand.

usage: profile_test.py GANNET_SIM TEXTBOOK_PROGRAM
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

WARPS = 32  # a grid of 4 blocks of 256 threads, as most of these have

LD = "l1tex__t_{}_pipe_lsu_mem_global_op_ld.sum"
ST = "l1tex__t_{}_pipe_lsu_mem_global_op_st.sum"
SHARED = "l1tex__data_pipe_lsu_{}_mem_shared_op_{}.sum"
CONFLICTS = "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_{}.sum"


def global_load(requests, sectors):
    return {LD.format("requests"): requests, LD.format("sectors"): sectors}


def global_store(requests, sectors):
    return {ST.format("requests"): requests, ST.format("sectors"): sectors}


def unique(read, written):
    return {"unique_sectors_read.sum": read, "unique_sectors_written.sum": written}


def shared(op, wavefronts, conflicts):
    return {SHARED.format("wavefronts", op): wavefronts, CONFLICTS.format(op): conflicts}


# A warp of 32 lanes of 4 bytes touches 128 bytes: 4 sectors of 32 bytes when they lie side by side on a multiple of 32.
EXPECTED = {
    "coalesced": global_load(WARPS, 4 * WARPS) | global_store(WARPS, 4 * WARPS) | unique(4 * WARPS, 4 * WARPS),
    # Every second word of 256 bytes: 8 sectors.
    "strided2": global_load(WARPS, 8 * WARPS) | global_store(WARPS, 4 * WARPS),
    # 128 bytes from lane to lane: a sector each.
    "strided32": global_load(WARPS, 32 * WARPS),
    # 128 bytes from byte 4 on: the last word falls into a fifth sector.
    "shifted": global_load(WARPS, 5 * WARPS) | unique(4 * WARPS + 1, 4 * WARPS),
    "vector4": global_load(WARPS, 16 * WARPS) | global_store(WARPS, 16 * WARPS),
    "doubles": global_load(WARPS, 8 * WARPS) | global_store(WARPS, 8 * WARPS),
    "bytes": global_load(WARPS, WARPS) | global_store(WARPS, WARPS),
    # Four blocks read the four words of one sector.
    "broadcast": global_load(WARPS, WARPS) | unique(1, 4 * WARPS),
    # 32 warps, a row each: rows are read in 4 sectors, columns written in 32.
    "transpose_naive": global_load(32, 4 * 32) | global_store(32, 32 * 32) | unique(4 * 32, 4 * 32),
    # A column of a tile of 32 words a row lies in one bank: 32 wavefronts, 31 of them conflicts.
    "transpose_shared": global_store(32, 4 * 32) | shared("st", 32, 0) | shared("ld", 32 * 32, 31 * 32),
    "transpose_padded": global_store(32, 4 * 32) | shared("st", 32, 0) | shared("ld", 32, 0),
    # Loads: two for each of 4 + 2 + 1 full warps and the five steps within warp 0 (12 warp steps), one for the result. Stores: 8 warps, then the 12 steps.
    "reduce_shared": shared("ld", 4 * (2 * 12 + 1), 0) | shared("st", 4 * (8 + 12), 0) | global_store(4, 4),
    "reduce_shuffle": {"class.warp": 5 * WARPS} | global_store(WARPS, WARPS),
    # All 32 lanes at one address: 31 beyond the first; then each at its own.
    "count_all": {"smsp__inst_executed_op_global_red.sum": WARPS, "smsp__inst_executed_op_shared_atom.sum": 0,
                  "atomic_lanes_at_one_address.sum": 31 * WARPS} | unique(1, 1),
    "count_lanes": {"smsp__inst_executed_op_global_red.sum": WARPS, "atomic_lanes_at_one_address.sum": 0},
    "count_shared": {"smsp__inst_executed_op_shared_atom.sum": WARPS, "smsp__inst_executed_op_global_atom.sum": 4,
                     "smsp__inst_executed_op_global_red.sum": 0},
    # Words 0, 2, … 62: two in each even bank.
    "shared_stride2": shared("ld", 2 * WARPS, WARPS) | shared("st", 2 * WARPS, 0),
    # 512 bytes a warp through 128 bytes a wavefront: 4, and none too many.
    "shared_vector4": shared("ld", 4 * WARPS, 0) | shared("st", 4 * WARPS, 0),
    # Odd and even lanes part once; the loop's lanes stay together.
    "divergent": {"smsp__branch_targets_threads_divergent.sum": WARPS},
    # Ten fused multiply-adds a thread.
    "polynomial": {"flops.sum": 1024 * 20, "class.fp32": 10 * WARPS},
    # A cp.async reads 16 bytes a lane of global memory once, and its writes to shared memory are no loads or stores of the kernel.
    "async_copy": global_load(WARPS, 16 * WARPS) | global_store(WARPS, 16 * WARPS) | shared("ld", 4 * WARPS, 0) | shared("st", 0, 0)
    | {"smsp__sass_data_bytes_mem_global_op_ld.sum": 1024 * 16, "smsp__sass_data_bytes_mem_shared_op_ld.sum": 1024 * 16},
    # 2 * 16 * 8 * 16 operations an instruction; the three additions of 32 lanes are counted apart.
    "tensor_tile": {"sm__inst_executed_pipe_tensor.sum": 4, "tensor_flops.sum": 4 * 4096, "flops.sum": 3 * 32},
}


def main(simulator, program):
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "profile.json"
        subprocess.run([simulator, "--check", "all", "--profile", target, program], check=True)
        kernels = {k["kernel"].split("(")[0]: k for k in json.loads(target.read_text())["kernels"]}
    wrong = 0
    for name, expected in EXPECTED.items():
        kernel = kernels[name]
        # ptxas gives every kernel some registers, few enough for a block of it.
        launch = kernel["launch"]
        if not (launch["launch__registers_per_thread"] or 0) > 0 or not (launch["launch__occupancy_limit_registers"] or 0) > 0:
            wrong += 1
            print(f"{name}: registers and the occupancy that they allow are not known")
        values = kernel["metrics"] | {f"class.{c}": n for c, n in kernel["instructions_by_class"].items()}
        for metric, value in expected.items():
            if values[metric] != value:
                wrong += 1
                print(f"{name}: {metric} is {values[metric]}, by hand {value}")
    figures = sum(len(e) for e in EXPECTED.values())
    print(f"{len(EXPECTED)} kernels, {figures} figures, {wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
