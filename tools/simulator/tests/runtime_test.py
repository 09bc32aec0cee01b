"""Runs self-checking programs of the runtime under every check in several schedules, and the command with what it must refuse.

usage: runtime_test.py GANNET_SIM FOLDER NVCC    FOLDER has the programs, built from runtime/*.cu
"""
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

SOURCES = pathlib.Path(__file__).parent / "runtime"
SCHEDULES = [[], ["--schedule", "adversarial", "--seed", "1"], ["--schedule", "adversarial", "--seed", "2", "--threads", "3"]]
# exit code, and what standard error has to say; programs not named here end with 0 and no error.
EXPECTED = {"sticky": (3, "memcheck: invalid address: write of 4 bytes at 0x0")}
SILENT = {"copies", "forks", "streams", "memory", "properties", "linked", "per_thread", "printing"}

failures = []


def expect(what, condition, detail):
    if not condition:
        failures.append(what)
        print(f"{what}: {detail}")


def run(command, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=300, **more)


def programs(simulator, folder):
    for program in sorted(folder.iterdir()):
        if not program.is_file() or not os.access(program, os.X_OK):
            continue
        name = program.name
        for schedule in SCHEDULES:
            done = run([simulator, "--devices", 4, "--check", "all", *schedule, program])
            what = " ".join([name, *schedule])
            code, message = EXPECTED.get(name, (0, ""))
            said = done.stdout[-500:] + done.stderr[-1500:]
            expect(what, done.returncode == code and message in done.stderr, f"exit code {done.returncode}: {said}")
            if name in SILENT:
                expect(what, not done.stderr, f"it is not silent: {said}")
            if name == "printing":
                expect(what, done.stdout == (SOURCES / "printing.txt").read_text(), f"other text:\n{done.stdout}")
            else:
                expect(what, done.stdout == "passed\n", f"it says {said}")


PROGRAM = """
#include <cuda_runtime.h>
#include <cstdio>
#include <cstdlib>
__global__ void k(int* x) { *x = 1; }
int main(int count, char** arguments) {
  int* x;
  cudaMalloc(&x, 4);
  k<<<1, 1>>>(x);
  if (count > 1 && arguments[1][0] == 'a') { cudaArray_t a; cudaChannelFormatDesc d = cudaCreateChannelDesc<float>(); cudaMallocArray(&a, &d, 4); }
  if (count > 1 && arguments[1][0] == 'f') k<<<1, 1>>>(nullptr);
  if (count > 1 && arguments[1][0] == 'k') { k<<<1, 1>>>(nullptr); cudaDeviceSynchronize(); std::abort(); }
  std::puts("end");
  return count > 1 ? std::atoi(arguments[1]) : 0;
}
"""


def refusals(simulator, nvcc):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = folder / "program.cu"
        source.write_text(PROGRAM)

        def build(target, *flags):
            done = run([nvcc, *flags, source, "-o", folder / target])
            expect(target, done.returncode == 0, done.stderr)
            return folder / target

        both = ["-gencode", "arch=compute_80,code=[compute_80,sm_80]"]
        good = build("good", *both, "-cudart", "shared")
        static = build("static", *both)
        machine_code = build("machine_code", "-gencode", "arch=compute_80,code=sm_80", "-cudart", "shared")
        newer = build("newer", "-gencode", "arch=compute_90,code=compute_90", "-cudart", "shared")
        text = folder / "text"
        text.write_text("hello")
        text.chmod(0o755)
        cut = folder / "cut"
        cut.write_bytes(good.read_bytes()[:300])
        cut.chmod(0o755)
        no_permission = folder / "no_permission"
        no_permission.write_bytes(good.read_bytes())
        no_permission.chmod(0o644)
        corrupt = folder / "corrupt"
        bytes_of = bytearray(good.read_bytes())
        at = -1
        while (at := bytes_of.find(b"\x50\xed\x55\xba", at + 1)) >= 0:
            bytes_of[at + 8:at + 16] = b"\xff" * 7 + b"\x7f"  # the size of the container
        corrupt.write_bytes(bytes_of)
        corrupt.chmod(0o755)
        for arguments, code, message in [
            ([good], 0, ""),
            ([good, "7"], 7, ""),
            ([good, "fault"], 3, "memcheck: invalid address"),
            ([good, "kill"], -6, "memcheck: invalid address"),
            ([good, "array"], 2, "gannet-sim: cudaMallocArray is not simulated"),
            (["--check", "none", good, "fault"], 0, ""),
            ([static], 2, "build it with -cudart shared"),
            ([machine_code], 2, "there is no PTX that sm_80 can run"),
            ([newer], 2, "there is no PTX that sm_80 can run"),
            (["--arch", "sm_90", newer], 0, ""),
            ([text], 2, "is not an ELF executable"),
            ([cut], 2, "cut short"),
            ([no_permission], 2, "is not executable"),
            ([folder / "nothing"], 2, "there is no program"),
            ([corrupt], 2, "gannet-sim: "),
            ([], 2, "no program is given"),
            (["--bogus", good], 2, "there is no option --bogus"),
            (["--check", "everything", good], 2, "there is no check 'everything'"),
            (["--devices", "17", good], 2, "'17' is not a number from 1 to 16"),
            (["--arch", "sm_60", good], 2, "there is no device model sm_60"),
            (["--seed"], 2, "gannet-sim: --seed: 1 required VALUE missing; see gannet-sim --help"),
            (["good"], 2, "there is no program good in PATH; the one in this folder is ./good"),
            (["--profile", folder / "nowhere/file", good], 2, "nowhere/file can not be written"),
            (["--profile", folder, good], 2, "can not be written"),
        ]:
            done = run([simulator, *arguments], cwd=folder)
            what = "gannet-sim " + " ".join(str(a).replace(str(folder) + "/", "") for a in arguments)
            expect(what, done.returncode == code and message in done.stderr and (message != "" or not done.stderr),
                   f"exit code {done.returncode} ({code} is right): {done.stderr[-600:]}")
        # What is no regular file takes the profile, and is not replaced by it.
        pipe = folder / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        done = run([simulator, "--profile", pipe, good])
        is_there = stat.S_ISFIFO(os.stat(pipe).st_mode)
        expect("a profile to a pipe", done.returncode == 0 and is_there and os.read(reader, 1) == b"{",
               f"exit code {done.returncode}, {'no ' * (not is_there)}pipe: {done.stderr}")
        os.close(reader)


def main():
    simulator, folder, nvcc = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    programs(simulator, folder)
    refusals(simulator, nvcc)
    print(f"{len(failures)} wrong" if failures else "passed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
