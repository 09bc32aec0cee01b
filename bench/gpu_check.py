#!/usr/bin/env python3
"""Checks Gannet on the GPU of this machine and measures it: the CUDA tests on the device, training steps in every precision
beside PyTorch eager where that is installed, and single operators. Writes report.md and report.json. `tools/dev gpu-check`
builds what it needs and runs it.

    gpu_check.py --find            prints the compute capabilities of the devices ("80;90"); exit 1 with the reason where
                                   there is none
    gpu_check.py [OPTION]...       checks and measures; exit 1 when a test failed, or was skipped
"""

import argparse
import ctypes
import json
import pathlib
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = ("fp32", "tf32", "bf16")
SETTINGS = {"model.image_size": 64, "model.generator_features": 64, "model.discriminator_features": 64}
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
NO_DEVICE = 100  # CUresult
MAY_BE_SKIPPED = "cuda.vendor.device"  # where cuDNN or cuBLASLt is not installed


def find_architectures():
    """Of the devices that the driver has, as "80" for compute capability 8.0. The driver is asked, so nothing need be built."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        sys.exit("gpu-check: there is no GPU here: no CUDA driver is installed (libcuda.so.1)")
    status = driver.cuInit(0)
    count = ctypes.c_int()
    if status == 0:
        status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status not in (0, NO_DEVICE):
        sys.exit(f"gpu-check: there is no GPU here: the CUDA driver does not start (its error {status})")
    if count.value == 0:
        sys.exit("gpu-check: there is no GPU here: the CUDA driver finds no device")
    found = set()
    for index in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
        found.add(10 * major.value + minor.value)
    return sorted(found)


def output_of(command):
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"gpu-check: {' '.join(map(str, command))}: exit {done.returncode}")
    return done.stdout


def devices_of(options):
    lines = output_of([options.build / "bin/gannet", "doctor"]).splitlines()
    for line in lines:
        if line.startswith("GPU ") and "none: " in line:
            sys.exit(f"gpu-check: there is no GPU that Gannet can use: {line.split('none: ')[1]}")
    if any("Simulated" in line for line in lines):
        sys.exit("gpu-check: these devices are simulated, and a simulated time is none")
    return [" ".join(line.split()) for line in lines if line.startswith(("CUDA ", "cuDNN ", "GPU "))]


def run_tests(options):
    """Those that run on a device, without the simulator."""
    results = options.out / "tests.xml"
    results.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", options.build, "-R", r"^cuda\..*\.device$", "--no-tests=error", "--output-on-failure",
               "--timeout", "3000", "--output-junit", results]
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    code = subprocess.run([str(word) for word in command], stdout=sys.stderr).returncode
    if not results.exists():
        sys.exit(f"gpu-check: ctest gave no results: exit {code}")
    names = {"run": "passed", "fail": "failed", "notrun": "skipped", "disabled": "skipped"}
    return [{"name": case.get("name"), "result": names[case.get("status")], "seconds": float(case.get("time"))}
            for case in ElementTree.parse(results).getroot().iter("testcase")]


def gannet_step(options, precision, batch):
    settings = {**SETTINGS, "train.precision": precision, "train.batch": batch}
    lines = output_of([options.build / "bin/gannet", "bench", "step", "dcgan", "--device", "cuda", "--json",
                       "--warmup", options.warmup, "--steps", options.steps,
                       *(f"--set={key}={value}" for key, value in settings.items())]).splitlines()
    report = json.loads(lines[-1])
    return {"images_per_s": statistics.median(report["images_per_s"]), "step_ms": report["step_ms"],
            "gflop_per_s": report["gflop_per_s"], "first_step_s": report["first_step_s"]}


def pytorch_steps(options, precision, batch):
    """Images/s of every variant that may be its best."""
    rates = {}
    command = [options.pytorch, HERE / "pytorch_dcgan.py", "--device", "cuda", "--precision", precision, "--batch", batch,
               "--warmup", options.warmup, "--steps", options.steps]
    for layout in ("nchw", "channels-last"):
        for freeze in ([], ["--freeze"]):
            report = json.loads(output_of([*command, "--layout", layout, *freeze]).splitlines()[-1])
            rates[layout + (", D frozen" if freeze else "")] = statistics.median(report["images_per_s"])
    return rates


def pytorch_version(options):
    """None where there is no PyTorch that can use the device."""
    if options.pytorch is None:
        return None
    question = "import torch; print(torch.__version__ if torch.cuda.is_available() else '')"
    done = subprocess.run([options.pytorch, "-c", question], capture_output=True, text=True)
    return done.stdout.strip() or None


def run_steps(options, with_pytorch):
    rows = []
    for precision in PRECISIONS:
        for batch in options.batches:
            row = {"precision": precision, "batch": batch, "gannet": gannet_step(options, precision, batch)}
            if with_pytorch:
                row["pytorch"] = pytorch_steps(options, precision, batch)
            rows.append(row)
    return rows


def run_operators(options):
    """bench/operators.py, and the products once more in tf32."""
    results = {}
    products = [f"--only={kind}.*.fp32" for kind in ("fprop", "dgrad", "wgrad")]
    for name, more in (("fp32 and bf16", []), ("tf32", ["--tf32", *products])):
        out = options.out / f"operators-{name.split()[0]}.json"
        output_of([sys.executable, HERE / "operators.py", "run", "--program", options.build / "bin/cuda_operators",
                   "--batch", options.operator_batch, "--vendor", "--out", out, *more])
        results[name] = json.loads(out.read_text())["operators"]
    return results


def vendor_cells(row):
    return f"{row['vendor_cold_us']:.2f} | {row['vendor_ratio']:.2f}" if "vendor_ratio" in row else "- | -"


def markdown(report):
    lines = ["# Gannet on a GPU", "", *(f"- {device}" for device in report["devices"]), "", "## Tests", "",
             "| test | result | s |", "|---|---|---|"]
    lines += [f"| {test['name']} | {test['result']} | {test['seconds']:.1f} |" for test in report["tests"]]
    lines += ["", f"## The DCGAN step, 64x64, 64 features, median of {report['steps_timed']} steps", ""]
    if report["pytorch"]:
        lines += [f"PyTorch {report['pytorch']} eager, the best of its variants.", "",
                  "| precision | batch | images/s | ms | TFLOP/s | PyTorch images/s | its variant | ratio |",
                  "|---|---|---|---|---|---|---|---|"]
    else:
        lines += ["There is no PyTorch with CUDA here to compare with.", "",
                  "| precision | batch | images/s | ms | TFLOP/s |", "|---|---|---|---|---|"]
    for row in report["steps"]:
        own = row["gannet"]
        line = (f"| {row['precision']} | {row['batch']} | {own['images_per_s']:.0f} | {own['step_ms']:.3f} | "
                f"{own['gflop_per_s'] / 1e3:.2f} |")
        if "pytorch" in row:
            variant = max(row["pytorch"], key=row["pytorch"].get)
            best = row["pytorch"][variant]
            line += f" {best:.0f} | {variant} | {own['images_per_s'] / best:.2f} |"
        lines.append(line)
    for name, operators in report["operators"].items():
        lines += ["", f"## Operators, {name}, batch {report['operator_batch']}", "",
                  "| operator | cold us | warm us | GB/s | TFLOP/s | of the roofline | "
                  "cuDNN, cuBLASLt: cold us | ratio to it |",
                  "|---|---|---|---|---|---|---|---|"]
        lines += [f"| {row['name']} | {row['cold_us']:.2f} | {row['warm_us']:.2f} | "
                  f"{row['least_bytes'] / row['cold_us'] / 1e3:.0f} | {row['flops'] / row['cold_us'] / 1e6:.2f} | "
                  f"{row['share_of_roofline']:.1%} | " + vendor_cells(row) + " |" for row in operators]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--find", action="store_true", help="only look for devices")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build/release", help="folder of the build")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "build/gpu-check", help="folder of the report")
    parser.add_argument("--pytorch", help="a Python that has PyTorch; none: no comparison")
    parser.add_argument("--batches", type=lambda text: [int(word) for word in text.split(",")], default=[16, 64, 128])
    parser.add_argument("--operator-batch", type=int, default=128)
    parser.add_argument("--warmup", type=int, default=20, help="steps before the timed ones")
    parser.add_argument("--steps", type=int, default=100, help="timed steps")
    options = parser.parse_args()
    if options.find:
        print(";".join(map(str, find_architectures())))
        return
    report = {"devices": devices_of(options), "steps_timed": options.steps, "operator_batch": options.operator_batch}
    options.out.mkdir(parents=True, exist_ok=True)
    report["tests"] = run_tests(options)
    report["pytorch"] = pytorch_version(options)
    report["steps"] = run_steps(options, report["pytorch"] is not None)
    report["operators"] = run_operators(options)
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "report.md").write_text(markdown(report))
    print(markdown(report))
    print(f"written: {options.out / 'report.md'} and report.json")
    bad = [test["name"] for test in report["tests"]
           if test["result"] == "failed" or (test["result"] == "skipped" and test["name"] != MAY_BE_SKIPPED)]
    if bad:
        sys.exit(f"gpu-check: not passed: {', '.join(bad)}")


if __name__ == "__main__":
    main()
