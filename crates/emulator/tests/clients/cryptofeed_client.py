"""cryptofeed reads one venue: trades, books and, where it knows them, quotes. Its URLs are built in."""

import logging
import tempfile

from cryptofeed import FeedHandler
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import Binance, Coinbase, Kraken

from record import arguments

# Any key passes: the emulator's account is for signed channels.
KEYS = {"coinbase": {"key_id": "ALPHAPULSE-EMULATOR", "key_secret": "emulator"}}
FEEDS = {
    "kraken": (Kraken, ["BTC-USD", "ETH-USD"], [TRADES, L2_BOOK, TICKER], {"max_depth": 100, "checksum_validation": True}),
    "binance": (Binance, ["BTC-USDT", "ETH-USDT"], [TRADES, L2_BOOK, TICKER], {}),
    "coinbase": (Coinbase, ["BTC-USD", "ETH-USD"], [TRADES, L2_BOOK], {}),
}


def main():
    market, out = arguments()
    feed, symbols, channels, options = FEEDS[market]

    def levels(side, depth):
        return [[str(price), str(side[price])] for price in side.keys()[:depth]]

    async def trade(t, _):
        out.write("trade", t.symbol, id=t.id, p=t.price, q=t.amount, side=t.side, t=repr(t.timestamp))

    async def book(b, _):
        depth = out.depth(b.symbol)
        out.write("book", b.symbol, depth=depth, bids=levels(b.book.bids, depth), asks=levels(b.book.asks, depth))

    async def ticker(t, _):
        out.write("quote", t.symbol, b=t.bid, a=t.ask)

    if feed is Coinbase:
        # Its own way to the symbols: the plain one is refused without keys.
        Coinbase.symbols(KEYS)
    config = {"uvloop": False, "log": {"filename": tempfile.mktemp(), "level": "WARNING"}, **KEYS}
    handler = FeedHandler(config=config)
    callbacks = {TRADES: trade, L2_BOOK: book, TICKER: ticker}
    wanted = {channel: callbacks[channel] for channel in channels}
    handler.add_feed(feed(config=config, symbols=symbols, channels=channels, callbacks=wanted, **options))
    handler.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
