"""What an accelerator makes of our training step: tokens/s, MFU, where the time goes, and many models at once.

    python -m benchmarks.accelerator [--seconds 450] [--parts NAME ...] [--out FILE]

Needs only jax, flax, optax and numpy; tokens are generated. Every part is a
process of its own, so that one that fails or runs out of memory takes nothing
with it; what it had found until then is kept. The result is written after
each part, to `results/<device>.json`. On CPU the same code runs on tiny shapes,
which shows that it works and measures nothing.

MFU is the exact training FLOPs of `scaling.counts` times tokens/s over the
device's peak in `scaling.hardware`. Exact counts the whole square of attention
scores, as published figures usually do; `mfu_of_seen_keys` counts only the
half that a causal model sees, which is all that a flash kernel computes.

This process imports no JAX. The measuring is in `accelerator_parts.py` and
`accelerator_kernels.py`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import command, machine, save

HERE = Path(__file__).parent
PARTS = ("gpt2-124m", "llama-1b", "many", "gpt2-350m")  # in the order of their worth, should time run out
LEAST_SECONDS = 60  # that a part is started with
# Copies and collectives are started early and awaited late.
FLAGS = "--xla_gpu_enable_latency_hiding_scheduler=true"
MEMORY_SHARE = "0.92"  # of the device's memory that JAX takes; its default of 0.75 leaves large batches out
TARGETS = {"gpt2-124m": 0.40, "llama-1b": 0.50, "many": 5.0}  # MFU, MFU, times faster; on one H100 or H200


def main() -> None:
    options = _options()
    if options.measure:
        from benchmarks.accelerator_parts import measure

        return measure(options.measure)
    until = time.monotonic() + options.seconds
    environment = environment_of(options.xla_flags)
    result: dict[str, Any] = {"machine": machine(), "command": command(), "xla_flags": environment["XLA_FLAGS"]}
    parts = result["parts"] = {}
    for part in options.parts:
        print(f"{part}: at most {until - time.monotonic():.0f} s", file=sys.stderr, flush=True)
        parts[part] = measured(part, environment, until - time.monotonic())
        save(result, options.out or path_for(parts))
    print_table(parts)


def environment_of(flags: str) -> dict[str, str]:
    """Of the measuring processes; what is set outside stays, and flags are added to it."""
    given = dict(os.environ)
    set_already = given.get("XLA_FLAGS", "")
    defaults = {"XLA_PYTHON_CLIENT_MEM_FRACTION": MEMORY_SHARE}
    return defaults | given | {"XLA_FLAGS": f"{set_already} {flags}".strip(), "PYTHONUNBUFFERED": "1"}


def measured(part: str, environment: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """What the process of one part said last, and why it ended before its time if it did."""
    if seconds < LEAST_SECONDS:
        return {"ended": f"not begun: {max(0.0, seconds):.0f} s were left"}
    call = [sys.executable, "-m", "benchmarks.accelerator", "--measure", part]
    try:
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as ended:
        said = ended.stdout.decode() if isinstance(ended.stdout, bytes) else ended.stdout
        return last_line(said or "") | {"ended": f"stopped after {seconds:.0f} s"}
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return last_line(done.stdout) | {"ended": f"code {done.returncode}: {done.stderr[-1500:]}"}
    return last_line(done.stdout)


def last_line(said: str) -> dict[str, Any]:
    """The last whole line of JSON; every one holds all that was found before it."""
    lines = [line for line in said.splitlines() if line.startswith("{") and line.endswith("}")]
    return json.loads(lines[-1]) if lines else {}


def path_for(parts: Mapping[str, Mapping[str, Any]]) -> Path:
    kinds = [found["device"] for found in parts.values() if "device" in found]
    name = re.sub(r"[^a-z0-9]+", "-", kinds[0].lower()) if kinds else "unknown-device"
    return HERE / "results" / f"{name}.json"


def print_table(parts: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\n{'':12}{'tokens/s':>14}{'MFU':>8}{'target':>8}{'GiB':>7}  share of the step")
    for name, found in parts.items():
        target = None if found.get("tiny") else TARGETS.get(name)
        if "faster" in found:
            rate = found["together"]["tokens_per_second"]
            aimed = f"{target}x" if target else ""
            print(f"{name:12}{rate:14,.0f}{found['faster']:7.2f}x{aimed:>8}{'':7}  {found['models']} models at once")
        elif "tokens_per_second" in found:
            mfu = f"{found['mfu']:.3f}" if found["mfu"] else "?"
            shares = found.get("parts_alone", {}).get("shares", {})
            spread = ", ".join(f"{part} {share:.2f}" for part, share in shares.items())
            gib = f"{(found['peak_bytes'] or 0) / 2**30:.1f}"
            print(f"{name:12}{found['tokens_per_second']:14,.0f}{mfu:>8}{target or '':>8}{gib:>7}  {spread}")
        if "ended" in found:
            print(f"{name:12}  {found['ended']}")
    if any(found.get("tiny") for found in parts.values()):
        print("\ntiny shapes on a CPU: this shows that it works, and measures nothing")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=450.0, help="at most, for all parts together")
    parser.add_argument("--xla-flags", default=FLAGS, help="added to XLA_FLAGS; give it as --xla-flags='--a --b'")
    parser.add_argument("--out", type=Path, help="file for the result, JSON; default results/<device>.json")
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
