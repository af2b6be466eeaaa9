#!/usr/bin/env python3
"""Prints the trades of one feed straight from its ring in shared memory. Needs numpy; shares no code with the feed.

    read_ring.py /dev/shm/alphapulse/kraken.ring [--oldest] [--seconds N]

The layout is that of the module documentation of the Rust crate `ring`. An aligned 8-byte load of a mapping is whole,
and on x86 loads stay in order: all that the protocol asks of a reader. Columns: epoch, sequence, receive time in ns,
symbol, taker side, price, size, trade id."""
import argparse
import mmap
import time
from decimal import Decimal

import numpy as np

HEADER_BYTES, SLOT_WORDS, CONTINUATION, HOLE = 4096, 8, 1 << 63, 1 << 62
CAPACITY, GENERATION, RETIRED, INTENT, TAIL, EPOCHS = 2, 8, 10, 16, 24, 32  # 8-byte words of the file's header
TRADE, INSTRUMENT, BATCH_SLOTS = 1, 7, 256
SIDES = ("none", "buy", "sell", "?")
HEAD = [("type", "u1"), ("words", "u1"), ("flags", "<u2"), ("instrument", "<u4"), ("ts_event", "<u8"), ("ts_recv", "<u8")]
TRADE_RECORD = np.dtype(HEAD + [("price", "<i8"), ("size", "<i8"), ("trade_id", "<u8")])
INSTRUMENT_RECORD = np.dtype(HEAD + [
    ("version", "<u4"), ("status", "u1"), ("kind", "u1"), ("price_scale", "u1"), ("size_scale", "u1"),
    ("tick", "<i8"), ("lot", "<i8"), ("min_size", "<i8"), ("min_notional", "<i8"), ("symbol_len", "u1"),
    ("venue_symbol_len", "u1"), ("base_len", "u1"), ("quote_len", "u1"), ("notional_scale", "u1"), ("zero", "u1", 3)])

class Ring:
    """A read-only mapping and one place in it."""
    def __init__(self, path):
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if self.map[:16] != b"APRING\r\n\2\0\0\0\0\x10\0\0":
            raise SystemExit(f"{path}: not a ring of layout version 2")
        self.words = np.frombuffer(self.map, "<u8")
        self.capacity = int(self.words[CAPACITY])
        if len(self.map) != HEADER_BYTES + self.capacity * SLOT_WORDS * 8:
            raise SystemExit(f"{path}: size and capacity contradict each other")
        self.slots = self.words[HEADER_BYTES // 8:].reshape(-1, SLOT_WORDS)
        self.position, self.expected = self.oldest(), None

    def oldest(self):
        margin = max(self.capacity // 16, 2 * min(64, self.capacity // 8))
        return min(max(0, int(self.words[INTENT]) + margin - self.capacity), int(self.words[TAIL]))

    def epoch(self, position):
        rows = self.words[EPOCHS:EPOCHS + 480].reshape(120, 4)  # generation, epoch, start, last sequence
        runs = rows[(0 < rows[:, 0]) & (rows[:, 0] <= self.words[GENERATION]) & (rows[:, 2] <= position)]
        return int(runs[runs[:, 0].argmax(), 1])

    def poll(self):
        """Copies a batch, then asks whether the writer was among it; yields (position, epoch, sequence, bytes)."""
        count = min(int(self.words[TAIL]) - self.position, BATCH_SLOTS)
        lines = self.slots[np.arange(self.position, self.position + count) & (self.capacity - 1)]  # this copies
        if int(self.words[INTENT]) > self.position + self.capacity:
            self.position = self.oldest()  # Lapped: the next record tells how far.
            return
        at = 0
        while at < count:
            sequence, words = int(lines[at, 0]), int(lines[at, 1]) >> 8 & 0xFF
            if sequence & (CONTINUATION | HOLE):  # A start in the middle of a record; or told by the next sequence.
                at += 1
                continue
            slots = -(-words // (SLOT_WORDS - 1)) or 1
            if at + slots > count:  # The rest of the record comes with the next batch.
                break
            epoch = self.epoch(self.position + at)
            if self.expected and (epoch, sequence) not in (self.expected, (max(epoch, self.expected[0] + 1), 1)):
                print(f"# lapped: lost from {self.expected} up to, not including, {(epoch, sequence)}", flush=True)
            self.expected = epoch, sequence + 1
            yield self.position + at, epoch, sequence, lines[at:at + slots, 1:].tobytes()[:words * 8]
            at += slots
        self.position += at

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--oldest", action="store_true", help="print what the ring still holds, too")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    ring, scales, until = Ring(options.path), {}, time.monotonic() + options.seconds
    show_from = 0 if options.oldest else int(ring.words[TAIL])  # What came before tells the scales.
    while time.monotonic() < until:
        before = ring.position
        for position, epoch, sequence, record in ring.poll():
            if record[0] == INSTRUMENT:
                row = np.frombuffer(record, INSTRUMENT_RECORD, 1)[0]
                symbol = record[INSTRUMENT_RECORD.itemsize:][:int(row["symbol_len"])].decode()
                scales[int(row["instrument"])] = symbol, int(row["price_scale"]), int(row["size_scale"])
            elif record[0] == TRADE and position >= show_from:
                row = np.frombuffer(record, TRADE_RECORD, 1)[0]
                symbol, *scale = scales.get(int(row["instrument"]), (f"{row['instrument']}(unscaled)", 0, 0))
                price, size = (Decimal(int(row[name])).scaleb(-by) for name, by in zip(("price", "size"), scale))
                side = SIDES[int(row["flags"]) & 3]
                print(epoch, sequence, row["ts_recv"], symbol, side, f"{price:f} {size:f}", row["trade_id"], flush=True)
        if ring.position == before:
            if ring.words[RETIRED]:
                raise SystemExit("# the ring was replaced by one of another size: start again")
            time.sleep(0.001)

if __name__ == "__main__":
    main()
