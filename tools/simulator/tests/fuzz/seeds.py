"""Writes the files that fuzzing the simulator's front end starts from: seeds.py FOLDER."""
import pathlib
import re
import struct
import sys

root = pathlib.Path(sys.argv[1])
tests = pathlib.Path(__file__).resolve().parent.parent


def write(name, data):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def samples(header):
    text = (tests / header).read_text()
    quoted = {name: "".join(re.findall('"([0-9a-f]+)"', value)) for name, value in re.findall(r"(\w+)\[\] =((?:\s+\"[^\"]*\")+);", text)}
    raw = dict(re.findall(r'(\w+)\[\] = R"\((.*?)\)";', text, re.DOTALL))
    return quoted, raw


packed, raw = samples("fat_binary_samples.h")
for name, digits in packed.items():
    write(f"fat_binary/{name}", bytes.fromhex(digits))
text = raw["sample_ptx"].encode()
text += bytes(-len(text) % 8)
entry = struct.pack("<HHIQIIHHIIIQQQ", 1, 0x101, 64, len(text), 0, 0, 0, 9, 80, 0, 0, 0x11, 0, 0) + text
elf = struct.pack("<HHIQIIHHIIIQQQ", 2, 0x101, 64, 8, 0, 0, 0, 1, 90, 0, 0, 0x11, 0, 0) + b"\x7fELF\2\1\1A"
write("fat_binary/two", struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry + elf)) + entry + elf)

_, sample = samples("ptx_sample.h")
write("ptx/sample", sample["ptx_sample"].encode())
write("ptx/twice", raw["sample_ptx"].encode())
head = b".version 9.0 .target sm_80 .address_size 64\n"
statements = {
    "values": b""".func f; .global .u32 a = 3, b = -1; .const .f32 d[4] = {1.5, 0f40000000, 0d3ff8000000000000};
.global .u16 m[2][3] = {{1, 2}, {4}}; .global .u8 open[] = {1, 2,}; .global .v2 .u32 v[2] = {{1, 2}, {3, 4}};
.global .u64 p = a, q[3] = {generic(a)+4, f, generic(b + 1)}; .global .b8 mixed[4] = {7, 0xFF(f), 0xFF00(generic(a)), (1<<3)-1};
.global .s64 x = (.s64)(2 > 1 ? 0x7F : ~0U % 7); .global .attribute(.managed) .u32 y; .extern .shared .align 16 .b8 s[];""",
    "calls": b""".func (.param .b32 r) f (.param .b32 x); .alias g, f; .entry k (.param .u64 .ptr .global .align 8 p) .reqntid 32 { .reg .b64 q; .param .b32 a, c;
t: .calltargets f; o: .callprototype (.param .b32 _) _ (.param .b32 _) .noreturn; call (a), q, (c), t; call.uni (a), f, (c); call (a), q, (c), o; }""",
    "operands": b""".entry k () .maxntid 3,4 .pragma "x"; { .reg .pred p<3>, q; .reg .b32 r<9>; .reg .v4 .f32 v; .shared .b32 s[4];
@!p1 setp.lt.and.s32 p0|p1, r1, -5, !q; { .reg .b32 r1; l: ld.v4.f32 v, [s+4]; { bra l; } } ts: .branchtargets l, e; brx.idx r2, ts; l:
vadd.u32.u32.u32 r1, r2.b0, r3.h1; x.y::z [r1, {r2, _}], %tid.x; mov .b32 {r1,r2}, v.x; e: mov.u32 r1, (WARP_SZ<<2)|1; ld.u32 r1, [r2 + -4]; }""",
    "lines": b""".entry k { .reg .b32 r; .loc 1 21 3 mov.b32 r, 0; .loc 2 5 1, function_name $f+3, inlined_at 1 21 3 mov.b32 r, 1; ret; }
.file 1 "a.cu", 1, 2 .section .debug { "}" { x } } .file 2 "b.cu" """,
}
for name, text in statements.items():
    write(f"ptx/{name}", head + text)
