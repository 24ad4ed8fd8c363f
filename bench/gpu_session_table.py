"""What came of a session's steps (`gpu_session.py`), a line each, and the lines of what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Found = dict[str, Any]  # of one step


def table(found: dict[str, Found]) -> str:
    """All steps."""
    lines = []
    for name, step in found.items():
        detail = DETAILS.get(name, lambda step: "")(step)
        lines.append(f"{name:<12} {step['status']:<20} {step.get('seconds', 0):>6} s  {detail}")
    return "\n".join(lines)


def _product(step: Found) -> Any:
    return step.get("product", {})


def _last(step: Found) -> str:
    return step["output"][-1] if step.get("output") else ""


def _card(step: Found) -> str:
    return str(_product(step).get("gpu", {}).get("cuda", ""))


def _quicker(step: Found) -> str:
    trials = _product(step).get("file reads to a GPU", {})
    return "; ".join(f"{place}: {said}" for place, said in trials.items()) or _last(step)


def _answered(step: Found) -> str:
    answers = _product(step).get("answers", {})
    wrong = [name for name, a in answers.items() if a.get("equal") != a.get("streams") or "error" in a]
    right = len(answers) - len(wrong)
    return f"{right} of {len(answers)} decoded to the right bytes; not: {', '.join(wrong) or 'none'}"


def _harmed(step: Found) -> str:
    answers = _product(step).get("answers", {}).values()
    refused = sum("error" not in a and (a["statuses"] != [0] or not a["sizes_right"]) for a in answers)
    ended = sum("error" in a for a in answers)
    silent = len(answers) - refused - ended
    return f"{len(answers)} damaged streams: {refused} reported, {silent} not, {ended} no answer"


def _rates(step: Found) -> str:
    rates = _product(step).get("rates", {})
    copy, kernels = rates.get("copy", {}), rates.get("kernels", {})
    lines = [f"{name} {rate / 1e9:.1f} GB/s" for name, rate in copy.items()]
    slow = sorted((rate / copy["within"], name) for name, rate in kernels.items())[:4]
    lines.append("slowest kernels: " + ", ".join(f"{name} {share:.2f} of the copy" for share, name in slow))
    best: dict[str, float] = {}
    for name, rate in rates.get("nvcomp", {}).items():
        format = name.split()[0]
        best[format] = max(rate, best.get(format, 0))
    lines.append("nvCOMP at best: " + ", ".join(f"{name} {rate / 1e9:.1f} GB/s" for name, rate in best.items()))
    return "\n    ".join(lines)


def _drilled(step: Found) -> str:
    return ", ".join(f"{name} {'ok' if drill['ok'] else 'FAILED'}" for name, drill in _product(step).items())


def _best(step: Found) -> str:
    rows = [row for row in _product(step).get("rows", []) if row["seconds"]]
    best = [min(row["seconds"], key=lambda name: min(row["seconds"][name])) for row in rows]
    return "; ".join(f"{row['codec']}: {name}" for row, name in zip(rows, best, strict=True))


def _cells(step: Found) -> str:
    rows = _product(step).get("rows", [])
    lines = [
        f"{row['cell']:<44} {row['nbytes'] / min(row['seconds']['gpuzarr']) / 1e9:8.2f} GB/s  share {row['share']:.2f}"
        f" of {max(row['floors'], key=row['floors'].get)}"
        for row in rows
        if "gpuzarr" in row["seconds"]
    ]
    return "\n    ".join([f"{len(rows)} cells", *lines])


DETAILS: dict[str, Callable[[Found], str]] = {
    "questions": _answered,
    "danger": _harmed,
    "rates": _rates,
    "bench": _cells,
    "sweep": _best,
    "drill": _drilled,
    "tests": _last,
    "memcheck": _last,
    "initcheck": _last,
    "doctor": _card,
    "kvikio": _quicker,
}
