"""Fuzz every reader with coverage guidance (atheris): any error but our own, hang or growing memory is a bug.

Seeds are the logs of the readers' tests and public samples; half of the mutations keep the shape of the log.
Run: pip install -e '.[dev,fuzz]'; python benchmarks/fuzz_readers.py [--inputs 30000] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = 1
SLOW_S = 2.0
"""Processor time of one input beyond which it counts as a hang; inputs have at most MAX_INPUT bytes."""
HUNG_S = 20
"""Processor time after which an input is given up. Time by the clock would blame whatever input a busy or
suspended machine stops at."""
STUCK_S = 1800
"""Seconds by the clock after which a target is ended: it waits, or hangs where Python cannot interrupt it."""
MAX_INPUT = 8 * 1024
MAX_MEMORY_MIB = 2048
STAGED_SHARE = 10
"""Staging writes Parquet for each input, and gets this many times fewer of them."""
COLUMNS = (
    *("target", "inputs", "inputs per processor s", "edges", "crashes", "hangs", "slowest, s"),
    *("peak MiB", "MiB after warm-up", "MiB for one input", "end"),
)
WARM = 0.2
"""Share of the inputs after which memory should not grow any more."""


class HungError(BaseException):
    """An input has used HUNG_S; no Exception, which a reader may catch."""


@dataclass(slots=True)
class Seen:
    """What one target came to."""

    inputs: int = 0
    processor_s: float = 0.0
    slowest_s: float = 0.0
    timeouts: int = 0
    warm_mib: float = 0.0
    peak_mib: float = 0.0
    hungriest_mib: float = 0.0
    crashes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def fuzz_one(name: str, corpus: Path, found: Path, inputs: int) -> None:
    """Fuzz one target in this process, which ends with it; what was seen is kept in `found`."""
    import atheris

    with atheris.instrument_imports(include=["shadowprice.ingest"]):
        from fuzz_targets import targets
    from fuzz_mutations import mutated

    seen = Seen()
    rng = random.Random(SEED)
    begun = time.process_time()

    def tell() -> None:
        seen.processor_s = time.process_time() - begun
        seen.peak_mib = _peak_mib()
        (found / "facts.json").write_text(json.dumps(seen.facts()))

    def one_input(data: bytes) -> None:
        before, held = time.process_time(), _peak_mib()
        try:
            signal.setitimer(signal.ITIMER_PROF, HUNG_S)
            target(data)
        except (Exception, HungError) as error:  # noqa: BLE001 # whatever a reader raises is what we look for
            where = traceback.format_exc()
            frames = traceback.extract_tb(error.__traceback__)[-2:]
            key = " < ".join([type(error).__name__, *(f"{Path(f.filename).name}:{f.lineno}" for f in frames)])
            if not seen.crashes[key]:
                (found / f"crash-{len(seen.crashes)}").write_bytes(data)
                (found / f"crash-{len(seen.crashes)}.txt").write_text(where)
            seen.crashes[key] += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - before
        if took > seen.slowest_s:
            seen.slowest_s = took
            (found / "slowest").write_bytes(data)
        grown = _peak_mib() - held
        if grown > seen.hungriest_mib:
            seen.hungriest_mib = grown
            (found / "hungriest").write_bytes(data)
        seen.timeouts += took > SLOW_S
        seen.inputs += 1
        if seen.inputs == int(inputs * WARM):
            seen.warm_mib = _peak_mib()
        if seen.inputs >= inputs or seen.inputs % 1000 == 0:
            tell()

    def give_up(*_: object) -> None:
        raise HungError

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng.seed(seed)
        shaped = mutated(data, rng) if rng.random() < 0.6 else None
        return shaped if shaped and len(shaped) <= max_size else atheris.Mutate(data, max_size)

    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        target = targets(Path(folder))[name]
        grown = Path(folder) / "corpus"
        grown.mkdir()
        signal.signal(signal.SIGPROF, give_up)
        options = [f"-runs={inputs}", f"-seed={SEED}", f"-max_len={MAX_INPUT}", f"-timeout={STUCK_S}"]
        options += [f"-rss_limit_mb={MAX_MEMORY_MIB}", f"-artifact_prefix={found}/"]
        atheris.Setup([sys.argv[0], *options, str(grown), str(corpus)], one_input, custom_mutator=mutate)
        atheris.Fuzz()


def fuzz(name: str, corpus: Path, found: Path, inputs: int) -> tuple[dict[str, Any], int, str]:
    """The facts of one target fuzzed in a process of its own, its edges covered, and how it ended."""
    own = found / name
    own.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--one", name, "--corpus", str(corpus), "--found", str(own)]
    command += ["--inputs", str(inputs)]
    with (own / "fuzzer.log").open("wb") as log:
        code = subprocess.run(command, stderr=log, stdout=log, check=False).returncode
    told = (own / "fuzzer.log").read_text(errors="replace")
    edges = max((int(hit) for hit in re.findall(r"cov: (\d+)", told)), default=0)
    facts = own / "facts.json"
    return json.loads(facts.read_text()) if facts.is_file() else Seen().facts(), edges, str(code)


def _peak_mib() -> float:
    """The most memory that this process has held so far; unlike ru_maxrss, not that of its parent."""
    with Path("/proc/self/status").open("rb") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(b"VmHWM")) / 1024


def _cells(facts: dict[str, Any], edges: int, end: str) -> list[str]:
    rate = facts["inputs"] / facts["processor_s"] if facts["processor_s"] else 0
    return [
        *(f"{facts['inputs']:,}", f"{rate:,.0f}", f"{edges:,}"),
        *(f"{len(facts['crashes'])}", f"{facts['timeouts']}", f"{facts['slowest_s']:.3f}"),
        *(f"{facts['peak_mib']:.0f}", f"+{facts['peak_mib'] - facts['warm_mib']:.0f}"),
        *(f"{facts['hungriest_mib']:.0f}", end),
    ]


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 # a private folder below it


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=32_000, help="inputs per target")
    options.add_argument("--only", nargs="*", default=[], help="targets to fuzz; all when absent")
    options.add_argument("--found", type=Path, help="folder for crashes and slow inputs")
    options.add_argument("--corpus", type=Path, help="folder of seeds from an earlier run")
    options.add_argument("--one", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        fuzz_one(given.one, given.corpus, given.found, given.inputs)
        return 0
    from fuzz_corpus import collect
    from fuzz_targets import SEEDED_BY, STAGING, targets

    found = given.found or Path(tempfile.mkdtemp(prefix="fuzz-found-"))
    corpus = given.corpus or Path(tempfile.mkdtemp(prefix="fuzz-corpus-", dir=_memory()))
    if not any(corpus.iterdir() if corpus.is_dir() else ()):
        corpus.mkdir(parents=True, exist_ok=True)
        collect(corpus)
    print(f"crashes and slowest inputs: {found}; seeds: {corpus}\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    total = bugs = 0
    for name in given.only or list(targets(found)):
        seeds = corpus / SEEDED_BY.get(name, name)
        seeds.mkdir(exist_ok=True)
        wanted = given.inputs // STAGED_SHARE if name in STAGING else given.inputs
        facts, edges, end = fuzz(name, seeds, found, wanted)
        total += facts["inputs"]
        bugs += len(facts["crashes"]) + facts["timeouts"] + (end != "0")
        print(f"| {name} | {' | '.join(_cells(facts, edges, end))} |", flush=True)
    print(f"\n{total:,} inputs, {bugs} bugs")
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
