"""Writes the files that fuzzing starts from: seeds.py FOLDER."""
import gzip
import json
import pathlib
import struct
import sys

root = pathlib.Path(sys.argv[1])


def write(name, data):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def safetensors(header, size):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(size))


def tensor(kind, shape, begin, end):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


write("safetensors/empty", safetensors({}, 0))
write("safetensors/metadata", safetensors({"__metadata__": {"classes": '["a","b"]', "checksum": "crc32:00000000"}}, 0))
write("safetensors/dataset", safetensors({"images": tensor("U8", [2, 2, 2, 1], 8, 16), "labels": tensor("I32", [2], 0, 8)}, 16))
kinds = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "BOOL": 1, "F4": 0.5}
tensors, offset = {}, 0
for kind, size in kinds.items():
    tensors[kind] = tensor(kind, [1, 2], offset, offset + int(2 * size))
    offset += int(2 * size)
write("safetensors/types", safetensors(tensors, offset))

pictures = b"\0\0\x08\x03" + struct.pack(">III", 2, 3, 4) + bytes(range(24))
write("idx/pictures", pictures)
write("idx/labels", b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(5))
write("idx/pictures.gz", gzip.compress(pictures, mtime=0))
write("idx/two.gz", gzip.compress(pictures[:10], mtime=0) + gzip.compress(pictures[10:], mtime=0))

write("config/set", b"train.batch=64")
write("config/small", b'{"model":{"family":"dcgan"},"train":{"batch":64,"steps":10,"seed":1,"precision":"fp32"}}')
