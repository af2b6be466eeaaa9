#!/usr/bin/env python3
"""Our minute bars beside pandas' resample: interleaved, in one run, on the same trades.

usage: run.py HALF [--trades N] [--pairs N] [--work DIR]

HALF is the built example `half` of the package `benches`. Both sides are processes that stay up, hold the trades in
memory and answer each "go" with the processor time a trade took; their bars are equal before the first one is timed.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "feeds"))
from run import Half  # noqa: E402

GOAL = 20


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("half", type=Path)
    arguments.add_argument("--trades", type=int, default=1_000_000)
    arguments.add_argument("--pairs", type=int, default=9)
    arguments.add_argument("--work", type=Path, default=Path.home() / ".cache/alphapulse/peers-bars")
    options = arguments.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    python = options.work / "venv/bin/python"
    if not python.exists():
        venv.create(options.work / "venv", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    count, trades, bars = str(options.trades), options.work / "trades.bin", options.work / "bars.csv"
    for what, file in (("trades", trades), ("bars", bars)):
        with open(file, "wb") as out:
            subprocess.run([options.half, what, count], stdout=out, check=True)
    load = " ".join(f"{figure:.2f}" for figure in os.getloadavg())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load}\n")
    print("| bars of a minute | ours | pandas | ratio | goal |\n|---|---|---|---|---|")
    named, ohlc = ("named", "resample, named aggregations"), ("ohlc", "resample, ohlc and sums")
    missed = False
    # Pandas holds columns; a list of trades is what a stream leaves behind.
    for form, (how, what), goal in (("columns", named, GOAL), ("columns", ohlc, GOAL), ("list", ohlc, None)):
        ours = Half([options.half, "run-bars", count, form])
        theirs = Half([python, HERE / "pandas_half.py", trades, bars, how])
        theirs.go(), ours.go()
        pairs = [(theirs.go(), ours.go()) for _ in range(options.pairs)]
        theirs.end(), ours.end()
        ratios = sorted(t / o for t, o in pairs)
        ratio = statistics.median(ratios)
        missed |= goal is not None and ratio < goal
        met = "" if goal is None else f"≥ {goal}× {'met' if ratio >= goal else 'MISSED'}"
        print(
            f"| {count} trades in {'columns' if form == 'columns' else 'a list'} "
            f"| {statistics.median(o for _, o in pairs):.2f} ns a trade "
            f"| {what}: {statistics.median(t for t, _ in pairs):.1f} ns "
            f"| {ratio:.1f}× [{ratios[0]:.1f}..{ratios[-1]:.1f}] | {met} |",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
