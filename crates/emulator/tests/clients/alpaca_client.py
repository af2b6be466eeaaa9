"""alpaca-py reads stocks or crypto: start-up over REST, then trades and quotes, and books where there are any.

Its data streams speak msgpack.
"""

import logging

from alpaca.data.enums import DataFeed
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.live import CryptoDataStream, StockDataStream
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass
from alpaca.trading.requests import GetAssetsRequest, GetCalendarRequest

from record import arguments, best

# The emulator's account; it guards nothing.
KEYS = ("ALPHAPULSE-EMULATOR", "YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==")
SYMBOLS = {"stocks": ["AAPL", "MSFT", "SPY", "TSLA"], "crypto": ["BTC/USD", "ETH/USD"]}


def start_up(market, symbols, out):
    """What an application asks first."""
    trading = TradingClient(*KEYS, paper=True)
    asset_class = AssetClass.US_EQUITY if market == "stocks" else AssetClass.CRYPTO
    out.write("answer", "clock", body=trading.get_clock())
    out.write("answer", "calendar", body=trading.get_calendar(GetCalendarRequest())[:3])
    out.write("answer", "account", body=trading.get_account())
    out.write("answer", "assets", body=trading.get_all_assets(GetAssetsRequest(asset_class=asset_class)))
    out.write("answer", "asset", body=trading.get_asset(symbols[0]))
    out.write("answer", "positions", body=trading.get_all_positions())
    out.write("answer", "orders", body=trading.get_orders())
    named = {"symbol_or_symbols": symbols}
    if market == "stocks":
        data = StockHistoricalDataClient(*KEYS)
        asked = [
            (data.get_stock_bars, StockBarsRequest(timeframe=TimeFrame.Minute, **named)),
            (data.get_stock_trades, StockTradesRequest(limit=100, **named)),
            (data.get_stock_latest_trade, StockLatestTradeRequest(**named)),
            (data.get_stock_latest_quote, StockLatestQuoteRequest(**named)),
            (data.get_stock_latest_bar, StockLatestBarRequest(**named)),
            (data.get_stock_snapshot, StockSnapshotRequest(**named)),
        ]
    else:
        data = CryptoHistoricalDataClient(*KEYS)
        asked = [
            (data.get_crypto_bars, CryptoBarsRequest(timeframe=TimeFrame.Minute, **named)),
            (data.get_crypto_trades, CryptoTradesRequest(limit=100, **named)),
            (data.get_crypto_latest_trade, CryptoLatestTradeRequest(**named)),
            (data.get_crypto_latest_quote, CryptoLatestQuoteRequest(**named)),
            (data.get_crypto_latest_orderbook, CryptoLatestOrderbookRequest(**named)),
            (data.get_crypto_snapshot, CryptoSnapshotRequest(**named)),
        ]
    for ask, request in asked:
        out.write("answer", ask.__name__, body=ask(request))


def main():
    market, out = arguments()
    symbols = SYMBOLS[market]
    start_up(market, symbols, out)
    books = {}

    async def trade(t):
        out.write("trade", t.symbol, id=t.id, p=t.price, q=t.size, side=None, t=repr(t.timestamp.timestamp()))

    async def quote(q):
        at = repr(q.timestamp.timestamp())
        out.write("quote", q.symbol, b=q.bid_price, bq=q.bid_size, a=q.ask_price, aq=q.ask_size, t=at)

    async def book(o):
        if o.reset:
            books[o.symbol] = ({}, {})
        for side, levels in zip(books[o.symbol], (o.bids, o.asks)):
            for level in levels:
                side[repr(level.price)] = repr(level.size)
                if level.size == 0:
                    del side[repr(level.price)]
        best(out, o.symbol, *books[o.symbol])

    async def other(_):
        pass

    if market == "stocks":
        stream = StockDataStream(*KEYS, feed=DataFeed.SIP)
        stream.subscribe_trading_statuses(other, *symbols)
        stream.register_trade_corrections(other)
        stream.register_trade_cancels(other)
    else:
        stream = CryptoDataStream(*KEYS)
        stream.subscribe_orderbooks(book, *symbols)
    stream.subscribe_trades(trade, *symbols)
    stream.subscribe_quotes(quote, *symbols)
    stream.subscribe_bars(other, *symbols)
    stream.subscribe_updated_bars(other, *symbols)
    stream.subscribe_daily_bars(other, *symbols)
    stream.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
