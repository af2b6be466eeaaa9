#!/usr/bin/env python3
"""Fuzzes every decoder, or those named, from the project's own frames.

usage: fuzz.py [--seconds 60 | --runs N] [--length 4096] [--sanitizer address|none] [TARGET]...

Each target starts from its venue's frames under fixtures/, so that it begins with valid messages of every channel and
damages them from there. Needs nightly and cargo-fuzz. Exit status 0 when no target found anything; what one found stays
in fuzz/artifacts/<target>/ with the command that shows it again.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sessions(target):
    """The frames that the target knows: `kraken_v1` those of kraken, `coinbase_exchange` its own."""
    folders = [f for f in (ROOT / "fixtures").iterdir() if target == f.name or target.startswith(f.name + "_")]
    return sorted(session for folder in folders for session in folder.glob("*/frames.jsonl"))


def seeds(target):
    """Sessions and single frames of our own making, as the target's input: one frame a line."""
    folder = ROOT / "fuzz/corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for session in sessions(target):
        lines = session.read_text().splitlines()
        for number, line in enumerate(lines):
            (folder / f"{session.parent.name}-{number}").write_text(line)
        (folder / session.parent.name).write_text("\n".join(lines[:40]))
    return folder


def words(target):
    """Keys and values of the same frames, which the fuzzer puts where it likes."""
    found = {'"', "{", "}", "[", "]", ",", ":", "0", "-1", "1e9", "null", "true", "\\u0000", "99999999999999999999"}
    for session in sessions(target):
        found |= set(re.findall(r'"[A-Za-z0-9_/:.-]{1,24}"', session.read_text()))
    path = ROOT / "fuzz/corpus" / f"{target}.dict"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(word)}\n" for word in sorted(found)))
    return path


def main():
    targets = sorted(path.stem for path in (ROOT / "fuzz/fuzz_targets").glob("*.rs"))
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--runs", type=int)
    arguments.add_argument("--length", type=int, default=4096)
    arguments.add_argument("--sanitizer", default="address")
    arguments.add_argument("targets", nargs="*", choices=[*targets, []])
    options = arguments.parse_args()
    if subprocess.run(["cargo", "+nightly", "fuzz", "--version"], capture_output=True).returncode:
        print("SKIPPED fuzz: get it with: rustup toolchain install nightly; cargo install cargo-fuzz")
        return 0
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    failed = []
    for target in options.targets or targets:
        command = ["cargo", "+nightly", "fuzz", "run", "-s", options.sanitizer, target, "--fuzz-dir", "fuzz"]
        flags = [limit, f"-max_len={options.length}", f"-dict={words(target)}", "-print_final_stats=1", "-rss_limit_mb=2048"]
        run = subprocess.run([*command, str(seeds(target)), "--", *flags], cwd=ROOT, capture_output=True, text=True)
        done = re.search(r"number_of_executed_units:\s*(\d+)", run.stderr)
        peak = re.search(r"peak_rss_mb:\s*(\d+)", run.stderr)
        print(
            f"{target}: {int(done[1]) if done else 0:,} executions, peak {peak[1] if peak else '?'} MiB, "
            f"{'nothing found' if run.returncode == 0 else 'FAILED'}",
            flush=True,
        )
        if run.returncode:
            failed.append(target)
            print(run.stderr[-6000:], file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
