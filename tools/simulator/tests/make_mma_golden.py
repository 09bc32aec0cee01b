#!/usr/bin/env python3
"""Makes golden/mma.txt: what mma.sync must compute, from the independent model of PyPI `mmasim` (floating point) and from numpy (integers).

    pip install mmasim numpy && python3 make_mma_golden.py golden/mma.txt

For every form, architecture and kind of input there are 20 blocks of 50 matrices; a line holds a checksum of each block's results and the first
results in full. Inputs come from a counter-based generator that mma_golden.h implements too, so they need no place. Forms that an architecture
does not have in hardware are composed of those it has, in the way of ptxas 13.0's code for them: see `emulated_*`.
"""
import sys

import numpy as np
import torch
from mmasim.arithmetic.fma import fma
from mmasim.nv_ptx import MMA

BLOCKS, BLOCK = 20, 50
U64 = np.uint64
FORMATS = {"f16": (5, 10), "bf16": (8, 7), "tf32": (8, 23), "e4m3": (4, 3), "e5m2": (5, 2), "f32": (8, 23), "f64": (11, 52)}
ARCHITECTURES = {75: "Turing", 80: "Ampere", 89: "Ada Lovelace", 90: "Hopper", 120: "RTX Blackwell"}


def mix(x):
    """The finaliser of splitmix64."""
    x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
    return x ^ (x >> U64(31))


def random_bits(key, index):
    """64 bits for each index; `key` names the stream (FNV-1a)."""
    seed = 0xCBF29CE484222325
    for c in key.encode():
        seed = ((seed ^ c) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return mix(U64(seed) + (index + U64(1)) * U64(0x9E3779B97F4A7C15))


SCHEMES = 10  # of extreme inputs, one a matrix in turn
MODERATE = 10


def float_bits(element, r, scheme, accumulator):
    """Bits of a number of format `element`, made of random bits `r` in the way of `scheme`."""
    e, m = FORMATS[element]
    bias, top = U64((1 << (e - 1)) - 1), U64((1 << e) - 1)
    none = r * U64(0)
    ones = U64((1 << m) - 1)
    sign, mantissa, pick = r >> U64(63), r & ones, (r >> U64(52)) & U64(0x7FF)
    moderate = bias - U64(6) + pick % U64(13)
    corner = np.choose(((r >> U64(50)) & U64(3)).astype(np.int64), [none, none + U64(1), none + ones, none + (ones + U64(1)) // U64(2)])
    single_bit = U64(1) << ((r >> U64(40)) % U64(m))
    zero = (pick % U64(4) != 0) if accumulator else (pick % U64(2) == 0)
    special = pick % U64(32) == 0
    # Products of these have exponents about those that a zero counts with.
    near_zero = np.where(zero, U64(0), pick % U64(3) if accumulator else (bias - U64(60) - pick % U64(12)) if e == 8 else pick % U64(5))

    field = np.choose(scheme, [
        pick & top,                                   # 0: any bits
        pick % U64(3),                                # 1: denormals and the least numbers
        top - U64(1) - pick % U64(3),                 # 2: overflow
        moderate,                                     # 3: pairs of products that cancel (see inputs)
        np.where(special, top, np.where(pick % U64(32) == 1, U64(0), moderate)),  # 4: infinities, NaNs, zeros
        near_zero,                                    # 5
        pick % top,                                   # 6: any finite number
        (bias + U64(4) + pick % U64(8)) if accumulator else (bias - U64(2) + pick % U64(4)),  # 7: ties
        none + bias,                                  # 8: sums as large as they get
        near_zero,                                    # 9: with single bits, so that ties depend on the last place
        moderate,
    ])
    mantissa = np.choose(scheme, [
        mantissa, mantissa, mantissa, mantissa,
        np.where(((r >> U64(51)) & U64(1) == 0) & special | (pick % U64(32) == 1), U64(0), mantissa),
        np.where(zero, U64(0), mantissa), mantissa, corner, ones - pick % U64(4),
        np.where(zero, U64(0), np.where((r >> U64(50)) & U64(1) == 0, U64(0), single_bit)), mantissa])
    sign = np.where(scheme == 8, U64(0), sign)
    return (sign << U64(e + m)) | (np.minimum(field, top) << U64(m)) | mantissa


def integer_bits(width, r, extreme):
    r32 = r & U64((1 << width) - 1)
    choice = ((r >> U64(40)) & U64(3)).astype(np.int64)
    zero = r32 * U64(0)
    corners = np.choose(choice, [zero + U64(1 << (width - 1)), zero + U64((1 << (width - 1)) - 1), zero + U64((1 << width) - 1), r32])
    return corners if extreme else r32


def inputs(key, element, rows, columns, first, extreme, operand, pair_axis):
    """Bits of BLOCK matrices. In the scheme of cancellation an odd k repeats the even one before it, A with the other sign."""
    matrix = np.arange(first, first + BLOCK, dtype=np.uint64)[:, None, None]
    i = np.arange(rows, dtype=np.uint64)[None, :, None] + matrix * U64(0)
    j = np.arange(columns, dtype=np.uint64)[None, None, :] + matrix * U64(0)
    scheme = (matrix % U64(SCHEMES)).astype(np.int64) if extreme else np.full_like(matrix, MODERATE).astype(np.int64)
    stream = f"{key}/{'extreme' if extreme else 'random'}/{operand}"

    def bits_at(i, j):
        r = random_bits(stream, (matrix * U64(rows) + i) * U64(columns) + j)
        if element in FORMATS:
            return float_bits(element, r, scheme, operand == "c"), r
        width = {"s8": 8, "u8": 8, "s4": 4, "u4": 4, "b1": 1, "s32": 32}[element]
        return integer_bits(width, r, extreme and width > 1), r

    bits, r = bits_at(i, j)
    if pair_axis is not None and element in FORMATS:
        k = i if pair_axis == 0 else j
        odd = ((k & U64(1)) == 1) & (scheme == 3)
        even_i, even_j = (i & ~U64(1), j) if pair_axis == 0 else (i, j & ~U64(1))
        other, _ = bits_at(even_i, even_j)
        e, m = FORMATS[element]
        if operand == "a":
            other = other ^ U64(1 << (e + m))
        flip = ((r >> U64(48)) & U64(3)) == 0
        bits = np.where(odd, other ^ np.where(flip, U64(1 << (13 if element == "tf32" else 0)), U64(0)), bits)
    return bits


def tensor(bits, element):
    kinds = {"f16": (np.int16, torch.float16), "bf16": (np.int16, torch.bfloat16), "tf32": (np.int32, torch.float32), "f32": (np.int32, torch.float32),
             "e4m3": (np.int8, torch.float8_e4m3fn), "e5m2": (np.int8, torch.float8_e5m2), "f64": (np.int64, torch.float64)}
    integer, kind = kinds[element]
    unsigned = {np.int8: np.uint8, np.int16: np.uint16, np.int32: np.uint32, np.int64: np.uint64}[integer]
    return torch.from_numpy(bits.astype(unsigned).view(integer).copy()).view(kind)


def bits_of(t, element):
    integer = {"f16": torch.int16, "f32": torch.int32, "f64": torch.int64}[element]
    unsigned = {"f16": np.uint16, "f32": np.uint32, "f64": np.uint64}[element]
    bits = t.contiguous().view(integer).numpy().view(unsigned).astype(np.uint64)
    nan = {"f16": 0x7FFF, "f32": 0x7FFFFFFF, "f64": 0xFFF8000000000000}[element]  # the payload of a NaN is not part of the model
    return np.where(np.isnan(t.numpy()), U64(nan), bits)


def model(architecture, form):
    """The batched multiply of mmasim: a [..., m, k], b [..., k, n], c [..., m, n]."""
    operation = MMA(ARCHITECTURES[architecture], form)

    def multiply(a, b, c):
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        rows = a[..., :, None, :].expand(*a.shape[:-2], m, n, k).contiguous()
        columns = b.transpose(-1, -2)[..., None, :, :].expand(*a.shape[:-2], m, n, k).contiguous()
        return operation.dpa(rows, columns, c.clone())

    return multiply


def emulated_float8(architecture, form):
    """sm_90: bytes 0 and 1 of each register as an f16 mma of half the depth from zero, then bytes 2 and 3, then C is added to nearest."""
    shape, d = form.split(".")[:2]
    k = int(shape.split("k")[1])
    half = model(architecture, f"m16n8k{k // 2}.{d}.f16.f16.{d}")
    low = [i for i in range(k) if i % 4 < 2]
    high = [i for i in range(k) if i % 4 >= 2]

    def multiply(a, b, c):
        a, b = a.to(torch.float16), b.to(torch.float16)
        product = half(a[..., low], b[..., low, :], torch.zeros_like(c))
        product = half(a[..., high], b[..., high, :], product)
        return (c.float() + product.float()).to(c.dtype)

    return multiply


def emulated_m8n8k4(form):
    """sm_80 and later: fused multiply-adds of fp32 in the order of k, then C; with an f16 C two pairs are added to it one after the other."""
    d, c_type = form.split(".")[1], form.split(".")[4]

    def multiply(a, b, c):
        shape = c.shape + (4,)
        a = a.float()[..., :, None, :].expand(shape)
        b = b.float().transpose(-1, -2)[..., None, :, :].expand(shape)
        c = c.float()
        zero = torch.zeros_like(c)
        if c_type == "f32":
            total = zero
            for k in range(4):
                total = fma(a[..., k], b[..., k], total)
            result = c + total
        else:
            low = fma(a[..., 1], b[..., 1], a[..., 0] * b[..., 0])
            high = fma(a[..., 3], b[..., 3], a[..., 2] * b[..., 2])
            result = (c + low) + high
        return result.to(torch.float16) if d == "f16" else result

    return multiply


def float_block(multiply, elements, bits):
    d, a, b, c = elements
    result = multiply(tensor(bits[0], a), tensor(bits[1], b), tensor(bits[2], c))
    return bits_of(result, d)


def signed(bits, element):
    width = {"s8": 8, "u8": 8, "s4": 4, "u4": 4, "s32": 32, "b1": 1}[element]
    value = bits.astype(np.int64)
    return np.where(value >> (width - 1) != 0, value - (1 << width), value) if element[0] == "s" else value


def integer_block(saturate, operation, elements, bits):
    a, b, c = (signed(x, e) for x, e in zip(bits, elements[1:]))
    if operation == "xor":
        total = c + (a.sum(2)[:, :, None] + b.sum(1)[:, None, :] - 2 * np.matmul(a, b))
    else:
        total = c + np.matmul(a, b)
    if saturate:
        total = np.clip(total, -(1 << 31), (1 << 31) - 1)
    return total.astype(np.uint64) & U64(0xFFFFFFFF)


def forms():
    """architecture, text behind `mma.sync.aligned.`, shape.d.a.b.c, the function of a block."""
    for architecture, half in ((75, []), (80, ["m16n8k16"]), (90, ["m16n8k16"])):
        names = [f"{s}.{d}.f16.f16.{d}" for s in ["m16n8k8"] + half for d in ("f32", "f16")]
        if architecture >= 80:
            names += [f"{s}.f32.bf16.bf16.f32" for s in ("m16n8k8", "m16n8k16")] + [f"{s}.f32.tf32.tf32.f32" for s in ("m16n8k4", "m16n8k8")]
            names += ["m8n8k4.f64.f64.f64.f64"]
        if architecture >= 90:
            names += [f"m16n8k{k}.f64.f64.f64.f64" for k in (4, 8, 16)]
        for name in names:
            yield architecture, name, model(architecture, name)
        for name in ("m8n8k4.f32.f16.f16.f32", "m8n8k4.f32.f16.f16.f16", "m8n8k4.f16.f16.f16.f16"):
            yield architecture, name, model(architecture, name) if architecture < 80 else emulated_m8n8k4(name)
    for architecture in (89, 90, 120):
        for k in (16, 32):
            for d in ("f32", "f16"):
                for a in ("e4m3", "e5m2"):
                    for b in ("e4m3", "e5m2"):
                        name = f"m16n8k{k}.{d}.{a}.{b}.{d}"
                        yield architecture, name, emulated_float8(architecture, name) if architecture == 90 else model(architecture, name)
    for family, shapes in (("8", ("m8n8k16", "m16n8k16", "m16n8k32")), ("4", ("m8n8k32", "m16n8k32", "m16n8k64"))):
        for shape in shapes:
            for a in "su":
                for b in "su":
                    for saturate in (False, True):
                        yield 80, f"{shape}{'.satfinite' if saturate else ''}.s32.{a}{family}.{b}{family}.s32", (saturate, "")
    for shape in ("m8n8k128", "m16n8k128", "m16n8k256"):
        for operation in ("xor", "and"):
            yield 80, f"{shape}.s32.b1.b1.s32.{operation}.popc", (False, operation)


def main():
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    with open(sys.argv[1], "w") as out:
        out.write("# architecture form kind: 20 checksums, each of the results of 50 matrices, then the first 16 results. By make_mma_golden.py.\n")
        for architecture, form, how in forms():
            if only not in form:
                continue
            parts = [p for p in form.split(".") if p != "satfinite"]
            elements = parts[1:5]
            m, rest = parts[0][1:].split("n")
            n, k = rest.split("k")
            m, n, k = int(m), int(n), int(k)
            for extreme in (False, True):
                sums, head = [], None
                for block in range(BLOCKS):
                    first = block * BLOCK
                    key = form
                    bits = (inputs(key, elements[1], m, k, first, extreme, "a", 1), inputs(key, elements[2], k, n, first, extreme, "b", 0),
                            inputs(key, elements[3], m, n, first, extreme, "c", None))
                    result = integer_block(*how, elements, bits) if isinstance(how, tuple) else float_block(how, elements, bits)
                    flat = result.reshape(-1)
                    head = flat[:16] if head is None else head
                    index = np.arange(flat.size, dtype=np.uint64)
                    with np.errstate(over="ignore"):
                        total = mix(mix(flat + U64(0x632BE59BD9B4E019)) + (index + U64(1)) * U64(0x9E3779B97F4A7C15)).sum(dtype=np.uint64)
                    sums.append(f"{int(total):016x}")
                digits = {"f16": 4, "f64": 16}.get(elements[0], 8)
                out.write(f"{architecture} {form} {'extreme' if extreme else 'random'} {''.join(sums)} {''.join(f'{int(x):0{digits}x}' for x in head)}\n")
            print(architecture, form, flush=True)


np.seterr(over="ignore")
main()
