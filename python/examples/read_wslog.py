#!/usr/bin/env python3
"""Reads raw captures without any library of ours: the bytes are in docs/capture.md.

    read_wslog.py capture/kraken/20250113_02.wslog [...]        prints the entries, and what is damaged on standard error

A .wslog.zst needs the zstandard package, or `zstd -d` before.
"""
import struct, sys, zlib

KINDS = {1: "start", 2: "remember", 3: "connecting", 4: "connected", 5: "frame", 6: "answer", 7: "failed", 8: "timer",
         9: "disconnected", 10: "clock", 11: "end", 12: "snapshot", 32: "run", 33: "request", 40: "lost", 41: "line", 42: "imported", 43: "beside"}
DIRECTIONS = ["in", "out", "own"]


def load(path):
    data = open(path, "rb").read()
    if path.endswith(".zst"):
        import zstandard
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return data


def entries(data):
    """(time ns, monotonic ns, number, connection, kind, direction, body) of each entry; stops at the first damage."""
    magic, crc, version, venue, created, run = struct.unpack_from("<8sIHHQQ", data)
    if magic != b"APWSLOG1" or version != 1 or crc != zlib.crc32(data[12:32]):
        raise ValueError("this is no capture of version 1")
    at = 32
    while at < len(data):
        if at + 32 > len(data) or at + 32 + struct.unpack_from("<I", data, at + 4)[0] > len(data):
            raise ValueError(f"the entry at byte {at} is cut off")
        crc, length, time, mono, number, connection, kind, direction = struct.unpack_from("<IIQQIHBB", data, at)
        if crc != zlib.crc32(data[at + 4:at + 32 + length]):
            raise ValueError(f"the entry at byte {at} is damaged")
        yield time, mono, number, connection, KINDS.get(kind, str(kind)), DIRECTIONS[direction], data[at + 32:at + 32 + length]
        at += 32 + length


if __name__ == "__main__":
    for path in sys.argv[1:]:
        try:
            for time, mono, number, connection, kind, direction, body in entries(load(path)):
                print(time, connection, direction, kind, body.decode("utf-8", "backslashreplace").replace("\n", "\\n"))
        except ValueError as problem:
            sys.exit(f"{path}: {problem}")
