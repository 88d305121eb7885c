"""Write a simulated run: python -m shadowprice.ingest.simulator --out examples --requests 2000 --seed 7."""

from __future__ import annotations

import argparse
from pathlib import Path

from .simulate import simulate


def main() -> None:
    """Write the logs (gzip) and the configuration, and on demand the truth."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m shadowprice.ingest.simulator")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs/ and shadowprice.toml")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tenants", type=int, default=60)
    parser.add_argument("--null", action="store_true", help="a world in which nothing is misallocated")
    parser.add_argument("--truth", action="store_true", help="also write truth/")
    given = parser.parse_args()
    simulate(
        given.out,
        seed=given.seed,
        requests=given.requests,
        tenants=given.tenants,
        null=given.null,
        with_truth=given.truth,
        compress=True,
    )


if __name__ == "__main__":
    main()
