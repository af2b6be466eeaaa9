"""binance-sdk-spot, the venue's own connector: start-up over REST, then trades, books and quotes by subscription."""

import asyncio
import logging

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot

from record import arguments, best

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


def start_up(rest, out):
    """What an application asks first."""
    out.write("answer", "ping", body=str(rest.ping().data()))
    out.write("answer", "time", body=str(rest.time().data()))
    out.write("answer", "exchangeInfo", body=str(rest.exchange_info().data()))
    for symbol in SYMBOLS:
        for ask in (rest.ticker24hr, rest.ticker_price, rest.ticker_book_ticker, rest.avg_price, rest.get_trades, rest.agg_trades):
            out.write("answer", symbol, body=str(ask(symbol=symbol).data()))
        out.write("answer", symbol, body=str(rest.klines(symbol=symbol, interval="1m").data()))
        out.write("answer", symbol, body=str(rest.ui_klines(symbol=symbol, interval="1m").data()))


async def main():
    _, out = arguments()
    spot = Spot(ConfigurationRestAPI(api_key="", api_secret=""), None, ConfigurationWebSocketStreams())
    start_up(spot.rest_api, out)
    books, ids, held = {}, {}, {}

    def trade(t):
        side = "sell" if t.m else "buy"
        out.write("trade", t.s, id=str(t.a), p=t.p, q=t.q, side=side, t=repr(t.T / 1000))

    def ticker(t):
        out.write("quote", t.s, b=t.b, a=t.a)

    def apply(symbol, bids, asks):
        for side, levels in zip(books[symbol], (bids, asks)):
            for price, size in levels:
                side[price] = size
                if float(size) == 0:
                    del side[price]
        best(out, symbol, *books[symbol])

    def depth(d):
        """The venue's own rule for a local book: events wait until a snapshot is there that they bridge to."""
        if d.s not in ids:
            # The callback does not wait: the venue answers in the same turn, and nothing else is read until then.
            snapshot = spot.rest_api.depth(symbol=d.s, limit=1000).data()
            books[d.s], ids[d.s] = ({}, {}), snapshot.last_update_id
            apply(d.s, snapshot.bids, snapshot.asks)
        if d.u <= ids[d.s]:
            return
        if d.U > ids[d.s] + 1:
            logging.error("%s: updates from %d on never came", d.s, ids[d.s] + 1)
        ids[d.s] = d.u
        apply(d.s, d.b, d.a)

    await spot.websocket_streams.create_connection()
    for symbol in SYMBOLS:
        streams = spot.websocket_streams
        name = symbol.lower()
        (await streams.agg_trade(symbol=name)).on("message", trade)
        (await streams.book_ticker(symbol=name)).on("message", ticker)
        (await streams.diff_book_depth(symbol=name, update_speed="100ms")).on("message", depth)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
