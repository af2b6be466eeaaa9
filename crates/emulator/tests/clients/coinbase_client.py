"""coinbase-advanced-py reads Advanced Trade: start-up over REST, then trades, books and tickers."""

import json
import threading

from coinbase.rest import RESTClient
from coinbase.websocket import WebsocketResponse, WSClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from record import arguments, best, seconds

PRODUCTS = ["BTC-USD", "ETH-USD"]


def key():
    """A key of the kind that the venue hands out."""
    private = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return {"api_key": "organizations/emulator/apiKeys/emulator", "api_secret": private.private_bytes(*form).decode()}


def start_up(rest, out):
    """What an application asks first."""
    out.write("answer", "time", body=rest.get_unix_time().to_dict())
    out.write("answer", "products", body=rest.get_products().to_dict())
    for product in PRODUCTS:
        for ask in (rest.get_product, rest.get_product_book, rest.get_public_product, rest.get_public_product_book):
            out.write("answer", product, body=ask(product).to_dict())
        out.write("answer", product, body=rest.get_market_trades(product, limit=10).to_dict())
    out.write("answer", "best", body=rest.get_best_bid_ask(PRODUCTS).to_dict())


def main():
    _, out = arguments()
    books, next_number = {}, 0
    keys = key()
    start_up(RESTClient(**keys), out)

    def message(text):
        nonlocal next_number
        told = WebsocketResponse(json.loads(text))
        if told.sequence_num != next_number:
            print(f"ERROR: frame {told.sequence_num} came where {next_number} was due")
        next_number = told.sequence_num + 1
        for event in told.events or []:
            if told.channel == "market_trades":
                for t in event.trades:
                    out.write("trade", t.product_id, id=t.trade_id, p=t.price, q=t.size, side=t.side.lower(), t=seconds(t.time))
            elif told.channel == "ticker":
                for t in event.tickers:
                    out.write("quote", t.product_id, b=t.best_bid, a=t.best_ask)
            elif told.channel == "l2_data":
                if event.type == "snapshot":
                    books[event.product_id] = ({}, {})
                sides = books[event.product_id]
                for u in event.updates:
                    side = sides[u.side != "bid"]
                    side[u.price_level] = u.new_quantity
                    if float(u.new_quantity) == 0:
                        del side[u.price_level]
                best(out, event.product_id, *sides)

    client = WSClient(**keys, on_message=message)
    client.open()
    client.subscribe(PRODUCTS, ["heartbeats", "market_trades", "level2", "ticker"])
    threading.Event().wait()


if __name__ == "__main__":
    main()
