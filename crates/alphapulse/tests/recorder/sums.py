#!/usr/bin/env python3
"""Sums the trades in a folder of Parquet files, twice: by DuckDB and by pyarrow, which must agree.

usage: sums.py FOLDER

Prints JSON: venue -> symbol -> [trades, sum of sizes, sum of price times size], the sums as whole numbers of 10^-18.
Trades fetched late or told in a snapshot are left out: nobody sent them as news. Exit status 0 when both readers say the same.
"""
import decimal, glob, json, os, sys

import duckdb
import pyarrow.parquet as pq

UNIT = decimal.Decimal(10) ** 18
decimal.getcontext().prec = 76


def by_pyarrow(files):
    sums = {}
    for path in files:
        # Not by its path: the folders' date and hour are no columns of the file.
        table = pq.ParquetFile(path).read(columns=["venue", "symbol", "price", "size", "late", "snapshot"])
        for row in table.to_pylist():
            if not (row["late"] or row["snapshot"]):
                sum_ = sums.setdefault(row["venue"], {}).setdefault(row["symbol"], [0, decimal.Decimal(0), decimal.Decimal(0)])
                sum_[0] += 1
                sum_[1] += row["size"]
                sum_[2] += row["price"] * row["size"]
    return {
        venue: {symbol: [str(n), str(int(size * UNIT)), str(int(value * UNIT))] for symbol, (n, size, value) in symbols.items()}
        for venue, symbols in sums.items()
    }


def by_duckdb(pattern):
    # Products of two columns of 18 digits need more than 38: each is taken apart at the digits it has.
    rows = duckdb.sql(
        f"""select venue, symbol, count(*), sum(size), list(price), list(size)
            from read_parquet('{pattern}') where not (late or snapshot) group by venue, symbol"""
    ).fetchall()
    sums = {}
    for venue, symbol, count, size, prices, sizes in rows:
        value = sum((p * s for p, s in zip(prices, sizes)), decimal.Decimal(0))
        sums.setdefault(venue, {})[symbol] = [str(count), str(int(size * UNIT)), str(int(value * UNIT))]
    return sums


def main():
    folder = sys.argv[1]
    pattern = os.path.join(folder, "trade", "**", "*.parquet")
    one, other = by_pyarrow(sorted(glob.glob(pattern, recursive=True))), by_duckdb(pattern)
    if one != other:
        sys.exit(f"pyarrow and DuckDB disagree: {one} {other}")
    print(json.dumps(one))


main()
