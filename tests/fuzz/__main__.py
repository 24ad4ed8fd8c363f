"""`python -m tests.fuzz --seconds 60 --target blosc`: fuzz one target, several, or all of them.

Prints executions, executions a second, and findings; saves the findings. The exit status is 1 where there are any.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz.supervisor import fuzz, replay, save
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = [*TARGETS]
    parser.add_argument("--target", nargs="*", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--executions", type=int, help="for each target, at most")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for what is found")
    parser.add_argument("--replay", type=Path, metavar="CORPUS", help="run the inputs in CORPUS/<target>/ instead")
    arguments = parser.parse_args()
    total = found = 0
    if arguments.replay is None:
        print(f"seed {arguments.seed}")
    for name in arguments.target:
        if arguments.replay is not None:
            inputs = [path.read_bytes() for path in sorted((arguments.replay / name).glob("*"))]
            report = replay(TARGETS[name], inputs)
        else:
            report = fuzz(TARGETS[name], arguments.seconds, arguments.seed, arguments.executions)
        print(report, flush=True)
        for path, (what, _) in zip(save(report, arguments.findings), report.findings, strict=True):
            print(f"  {path}: {what.strip().splitlines()[-1]}")
        total += report.executions
        found += len(report.findings)
    print(f"{total:,} executions, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
