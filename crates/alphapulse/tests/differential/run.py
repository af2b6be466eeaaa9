#!/usr/bin/env python3
"""Holds our books against NautilusTrader's OrderBook on the same recorded frames: the ten best levels of both sides.

usage: run.py TOPS [--data DIR] [--instants N]

TOPS is the program `cargo build -p alphapulse --example tops` makes. Its books went through the venue's machine, the
records and the reader of records; the other's are made here, from the frames alone, by the venue's own rules for a
consumer: the first snapshot, absolute sizes, 0 removes, Kraken cut to the subscribed depth, Binance from the REST
snapshot's id on. Prices and sizes are compared as exact decimals.

One kind of difference is expected and counted apart: a book that began from a snapshot of the best 1000 levels is known
up to its last price. Ours ends there; the other goes on with whatever levels beyond happened to change since.

One line a recording: how many instants were compared and how many differ, the first of them printed. Exit status 1 if one
differs or if fewer than the asked instants could be compared. What cannot be had here says SKIPPED and why.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEVELS = 10
# Differences that are printed of each recording.
SHOWN = 5
PIP = ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--retries", "1", "--timeout", "30"]

# venue, frames, body of the REST snapshot
RECORDINGS = [
    ("kraken", "kraken/ws_v2/book_btcusd_d25_20260802.jsonl", None),
    ("kraken", "kraken/ws_v2/book_xrpusd_d25_20260802.jsonl", None),
    ("kraken", "kraken/ws_v1/book1000_20210405.jsonl.gz", None),
    ("binance", "binance/spot_ws/btcusdt_20240808.jsonl.gz", "binance/spot_ws/btcusdt_20240808.depth_snapshot.jsonl"),
    ("binance", "binance/spot_ws/ethusdt_20240808.jsonl.gz", "binance/spot_ws/ethusdt_20240808.depth_snapshot.jsonl"),
    ("coinbase", "coinbase/exchange_ws/level2_ticker_matches_20210417.jsonl", None),
    ("coinbase", "coinbase/advanced_ws/all_channels_20260809.jsonl.gz", None),
]


def python_with_peer():
    """The interpreter of the peer's own environment, installed as pinned; raises if it cannot be."""
    pinned = HERE / "requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphapulse/differential"
    folder = cache / hashlib.sha256(pinned.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Made elsewhere in full, then moved, so that what is there is whole.
        draft = Path(tempfile.mkdtemp(dir=cache))
        try:
            venv.create(draft, with_pip=True)
            install = [draft / "bin/python", "-m", "pip", "install", "-q", *PIP, "-r", pinned]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=600)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder / "bin/python"


def lines_of(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        yield from file


class Peer:
    """NautilusTrader's book of one symbol. Numbers are the venue's own text all the way."""

    def __init__(self, nautilus, symbol):
        self.n = nautilus
        name = "".join(c for c in symbol if c.isalnum())
        self.book = nautilus.OrderBook(nautilus.InstrumentId.from_str(f"{name}.X"), nautilus.BookType.L2_MBP)
        self.told = 0
        self.last_id = None

    def set(self, side, price, size):
        self.told += 1
        side = self.n.OrderSide.BUY if side == "bids" else self.n.OrderSide.SELL
        order = self.n.BookOrder(side, self.n.Price.from_str(price), self.n.Quantity.from_str(size), 0)
        change = self.book.update if Decimal(size) else self.book.delete
        change(order, 0, self.told, self.told)

    def cut(self, depth):
        """Kraken: a level that falls out of the subscribed depth is not told again."""
        for side, levels in [("bids", self.book.bids(depth + 50)), ("asks", self.book.asks(depth + 50))]:
            for level in levels[depth:]:
                self.set(side, plain(level.price.raw), "0")

    def clear(self):
        self.told += 1
        self.book.clear(self.told, self.told)

    def top(self, side):
        levels = self.book.bids(LEVELS) if side == "bids" else self.book.asks(LEVELS)
        return [(exact(level.price.raw), exact(level.size_raw())) for level in levels]


def exact(raw):
    """Its numbers are integers of 16 decimals."""
    return Decimal(raw).scaleb(-16)


def plain(raw):
    return format(exact(raw).normalize(), "f")


class Peers(dict):
    def __init__(self, nautilus):
        self.nautilus = nautilus

    def __missing__(self, symbol):
        self[symbol] = Peer(self.nautilus, symbol)
        return self[symbol]


def kraken(frame, peers):
    if isinstance(frame, list):
        return kraken_v1(frame, peers)
    if frame.get("channel") != "book":
        return
    for data in frame["data"]:
        peer = peers[data["symbol"]]
        if frame["type"] == "snapshot":
            peer.clear()
            peer.depth = max(len(data["bids"]), len(data["asks"]))
        for side in ("bids", "asks"):
            for level in data[side]:
                peer.set(side, level["price"], level["qty"])
        peer.cut(peer.depth)


def kraken_v1(frame, peers):
    *parts, channel, pair = frame[1:]
    if not channel.startswith("book"):
        return
    # Ours are told by the names the venue has for them today.
    names = [{"XBT": "BTC", "XDG": "DOGE"}.get(name, name) for name in pair.split("/")]
    peer, depth = peers["/".join(names)], int(channel.split("-")[1])
    if any("as" in part for part in parts):
        peer.clear()
    for part in parts:
        for key, side in [("bs", "bids"), ("b", "bids"), ("as", "asks"), ("a", "asks")]:
            for price, size, *_ in part.get(key, []):
                peer.set(side, price, size)
    peer.cut(depth)


def binance(frame, peers):
    data = frame.get("data", frame)
    if data.get("e") != "depthUpdate":
        return
    peer = peers[data["s"]]
    # What the snapshot holds already.
    if peer.last_id is None or int(data["u"]) <= peer.last_id:
        return
    for key, side in [("b", "bids"), ("a", "asks")]:
        for price, size in data[key]:
            peer.set(side, price, size)


def binance_snapshot(body, symbol, peers):
    snapshot, peer = json.loads(body, parse_float=str), peers[symbol]
    peer.last_id = int(snapshot["lastUpdateId"])
    for side in ("bids", "asks"):
        for price, size in snapshot[side]:
            peer.set(side, price, size)


def coinbase(frame, peers):
    if frame.get("channel") == "l2_data":
        for event in frame["events"]:
            peer = peers[event["product_id"]]
            if event["type"] == "snapshot":
                peer.clear()
            for update in event["updates"]:
                side = "bids" if update["side"] == "bid" else "asks"
                peer.set(side, update["price_level"], update["new_quantity"])
    elif frame.get("type") == "snapshot":
        peer = peers[frame["product_id"]]
        peer.clear()
        for side in ("bids", "asks"):
            for price, size in frame[side]:
                peer.set(side, price, size)
    elif frame.get("type") == "l2update":
        for side, price, size in frame["changes"]:
            peers[frame["product_id"]].set("bids" if side == "buy" else "asks", price, size)


READERS = {"kraken": kraken, "binance": binance, "coinbase": coinbase}


def beyond(side, theirs, held, known):
    """Whether all that the other holds more lies where the snapshot did not reach."""
    if known is None or theirs[: len(held)] != held:
        return False
    worse = (lambda price: price < Decimal(known)) if side == "bids" else (lambda price: price > Decimal(known))
    return all(worse(price) for price, _ in theirs[len(held) :])


def compare(tops, nautilus, data, recording, instants):
    """Compared instants, instants at which one book was known less far, and the differences, as text."""
    venue, frames, rest = recording
    command = [tops, venue, str(LEVELS), data / frames] + ([data / rest] if rest else [])
    ours = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True).stdout.splitlines()]
    peers = Peers(nautilus)
    if rest:
        binance_snapshot((data / rest).read_text(), Path(rest).name.split("_")[0].upper(), peers)
    # Spread evenly, the last always among them.
    step = max(1, len(ours) // instants)
    chosen = {}
    for line in ours[len(ours) - 1 :: -step]:
        chosen.setdefault(line["frame"], []).append(line)
    compared, ends, differ, read = 0, set(), [], READERS[venue]
    for number, text in enumerate(lines_of(data / frames), 1):
        try:
            read(json.loads(text, parse_float=str), peers)
        except json.JSONDecodeError:
            pass  # a cut line, which ours sets aside too
        for line in chosen.get(number, ()):
            compared += 1
            for side in ("bids", "asks"):
                held = [(Decimal(price), Decimal(size)) for price, size in line[side]]
                theirs = peers[line["symbol"]].top(side)
                if held == theirs:
                    continue
                if beyond(side, theirs, held, line["known"][side]):
                    ends.add(number)
                else:
                    place = next((n for n, pair in enumerate(zip(held, theirs)) if pair[0] != pair[1]), "length")
                    differ.append(f"{frames}:{number} {line['symbol']} {side} at {place}: ours {held}, theirs {theirs}")
    return compared, len(ends), differ


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tops", type=Path)
    arguments.add_argument("--data", type=Path, default=os.environ.get("ALPHAPULSE_TEST_DATA") or HERE.parents[3] / "../shared/data")
    arguments.add_argument("--instants", type=int, default=2000, help="of each recording, where it has as many")
    arguments.add_argument("--least", type=int, default=1000, help="instants of all together that must be compared")
    given = arguments.parse_args()
    data = given.data / "venues"
    if not data.is_dir():
        print(f"SKIPPED differential: {data} is not there")
        return 0
    if not os.environ.get("DIFFERENTIAL_INSIDE"):
        try:
            python = python_with_peer()
        except (subprocess.SubprocessError, OSError) as error:
            why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            print(f"SKIPPED differential: NautilusTrader cannot be installed: {why[-1] if why else error}")
            return 0
        inside = dict(os.environ, DIFFERENTIAL_INSIDE="1")
        return subprocess.run([python, __file__, *sys.argv[1:]], env=inside).returncode
    try:
        from nautilus_trader.core import nautilus_pyo3 as nautilus
    except ImportError as error:
        print(f"SKIPPED differential: NautilusTrader cannot be loaded: {error}")
        return 0
    total, wrong = 0, 0
    for recording in RECORDINGS:
        compared, ends, differ = compare(given.tops, nautilus, data, recording, given.instants)
        total, wrong = total + compared, wrong + len(differ)
        word = "FAIL " if differ or not compared else "ok   "
        known = f", {ends} end where the snapshot did" if ends else ""
        print(f"{word} {recording[1]}: {compared} instants, {len(differ)} differ{known}")
        for line in differ[:SHOWN]:
            print(f"      {line}")
    enough = total >= given.least
    print(f"{'ok' if enough and not wrong else 'FAIL'} NautilusTrader 1.221.0: top {LEVELS} at {total} instants, {wrong} differ")
    return 0 if enough and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
