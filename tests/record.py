"""Records what a run found, and compares two runs: for changes of structure that must not change results.

    python tests/record.py RUN > before.json          of this layout or of layout 1 (evaluations.jsonl at the top of the run)
    python tests/record.py RUN --with before.json     exit code 1 where a network that both know has other values or weights

The record has every evaluated network in order (origin, digest, top1, loss, macs, params), the retrainings, the SHA-256 of every file
of weights, and the rows of front.csv.
"""

import argparse
import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def evaluated(line: dict[str, Any]) -> list[Any]:
    """[origin, digest, top1, loss, macs, params] of an evaluation of either layout."""
    origin = line["origin"]["name"] if "origin" in line else line["sampler"]
    costs = line.get("costs", line)
    return [origin, line["digest"], line["top1"], line["loss"], costs["macs"], costs["params"]]


def record(run: Path) -> dict[str, Any]:
    """What a run found, per search; layout 1 has one search, without a name."""
    found: dict[str, Any] = {"supernet": hashlib.sha256((run / "supernet.safetensors").read_bytes()).hexdigest()}
    front = run / "front.csv"
    rows = list(csv.DictReader(front.open(newline=""))) if front.exists() else []
    folders = sorted((run / "searches").glob("*")) or [run]
    for folder in folders:
        name = folder.name if folder != run else ""
        found[name or "search"] = {
            "evaluations": [evaluated(line) for line in lines(folder / "evaluations.jsonl")],
            "retrainings": {
                f"{line['digest']}-{line['init']}-{line['seed']}": [
                    line["validation_top1"],
                    line["test_top1"],
                    line["test_loss"],
                ]
                for line in lines(folder / "retrained.jsonl")
            },
            "weights": {
                str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted((folder / "networks").rglob("*.safetensors"))
            },
            "front": [row for row in rows if row.get("search", name) == name],
        }
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Where networks, weights or retrainings that both records have differ; and how many were compared, in the last line."""
    found = ["the supernet"] if before["supernet"] != after["supernet"] else []
    tables: list[dict[str, Any]] = []
    for whole in (before, after):
        table: dict[str, Any] = {}
        for search in (value for value in whole.values() if isinstance(value, dict)):
            table |= {f"evaluation {line[1]}": line[2:] for line in search["evaluations"]}
            table |= {f"retraining {name}": values for name, values in search["retrainings"].items()}
            table |= {f"weights {name}": digest for name, digest in search["weights"].items()}
        tables.append(table)
    one, other = tables
    both = sorted(one.keys() & other.keys())
    found += [f"{name}: {one[name]} and {other[name]}" for name in both if one[name] != other[name]]
    return [*found, f"{len(both)} values compared; {len(one)} and {len(other)} there"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--with", dest="other", type=Path)
    options = parser.parse_args()
    found = record(options.run)
    if options.other is None:
        print(json.dumps(found, indent=1))  # noqa: T201
        return 0
    told = differences(json.loads(options.other.read_text()), found)
    print("\n".join(told))  # noqa: T201
    return min(1, len(told) - 1)


if __name__ == "__main__":
    sys.exit(main())
