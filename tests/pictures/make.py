"""Makes the pictures of image_test.cpp: PNG of every kind, by hand, and JPEG by Pillow. Run in this folder."""
import struct
import zlib

from PIL import Image

WIDTH, HEIGHT = 8, 6
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
# Adam7: first row, first column, row step, column step
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, depth):
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    bits = "".join(format(sample, f"0{depth}b") for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def png(name, colour, depth, pixel, extra=b"", interlaced=False):
    rows = b""
    for y0, x0, dy, dx in PASSES if interlaced else [(0, 0, 1, 1)]:
        for y in range(y0, HEIGHT, dy):
            samples = [sample for x in range(x0, WIDTH, dx) for sample in pixel(y, x)]
            if samples:
                rows += b"\0" + packed(samples, depth)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, int(interlaced))
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def grey(y, x):
    return 5 * (8 * y + x)


def rgb(y, x):
    return grey(y, x), 255 - grey(y, x), 30 * x


png("grey1.png", GREY, 1, lambda y, x: [(x + y) % 2])
png("grey2.png", GREY, 2, lambda y, x: [(x + y) % 4])
png("grey4.png", GREY, 4, lambda y, x: [(8 * y + x) % 16])
png("grey8.png", GREY, 8, lambda y, x: [grey(y, x)])
png("grey16.png", GREY, 16, lambda y, x: [257 * grey(y, x)])
png("rgb8.png", RGB, 8, rgb)
png("rgb8_interlaced.png", RGB, 8, rgb, interlaced=True)
png("rgb8_key.png", RGB, 8, rgb, chunk(b"tRNS", struct.pack(">HHH", *rgb(2, 3))))
png("rgb16.png", RGB, 16, lambda y, x: [257 * value for value in rgb(y, x)])
png("palette4.png", PALETTE, 4, lambda y, x: [(x + y) % 3], chunk(b"PLTE", bytes([200, 0, 0, 0, 100, 0, 0, 0, 50])) + chunk(b"tRNS", bytes([128])))
png("grey_alpha8.png", GREY_ALPHA, 8, lambda y, x: [grey(y, x), 36 * x])
png("rgba8.png", RGBA, 8, lambda y, x: [*rgb(y, x), 36 * x])

colours = Image.new("RGB", (16, 12))
colours.putdata([(10 * x, 20 * y, 100) for y in range(12) for x in range(16)])
colours.save("rgb.jpg", quality=95, subsampling=0)
colours.save("rgb_progressive.jpg", quality=95, subsampling=0, progressive=True)
colours.convert("L").save("grey.jpg", quality=95)
colours.convert("CMYK").save("cmyk.jpg", quality=95)
