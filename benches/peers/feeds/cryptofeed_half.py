"""cryptofeed's half: `python cryptofeed_half.py SHAPE FILE` answers each line on standard input with ns a frame.

Frames go through the exchange's own message_handler: parse, normalise, callback. No network; the symbol table is filled
by hand.
"""

import asyncio
import sys
import time
from collections import defaultdict

from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance, Coinbase
from cryptofeed.symbols import Symbols

shape, path = sys.argv[1:]
with open(path) as file:
    frames = file.read().splitlines()
told = 0


async def callback(trade, receipt):
    global told
    told += 1


def feed(exchange, ours, theirs):
    Symbols.set(exchange.id, {ours: theirs}, {"tick_size": defaultdict(str), "instrument_type": defaultdict(str)})
    return exchange(symbols=[ours], channels=[TRADES], callbacks={TRADES: callback})


made = {
    "coinbase_advanced_trade": lambda: feed(Coinbase, "BTC-USD", "BTC-USD"),
    "binance_trade": lambda: feed(Binance, "BTC-USDT", "BTCUSDT"),
}[shape]()
if shape == "binance_trade":
    # It knows aggregated trades of combined streams only: the same facts in that shape.
    agg = [f.replace('"e":"trade"', '"e":"aggTrade"').replace('"t":', '"a":') for f in frames]
    frames = ['{"stream":"btcusdt@aggTrade","data":%s}' % f for f in agg]


async def once():
    handler, now = made.message_handler, time.time()
    for frame in frames:
        await handler(frame, None, now)


for _ in sys.stdin:
    told = 0
    begin = time.process_time_ns()
    asyncio.run(once())
    spent = time.process_time_ns() - begin
    assert told == len(frames), f"{told} trades of {len(frames)} frames"
    print(spent / len(frames), told, 0, flush=True)
