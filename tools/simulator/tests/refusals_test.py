"""What the simulator can not do, or can not read: each ends with a message that names it and an exit code, never a crash or a silent success.

usage: refusals_test.py GANNET_SIM NVCC
"""
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

CONTAINER = struct.pack("<I", 0xBA55ED50)  # of a fat binary
PTX_ONLY = ["-gencode", "arch=compute_80,code=compute_80"]
SHARED = ["-cudart", "shared"]

# The programs: a kernel, what is in it, and what the host does. `result` fails when the kernel's work was not done.
PROGRAM = r"""
#include <cstdio>
%(globals)s
__global__ void kernel(unsigned* out) {
  unsigned value = threadIdx.x;
  %(kernel)s
  out[threadIdx.x] = value + 1;
}
int main() {
  unsigned *out = nullptr, result[32] = {};
  %(host)s
  if (cudaMalloc(&out, sizeof result) != cudaSuccess) return 10;
  kernel<<<1, 32>>>(out);
  if (cudaGetLastError() != cudaSuccess) return 11;
  if (cudaDeviceSynchronize() != cudaSuccess) return 12;
  if (cudaMemcpy(result, out, sizeof result, cudaMemcpyDeviceToHost) != cudaSuccess) return 13;
  cudaFree(out);
  if (result[31] != 32) return 14;
  std::puts("ran to its end");
  return 0;
}
"""


def source(kernel="", host="", names=""):
    return PROGRAM % {"kernel": kernel, "host": host, "globals": names}


# Name: (source, flags of nvcc, options of gannet-sim, the message must match).
COMPILED = {
    "unknown instruction": (source('asm volatile("frobnicate.b32 %0, %0;" : "+r"(value));'), PTX_ONLY + SHARED, [], r"frobnicate"),
    "unknown modifier": (source('asm volatile("add.frob.u32 %0, %0, %0;" : "+r"(value));'), PTX_ONLY + SHARED, [], r"add\.frob\.u32"),
    "unknown special register": (source('asm volatile("mov.u32 %0, %%frob;" : "=r"(value));'), PTX_ONLY + SHARED, [], r"%frob"),
    "wgmma": (source('asm volatile("wgmma.fence.sync.aligned;");'), PTX_ONLY + SHARED, [], r"wgmma"),
    "cluster barrier": (source('asm volatile("barrier.cluster.arrive.aligned;");'), PTX_ONLY + SHARED, [], r"barrier\.cluster|cluster"),
    "texture instruction": (source('float f = tex1Dfetch<float>(texture, value); value += static_cast<unsigned>(f);',
                                   names="__constant__ cudaTextureObject_t texture;"), PTX_ONLY + SHARED, [], r"\btex"),
    "too few operands": (source('asm volatile("add.u32 %0, %0;" : "+r"(value));'), PTX_ONLY + SHARED, [], r"add\.u32"),
    "no such label": (source('asm volatile("bra nowhere;");'), PTX_ONLY + SHARED, [], r"nowhere"),
    "unknown API call": (source(host="cudaTextureObject_t t; cudaResourceDesc r{}; cudaTextureDesc d{}; cudaCreateTextureObject(&t, &r, &d, nullptr);"),
                         PTX_ONLY + SHARED, [], r"cudaCreateTextureObject"),
    "machine code alone": (source(), ["-gencode", "arch=compute_80,code=sm_80"] + SHARED, [], r"PTX"),
    "PTX for a newer device": (source(), ["-gencode", "arch=compute_90,code=compute_90"] + SHARED, ["--arch", "sm_80"], r"compute_90|sm_90|sm_80"),
    "runtime linked statically": (source(), PTX_ONLY + ["-cudart", "static"], [], r"-cudart shared"),
}


def truncated_ptx(data):
    """The second half of the PTX is gone: spaces."""
    begin = data.rindex(b".visible .entry")
    end = data.index(b"}", begin)
    middle = (begin + end) // 2
    return data[:middle] + b" " * (end + 1 - middle) + data[end + 1:]


def garbled_ptx(data):
    begin = data.rindex(b".visible .entry")
    return data[:begin] + b"\x01\x02{{{(((;;;" + data[begin + 11:]


def container_of(data):
    """Where the program's own container is: nvcc's start-up code has empty ones."""
    places = [m.start() for m in re.finditer(re.escape(CONTAINER), data)]
    return max((p for p in places if p + 16 <= len(data)), key=lambda p: struct.unpack_from("<Q", data, p + 8)[0] % (1 << 40))


def at_container(offset, bytes_):
    def change(data):
        at = container_of(data) + offset
        return data[:at] + bytes_ + data[at + len(bytes_):]
    return change


def at_payload(data):
    """Every byte of the compressed PTX but its first four is replaced."""
    at = container_of(data)
    header = struct.unpack_from("<I", data, at + 16 + 4)[0]
    size = struct.unpack_from("<I", data, at + 16 + 16)[0]
    begin = at + 16 + header + 4
    return data[:begin] + bytes(n * 37 % 251 for n in range(size - 4)) + data[begin + size - 4:]


def renamed_call(data):
    return data.replace(b"cudaDeviceSynchronize\0", b"cudaDeviceSynchronise\0")


# Name: (of the plain or the compressed program, what is done to its bytes, the message must match).
CHANGED = {
    "truncated PTX": ("plain", truncated_ptx, r"PTX"),
    "garbled PTX": ("plain", garbled_ptx, r"PTX"),
    "container without its magic number": ("plain", at_container(0, b"\0\0\0\0"), r"fat binary"),
    "container of too large a size": ("plain", at_container(8, b"\xff" * 8), r"fat binary"),
    "container of size 0": ("plain", at_container(8, b"\0" * 8), r"fat binary|PTX"),
    "header longer than its entry": ("plain", at_container(16 + 4, b"\xff\xff\xff\x7f"), r"fat binary"),
    "payload longer than the container": ("plain", at_container(16 + 8, b"\xff" * 7 + b"\x7f"), r"fat binary"),
    "compressed PTX that does not unpack": ("packed", at_payload, r"fat binary|zstd|LZ4"),
    "compressed PTX of a wrong size": ("packed", at_container(16 + 56, b"\x10\0\0\0\0\0\0\0"), r"fat binary|zstd|LZ4"),
    "compressed PTX of a huge size": ("packed", at_container(16 + 56, b"\xff" * 7 + b"\x7f"), r"fat binary|zstd|LZ4"),
    "function that no CUDA has": ("plain", renamed_call, r"cudaDeviceSynchronise"),
}


def judge(name, command, pattern, failures, may_run=False):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    said = done.stderr + done.stdout
    line = next((l for l in said.splitlines() if re.search(pattern, l)), "")
    wrong = ""
    if done.returncode < 0:
        wrong = f"killed by signal {-done.returncode}"
    elif done.returncode == 0:
        wrong = "exit code 0"
    elif not line:
        wrong = f"no message about {pattern}: {said[-300:]!r}"
    elif "terminate called" in said or ("ran to its end" in said and not may_run):
        wrong = said[-300:]
    print(f"{name:38}{done.returncode:5}  {wrong or line[:160]}", flush=True)
    if wrong:
        failures.append(name)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    simulator, nvcc = sys.argv[1:]
    failures = []
    print(f"{'what':38}{'code':>5}  message")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def compiled(program, text, flags):
            file = folder / f"{program}.cu"
            file.write_text(text)
            subprocess.run([nvcc, "-std=c++17", *flags, "-o", folder / program, file], check=True, stderr=subprocess.DEVNULL)
            return folder / program

        for n, (what, (text, flags, options, pattern)) in enumerate(COMPILED.items()):
            judge(what, [simulator, *options, compiled(f"compiled{n}", text, flags)], pattern, failures)

        programs = {"plain": compiled("plain", source(), PTX_ONLY + SHARED + ["--no-compress"]),
                    "packed": compiled("packed", source(), PTX_ONLY + SHARED)}
        for program in programs.values():  # as it is, it runs
            done = subprocess.run([simulator, program], capture_output=True, text=True)
            if done.returncode != 0 or "ran to its end" not in done.stdout:
                sys.exit(f"the unchanged program does not run: {done.returncode} {done.stderr}")
        for n, (what, (program, change, pattern)) in enumerate(CHANGED.items()):
            data = programs[program].read_bytes()
            changed = change(data)
            assert changed != data, what
            file = folder / f"changed{n}"
            file.write_bytes(changed)
            file.chmod(0o755)
            judge(what, [simulator, file], pattern, failures)

        text = folder / "text"
        text.write_text("nothing that runs\n")
        text.chmod(0o755)
        cut = folder / "cut"
        cut.write_bytes(programs["plain"].read_bytes()[:1000])
        cut.chmod(0o755)
        plain = programs["plain"]
        for what, command, pattern in [
            ("missing program", [folder / "missing"], r"missing"),
            ("no program", [], r"no program"),
            ("folder as program", [folder], re.escape(name)),
            ("text as program", [text], r"ELF"),
            ("executable cut short", [cut], r"cut"),
            ("unknown option", ["--frob", plain], r"--frob"),
            ("unknown device model", ["--arch", "sm_11", plain], r"sm_11|arch"),
            ("unknown check", ["--check", "frob", plain], r"frob"),
            ("too many devices", ["--devices", "1000", plain], r"1000|devices"),
            ("threads that are no number", ["--threads", "some", plain], r"some"),
            ("unknown schedule", ["--schedule", "frob", plain], r"frob"),
            ("profile that can not be written", ["--profile", folder / "none" / "profile.json", plain], r"profile\.json"),
        ]:
            judge(what, [simulator, *command], pattern, failures, may_run="profile" in what)  # it is written at the end
    print(f"{len(failures)} of {len(COMPILED) + len(CHANGED) + 12} refusals are not what they should be" if failures else
          f"{len(COMPILED) + len(CHANGED) + 12} refusals")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
