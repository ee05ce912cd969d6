"""One sentence in plain words: accuracy, speed and code."""

from diptych.comparison.results import Difference, Side

LEAST_SECONDS = 10
"""Times of trainings that are all shorter depend more on the machine's load than on the sides."""


def conclusion(sides: list[Side], differences: list[Difference], one_machine: bool) -> str:
    """The sentence; what is not known is not in it."""
    clauses = [_accuracy(sides, differences)]
    if all(side.training for side in sides):
        clauses.append(_speed(sides, one_machine))
    if len({side.workflow for side in sides}) > 1:
        short = min(sides, key=lambda side: side.lines_of_code)
        long = max(sides, key=lambda side: side.lines_of_code)
        if short.lines_of_code == long.lines_of_code:
            clauses.append(f"the plain scripts have {short.lines_of_code} lines each")
        else:
            clauses.append(
                f"the plain script has {short.lines_of_code} lines in {short.name} and "
                f"{long.lines_of_code} in {long.name}"
            )
    sentence = "; ".join(clauses[:2]) + "".join(f", and {clause}" for clause in clauses[2:])
    return f"{sentence[0].upper()}{sentence[1:]}."


def _accuracy(sides: list[Side], differences: list[Difference]) -> str:
    ranked = sorted(sides, key=lambda side: side.test_accuracy, reverse=True)
    best, worst = ranked[0], ranked[-1]
    points = 100 * (best.test_accuracy - worst.test_accuracy)
    real = [d for d in differences if d.means_something]
    what = "workflows" if len({side.workflow for side in sides}) == len(sides) else "sides"
    if real:
        pairs = "; ".join(
            f"{d.first} and {d.second} differ (p = {d.p_value:.3g}, {d.test})" for d in real
        )
        return f"{best.name} is {points:.2f} points more accurate than {worst.name}: {pairs}"
    if not differences:
        accuracies = ", ".join(f"{side.name} {100 * side.test_accuracy:.2f}%" for side in ranked)
        return f"their accuracies were not tested against each other: {accuracies}"
    equally = f"the {what} are equally accurate as far as this can tell"
    if points == 0:
        return f"{equally}: they classify as many test images correctly"
    known = [d.p_value for d in differences if d.p_value is not None]
    chance = f"within chance (p = {min(known):.2g})" if known else "too few seeds to test"
    return f"{equally}: {points:.2f} points between {best.name} and {worst.name} are {chance}"


def _speed(sides: list[Side], one_machine: bool) -> str:
    times = sorted((side.training.seconds, side.name) for side in sides if side.training)
    (least, fast), (most, slow) = times[0], times[-1]
    if not one_machine:
        return "they ran on several machines, so their times cannot be compared"
    if most < LEAST_SECONDS:
        return "they trained too briefly to compare their times"
    if most / least < 1.05:
        return "they took the same time"
    return f"{fast} trained {most / least:.2f} times as fast as {slow} here"
