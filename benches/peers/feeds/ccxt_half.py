"""ccxt pro's half: `python ccxt_half.py SHAPE FILE` answers each line on standard input with ns a frame.

Frames go through JSON and the exchange's own handle_message, as its WebSocket client does it. No network.
"""

import asyncio
import json
import sys
import time

import ccxt.pro

shape, path = sys.argv[1:]
with open(path) as file:
    frames = file.read().splitlines()

exchange_name, market_id, symbol = {
    "coinbase_match": ("coinbaseexchange", "BTC-USD", "BTC/USD"),
    "coinbase_advanced_trade": ("coinbase", "BTC-USD", "BTC/USD"),
    "alpaca_trade": ("alpaca", "BTC/USD", "BTC/USD"),
    "binance_trade": ("binance", "BTCUSDT", "BTC/USDT"),
}[shape]


class Client:
    """What handle_message needs of a WebSocket client."""

    def __init__(self):
        self.url, self.subscriptions, self.futures, self.options, self.resolved = "ws", {}, {}, {}, 0

    def resolve(self, result, key):
        self.resolved += 1
        return result

    def reject(self, error, key=None):
        raise error


async def main():
    exchange = getattr(ccxt.pro, exchange_name)()
    exchange.newUpdates = True
    base, quote = symbol.split("/")
    market = {
        "id": market_id, "symbol": symbol, "base": base, "quote": quote, "baseId": base, "quoteId": quote,
        "type": "spot", "spot": True, "active": True, "precision": {"price": 0.01, "amount": 1e-8}, "info": {},
        "lowercaseId": market_id.lower(),
    }
    exchange.set_markets([exchange.safe_market_structure(market)])
    client = Client()
    parse = getattr(exchange, "parse_json", json.loads)
    for _ in sys.stdin:
        client.resolved = 0
        begin = time.process_time_ns()
        for frame in frames:
            exchange.handle_message(client, parse(frame))
        spent = time.process_time_ns() - begin
        assert client.resolved >= len(frames), f"{client.resolved} of {len(frames)} frames resolved"
        print(spent / len(frames), client.resolved, 0, flush=True)
    await exchange.close()


asyncio.run(main())
