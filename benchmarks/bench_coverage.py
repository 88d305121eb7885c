"""Prints how often 95 % intervals hold a known truth, ours beside others on the same draws, regime by regime.

Ends with 1 under --check when a goal is missed: every identified regime within 93-97 %, at least 95 % of the
unidentifiable worlds refused, at most 10 % refusals in easy regimes, and no wider than 1.25 times an oracle.
Results are kept as JSON lines under --out, one file per regime and method, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from coverage_methods import METHODS
from coverage_regimes import WORLDS, World
from scipy import stats
from shadowprice.ingest.simulator.regime import draw
from threadpoolctl import threadpool_limits

LOW, HIGH = 0.93, 0.97
"""Every identified regime must cover within these, up to the noise of the replications."""
NOISE: Final = 0.005
"""Chance that a regime with true coverage at the end of the range is counted as missed."""
MIN_REFUSED: Final = 0.95
MAX_REFUSED: Final = 0.10
MAX_WIDTH: Final = 1.25
ORACLE_VALID: Final = 0.93
FAST: Final = ("ours", "oracle", "wald")
PEERS: Final = ("econml linear", "doubleml")
SLOW: Final = ("econml forest",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one method did in one regime. None where it gave no interval at all."""

    reps: int
    refused: float
    coverage: float | None
    width: float | None
    bias: float | None
    covered: int


def path(out: Path, world: World, method: str) -> Path:
    """Where the answers of one method in one regime are kept."""
    return out / f"{re.sub(r'[^a-z0-9]+', '-', world.name.lower())}.{method.replace(' ', '-')}.jsonl"


def run(task: tuple[Path, str, dict[str, int]]) -> tuple[str, float]:
    """Draw the missing replications of a regime and append each method's answers; returns name, seconds."""
    out, name, wanted = task
    world = next(w for w in WORLDS if w.name == name)
    began = time.perf_counter()
    files = {m: path(out, world, m) for m in wanted}
    wanted = {m: round(world.share * reps) for m, reps in wanted.items()}
    done = {m: len(f.read_text().splitlines()) if f.exists() else 0 for m, f in files.items()}
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # peers warn about what this benchmark measures
        for seed in range(min(done.values(), default=0), max(wanted.values(), default=0)):
            due = [m for m in wanted if done[m] <= seed < wanted[m]]
            if not due:
                continue
            drawn = draw(world.regime, seed=seed)
            frame = world.change(drawn.frame) if world.change else drawn.frame
            for method in due:
                answer = METHODS[method](world, drawn, frame)
                with files[method].open("a", encoding="utf-8") as sink:
                    sink.write(json.dumps(asdict(answer)) + "\n")
    return name, time.perf_counter() - began


def summarise(lines: Iterable[str]) -> Summary | None:
    """The summary of the answers of one method in one regime, None when there are none."""
    answers: list[dict[str, Any]] = [json.loads(line) for line in lines]
    given = [a for a in answers if a["value"] is not None]
    if not answers:
        return None
    covered = sum(a["lower"] <= a["truth"] <= a["upper"] for a in given)
    return Summary(
        reps=len(answers),
        refused=1 - len(given) / len(answers),
        coverage=covered / len(given) if given else None,
        width=float(np.mean([a["upper"] - a["lower"] for a in given])) if given else None,
        bias=float(np.mean([a["value"] - a["truth"] for a in given])) if given else None,
        covered=covered,
    )


def within(covered: int, n: int) -> bool:
    """Whether `covered` of `n` is compatible with a true coverage inside [LOW, HIGH]."""
    low, high = stats.binom.ppf(NOISE, n, LOW), stats.binom.isf(NOISE, n, HIGH)
    return bool(low <= covered <= high)


def misses(out: Path) -> Iterator[str]:
    """Each goal that was missed, in words."""
    for world in WORLDS:
        found = {m: _read(out, world, m) for m in ("ours", "oracle")}
        ours, oracle = found["ours"], found["oracle"]
        if ours is None:
            yield f"{world.name}: not run"
            continue
        if not world.identified:
            if ours.refused < MIN_REFUSED:
                yield f"{world.name}: refused {ours.refused:.1%}"
            continue
        if world.easy and ours.refused > MAX_REFUSED:
            yield f"{world.name}: refused {ours.refused:.1%} of an easy regime"
        given = round(ours.reps * (1 - ours.refused))
        if given and not within(ours.covered, given):
            yield f"{world.name}: coverage {ours.covered / given:.1%} of {given}"
        valid = oracle is not None and oracle.coverage is not None and oracle.coverage >= ORACLE_VALID
        if valid and ours.width and oracle and oracle.width and ours.width > MAX_WIDTH * oracle.width:
            yield f"{world.name}: {ours.width / oracle.width:.2f} times as wide as the oracle"


def _read(out: Path, world: World, method: str) -> Summary | None:
    file = path(out, world, method)
    return summarise(file.read_text().splitlines()) if file.exists() else None


def table(out: Path) -> Iterator[str]:
    """The table as Markdown lines: coverage and width per method, bias and refusals for ours."""
    heads = ["regime", "reps", "ours", "refused", "bias", "width", "width / oracle", "oracle", "Wald AIPW"]
    heads += [*PEERS, *SLOW]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for world in WORLDS:
        found = {m: _read(out, world, m) for m in METHODS}
        ours, oracle = found["ours"], found["oracle"]
        if ours is None:
            continue
        cells = [world.name, str(ours.reps), _percent(ours.coverage), f"{ours.refused:.0%}"]
        cells += [_number(ours.bias, "+.3f"), _number(ours.width, ".3f")]
        ratio = ours.width / oracle.width if ours.width and oracle and oracle.width else None
        cells.append(_number(ratio, ".2f"))
        cells.append(_percent(oracle.coverage if oracle else None))
        for method in ("wald", *PEERS, *SLOW):
            peer = found[method]
            shown = (
                f"{_percent(peer.coverage)} ({_number(peer.width, '.2f')})"
                if peer and peer.coverage is not None
                else "-"
            )
            cells.append(shown)
        yield "| " + " | ".join(cells) + " |"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out-coverage"), help="folder of the answers")
    parser.add_argument("--reps", type=int, default=500, help="replications of ours, oracle and Wald")
    parser.add_argument("--peer-reps", type=int, default=100, help="of econml's linear learner and doubleml")
    parser.add_argument("--slow-reps", type=int, default=20, help="of econml's forest")
    parser.add_argument("--only", default="", help="regimes whose name matches this regular expression")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="end with 1 when a goal is missed")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    fast = dict.fromkeys(FAST, args.reps)
    peers = dict.fromkeys(PEERS, args.peer_reps) | dict.fromkeys(SLOW, args.slow_reps)
    tasks = [
        (
            args.out,
            w.name,
            {k: v for k, v in ((fast | peers) if w.identified else {"ours": args.reps}).items() if v},
        )
        for w in WORLDS
        if re.search(args.only, w.name)
    ]
    with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=1) as pool:
        for name, seconds in pool.imap_unordered(run, tasks):
            print(f"{name}: {seconds:.0f} s", file=sys.stderr)
    for line in table(args.out):
        print(line)
    missed = list(misses(args.out))
    for line in missed:
        print(f"missed: {line}")
    return int(bool(missed) and args.check)


if __name__ == "__main__":
    sys.exit(main())
