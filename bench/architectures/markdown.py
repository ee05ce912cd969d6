"""Results as a Markdown table."""

from typing import Any

from built_networks import FAULT, NETWORKS, PORT, SELF, Network

HEAD = (
    "| network | parameters | against itself | planted fault | first finding | "
    "faithful port | seconds | memory, MiB |\n"
    "| --- | ---: | --- | --- | --- | --- | ---: | ---: |"
)
Results = dict[tuple[str, ...], dict[str, Any]]


def written(results: Results) -> str:
    """The table of all networks, and how many are right of those that were run."""
    lines = [HEAD, *(_row(network, results) for network in NETWORKS), ""]
    for audit, words in ((SELF, "Against itself"), (FAULT, "Planted fault first"), (PORT, "Port")):
        ran = [n for n in NETWORKS if (n.name, audit) in results]
        right = [n for n in ran if is_right(n, audit, results[n.name, audit])]
        of = [n for n in NETWORKS if audit in n.pairs()]
        lines.append(f"- {words}: {len(right)} of {len(ran)} right, {len(of) - len(ran)} not run.")
    return "\n".join(lines)


def is_right(network: Network, audit: str, result: dict[str, Any]) -> bool:
    """No difference where there is none; the planted fault first, where there is one."""
    if "findings" not in result or result["faults"]:
        return False
    if audit != FAULT:
        return not result["findings"]
    return bool(result["findings"]) and result["findings"][0][0] in network.causes


def _row(network: Network, results: Results) -> str:
    there = {audit: results.get((network.name, audit)) for audit in network.pairs()}
    ran = [result for result in there.values() if result]
    cells = [
        network.name,
        next((_parameters(r) for r in ran if "structure" in r), ""),
        _cell(network, SELF, there),
        network.fault,
        _cell(network, FAULT, there),
        _cell(network, PORT, there),
        ", ".join(f"{result['seconds']:.0f}" for result in ran),
        _memory(ran),
    ]
    return f"| {' | '.join(cells)} |"


def _memory(ran: list[dict[str, Any]]) -> str:
    """The highest peak, MiB; an audit may end before its memory is first looked at."""
    peak = max((result["memory"] for result in ran), default=0)
    return f"{peak:,}" if peak else ""


def _parameters(result: dict[str, Any]) -> str:
    words = result["structure"].split(", ", 1)[-1].split()
    return words[0] if words else ""


def _cell(network: Network, audit: str, there: dict[str, dict[str, Any] | None]) -> str:
    if audit not in there:
        return ""
    result = there[audit]
    if result is None:
        return "not run"
    if "findings" not in result:
        return "wrong: out of time" if result["exit"] is None else f"wrong: {result['error']}"
    verdict = "right" if is_right(network, audit, result) else "wrong"
    codes = [code for code, _ in result["findings"]]
    words = "no difference" if not codes else f"`{codes[0]}`"
    if len(codes) > 1:
        words += f" and {len(codes) - 1} more"
    if result["faults"]:
        words += f", failed inside: {', '.join(result['faults'])}"
    return f"{verdict}: {words}"
