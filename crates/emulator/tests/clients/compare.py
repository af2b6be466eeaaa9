"""What a client's callbacks gave beside what the emulator's journal says was sent, one by one and in order.

A truth is made of the journal's frames by rules written here from the venues' documents; it shares no code with the
emulator or with the clients. Every trade must have come once with equal numbers; every book the client held must be
the book that the frames up to there make, level by level; quotes likewise.
"""

import json
from datetime import datetime, timezone
from decimal import Decimal
from itertools import zip_longest

# Differences told at most; behind the first of a kind the rest is usually its echo.
TOLD_MAX = 5
NONE = object()


class Book:
    """Levels by price."""

    def __init__(self, depth=None):
        self.sides, self.depth = ({}, {}), depth

    def set(self, ask, price, size):
        side = self.sides[ask]
        price, size = Decimal(price), Decimal(size)
        if size == 0:
            side.pop(price, None)
        else:
            side[price] = size

    def cut(self):
        for ask, side in enumerate(self.sides):
            if self.depth and len(side) > self.depth:
                for price in sorted(side, reverse=not ask)[self.depth :]:
                    del side[price]

    def best(self, count):
        """Best first, `count` a side or all."""
        return [[(p, side[p]) for p in sorted(side, reverse=not ask)[:count]] for ask, side in enumerate(self.sides)]


def kraken(frames, _):
    """WebSocket v1."""
    books = {}
    for frame in frames:
        if not isinstance(frame, list):
            continue
        channel, symbol = frame[-2], frame[-1].replace("XBT", "BTC").replace("/", "-")
        if channel == "trade":
            for price, size, time, side, *_ in frame[1]:
                yield "trade", symbol, (None, Decimal(price), Decimal(size), {"b": "buy", "s": "sell"}[side], float(time))
        elif channel == "ticker":
            yield "quote", symbol, (Decimal(frame[1]["b"][0]), Decimal(frame[1]["a"][0]))
        elif channel.startswith("book-"):
            if "as" in frame[1]:
                books[symbol] = Book(int(channel.split("-")[1]))
            for part in frame[1:-2]:
                for ask, names in enumerate((("bs", "b"), ("as", "a"))):
                    for name in names:
                        for price, size, *_ in part.get(name, []):
                            books[symbol].set(ask, price, size)
            books[symbol].cut()
            yield "book", symbol, books[symbol]


def coinbase(frames, _, dropped=None):
    """Advanced Trade. With `dropped` as cryptofeed 2.4.1 reads it, which counts there what it drops:

    - the ask side of every book snapshot: it looks for the side "ask", the venue writes "offer";
    - the trades of every trade snapshot: its source says that it does not do them yet.
    """
    books = {}
    for frame in frames:
        for event in frame.get("events", []):
            if frame["channel"] == "market_trades":
                if event["type"] == "snapshot" and dropped is not None:
                    dropped["snapshot trades"] = dropped.get("snapshot trades", 0) + len(event["trades"])
                    continue
                for t in event["trades"]:
                    price, size = Decimal(t["price"]), Decimal(t["size"])
                    yield "trade", t["product_id"], (t["trade_id"], price, size, t["side"].lower(), seconds(t["time"]))
            elif frame["channel"] == "l2_data":
                symbol = event["product_id"]
                if event["type"] == "snapshot":
                    books[symbol] = Book()
                for u in event["updates"]:
                    if event["type"] == "snapshot" and u["side"] == "offer" and dropped is not None:
                        dropped["snapshot asks"] = dropped.get("snapshot asks", 0) + 1
                        continue
                    books[symbol].set(u["side"] != "bid", u["price_level"], u["new_quantity"])
                yield "book", symbol, books[symbol]
            elif frame["channel"] == "ticker":
                for t in event["tickers"]:
                    yield "quote", t["product_id"], (Decimal(t["best_bid"]), Decimal(t["best_ask"]))


def binance(frames, answers, trade="aggTrade"):
    """Streams, and the books that REST began."""
    books, ids = {}, {}
    snapshots = {symbol: body for path, symbol, body in answers if path == "/api/v3/depth"}
    for frame in frames:
        data = frame.get("data", frame)
        kind, symbol = data.get("e"), data.get("s")
        if kind == trade:
            side = "sell" if data["m"] else "buy"
            number = str(data["a" if kind == "aggTrade" else "t"])
            yield "trade", symbol, (number, Decimal(data["p"]), Decimal(data["q"]), side, data["T"] / 1000)
        elif kind == "depthUpdate":
            if symbol not in books:
                if symbol not in snapshots:
                    continue
                book = books[symbol] = Book()
                for ask, name in enumerate(("bids", "asks")):
                    for price, size in snapshots[symbol][name]:
                        book.set(ask, price, size)
                ids[symbol] = snapshots[symbol]["lastUpdateId"]
                yield "book", symbol, book
            if data["u"] <= ids[symbol]:
                continue
            assert data["U"] <= ids[symbol] + 1, f"{symbol}: the frames themselves have a hole at {data['U']}"
            ids[symbol] = data["u"]
            for ask, name in enumerate("ba"):
                for price, size in data[name]:
                    books[symbol].set(ask, price, size)
            yield "book", symbol, books[symbol]
        elif "u" in data and "B" in data and "e" not in data:
            yield "quote", symbol, (Decimal(data["b"]), Decimal(data["a"]))


def alpaca(frames, _):
    """Stocks and crypto; the client holds floats, and times in microseconds."""
    books = {}
    for frame in frames:
        for m in frame:
            symbol, time = m.get("S"), seconds(m["t"]) if "t" in m else None
            if m["T"] == "t":
                yield "trade", symbol, (m["i"], float(m["p"]), float(m["s"]), None, time)
            elif m["T"] == "q":
                yield "quote", symbol, (float(m["bp"]), float(m["bs"]), float(m["ap"]), float(m["as"]), time)
            elif m["T"] == "o":
                if m.get("r"):
                    books[symbol] = Book()
                for ask, name in enumerate("ba"):
                    for level in m.get(name, []):
                        books[symbol].set(ask, repr(float(level["p"])), repr(float(level["s"])))
                yield "book", symbol, books[symbol]


def seconds(text):
    """RFC 3339 as seconds since the epoch, cut to microseconds as Python's clients do."""
    whole, _, decimals = text.removesuffix("Z").partition(".")
    at = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return at.replace(microsecond=int(decimals[:6].ljust(6, "0"))).timestamp()


def records(folder, venue):
    """The client's own lines in the shape of a truth's events."""
    number = float if venue == "alpaca" else Decimal
    for line in open(folder / "records.jsonl"):
        r = json.loads(line)
        kind, symbol = r["k"], r["s"]
        if venue == "binance":
            symbol = symbol.replace("-", "")
        if kind == "trade":
            side = r["side"]
            time = float(r["t"])
            yield kind, symbol, (r["id"], number(r["p"]), number(r["q"]), side, time)
        elif kind == "quote":
            if venue == "alpaca":
                yield kind, symbol, (r["b"], r["bq"], r["a"], r["aq"], float(r["t"]))
            else:
                yield kind, symbol, (Decimal(r["b"]), Decimal(r["a"]))
        elif kind == "book":
            yield kind, symbol, (r["depth"], [[(Decimal(p), Decimal(q)) for p, q in r[name]] for name in ("bids", "asks")])
        else:
            yield kind, symbol, None


def journal(folder):
    """Frames of every connection, and REST answers as (path, symbol, body); says if there was more than one stream."""
    files = sorted(folder.glob("journal/[0-9]*.jsonl"))
    problems = [] if len(files) == 1 else [f"the client opened {len(files)} streams rather than one"]
    answers = []
    for line in open(folder / "journal/rest.http.jsonl"):
        exchange = json.loads(line)
        path, _, query = exchange["url"].partition("?")
        symbol = dict(part.partition("=")[::2] for part in query.split("&")).get("symbol")
        if exchange["status"] != 200:
            problems.append(f"{exchange['method']} {exchange['url']} was answered with {exchange['status']}")
        else:
            answers.append((path, symbol, json.loads(exchange["body"])))

    def frames():
        for file in files:
            for line in open(file):
                yield json.loads(line, parse_float=Decimal)

    return frames(), answers, problems


def differs(sent, got):
    """What is wrong with one event of the client's, or None."""
    if sent is NONE:
        return f"{got[0]} {got[1]} was never sent: {got[2]}"
    if got is NONE:
        return f"{sent[0]} {sent[1]} never came: {sent[2] if sent[0] != 'book' else ''}"
    if sent[:2] != got[:2]:
        return f"{got[0]} {got[1]} came where {sent[0]} {sent[1]} was sent"
    if sent[0] != "book":
        return None if sent[2] == got[2] else f"{sent[0]} {sent[1]}: sent {sent[2]}, got {got[2]}"
    depth, held = got[2]
    for name, ours, theirs in zip(("bids", "asks"), sent[2].best(depth), held):
        if ours != theirs:
            first = next((pair for pair in zip_longest(ours, theirs) if pair[0] != pair[1]), None)
            return f"book {sent[1]}, {name}: {len(ours)} levels sent, {len(theirs)} held; first difference {first}"
    return None


def differences(truth, got, most):
    """Up to `most` differences of two rows of events, and how many of each kind were equal."""
    told, counts = [], {"trade": 0, "book": 0, "quote": 0}
    for sent, event in zip_longest(truth, got, fillvalue=NONE):
        if problem := differs(sent, event):
            told.append(problem)
            if len(told) >= most:
                break
        else:
            counts[sent[0]] += 1
    return told, counts


def spoiled(events, kind, at, how):
    """The events, with what `how` makes of the one of a kind in place `at`."""
    for event in events:
        if event[0] == kind:
            at -= 1
            if at == -1:
                yield from how(event)
                continue
        yield event


def grown(event):
    """The event with a larger size, or in a quote a larger price."""
    kind, symbol, what = event
    if kind == "trade":
        return kind, symbol, (*what[:2], what[2] + 1, *what[3:])
    if kind == "quote":
        return kind, symbol, (what[0] + 1, *what[1:])
    depth, (bids, asks) = what
    return kind, symbol, (depth, [[(bids[0][0], bids[0][1] + 1), *bids[1:]], asks])


# What a comparison must see, or it is worth nothing.
SPOILS = [
    ("a trade less", "trade", lambda event: []),
    ("a trade twice", "trade", lambda event: [event, event]),
    ("another size of a trade", "trade", lambda event: [grown(event)]),
    ("another level of a book", "book", lambda event: [grown(event)]),
    ("another quote", "quote", lambda event: [grown(event)]),
]


def truth_of(name, venue, folder, dropped):
    """The events that a client's callbacks must give; `dropped` counts what it is known to leave out."""
    frames, answers, _ = journal(folder)
    if name == "cryptofeed-coinbase":
        dropped.clear()
        return coinbase(frames, answers, dropped)
    return {"kraken": kraken, "coinbase": coinbase, "binance": binance, "alpaca": alpaca}[venue](frames, answers)


def outstanding(name, venue, folder):
    """How many events of those sent are not among the records yet."""
    written = (json.loads(line)["k"] for line in open(folder / "records.jsonl") if line.endswith("\n"))
    came = sum(kind != "answer" for kind in written)
    return sum(1 for _ in truth_of(name, venue, folder, {})) - came


def compare(name, venue, market, folder):
    """Counts of what was compared, problems, and the client's own known differences."""
    _, answers, problems = journal(folder)
    dropped = {}

    def truth():
        return truth_of(name, venue, folder, dropped)

    def got():
        return (event for event in records(folder, venue) if event[0] != "answer")

    told, counts = differences(truth(), got(), TOLD_MAX)
    problems += told
    known = [f"{count} {what} dropped by the client" for what, count in sorted(dropped.items()) if count]
    if name == "cryptofeed-coinbase" and not dropped.get("snapshot asks"):
        problems.append("there was no snapshot whose asks cryptofeed drops")
    for kind in ("trade", "book"):
        if counts[kind] == 0 and not (kind == "book" and market == "stocks"):
            problems.append(f"not one {kind} was compared")
    for what, kind, how in SPOILS if not told else []:
        if counts[kind] and not differences(truth(), spoiled(got(), kind, counts[kind] // 2, how), 1)[0]:
            problems.append(f"the comparison does not see {what}")
    counts["answer"] = len(answers)
    return {**{f"{kind}s": count for kind, count in counts.items()}, "known": known, "problems": problems}
