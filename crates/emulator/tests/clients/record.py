"""What a client's callbacks gave, one JSON object a line, so that it can be compared with what the emulator sent.

Numbers are written as the client holds them: decimals as their text, floats as Python prints them.
"""

import json
import sys
from datetime import datetime, timezone
from decimal import Decimal

# Every book is told to this depth, and every so many of a symbol to its whole depth.
TOP, WHOLE_EVERY = 10, 20


class Recorder:
    """The file of records. Every line is out at once: the client is ended from outside."""

    def __init__(self, path):
        self.file = open(path, "w", buffering=1)
        self.books = {}

    def write(self, kind, symbol, **fields):
        self.file.write(json.dumps({"k": kind, "s": symbol, **fields}, default=str) + "\n")

    def depth(self, symbol):
        """How deep the next book of a symbol is told; None is all of it."""
        told = self.books[symbol] = self.books.get(symbol, -1) + 1
        return TOP if told % WHOLE_EVERY else None


def best(out, symbol, bids, asks):
    """Tells a book that is kept in two dicts of texts."""
    depth = out.depth(symbol)
    sides = [
        [[price, side[price]] for price in sorted(side, key=Decimal, reverse=not ask)[:depth]]
        for ask, side in enumerate((bids, asks))
    ]
    out.write("book", symbol, depth=depth, bids=sides[0], asks=sides[1])


def seconds(text):
    """RFC 3339 as seconds since the epoch, cut to microseconds."""
    whole, _, decimals = text.removesuffix("Z").partition(".")
    at = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return repr(at.replace(microsecond=int(decimals[:6].ljust(6, "0"))).timestamp())


def arguments():
    """What `run.py` hands to every client: which market, and where to write."""
    market, path = sys.argv[1:]
    return market, Recorder(path)
