"""Settings: arguments and callbacks that training depends on and that no other stage compares."""

from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage

NAME = "settings"
LISTED = ("verbose", "validation_data", "validation_freq", "metrics")
"""Settings that affect the display of a training, but not the training."""
LENGTH = "epochs"
"""The setting by which a side defines how long it trains. A side need not define it: in many loops
the length is outside of what is audited."""


def check(pair: Pair, report: Reporter) -> Stage:
    """Compares the settings by name."""
    stage = Stage(NAME)
    told = {which: pair.sides[which].plan()["settings"] for which in SIDES}
    for which, settings in told.items():
        if "unable" in settings:
            side = pair.sides[which]
            stage.coverage.leave_out(f"the settings of {side.label}", str(settings["unable"]))
    if stage.coverage.left_out:
        stage.ok, stage.note = None, "; ".join(stage.coverage.left_out)
        stage.coverage.left_out.clear()
        return stage
    a, b = told["a"], told["b"]
    names = sorted(a.keys() | b.keys())
    stage.coverage.compared(max(1, len(names)), settings=", ".join(names) or "none on either side")
    for name in names:
        said = [f"{name}: {told[which].get(name, 'none')}" for which in SIDES]
        if said[0] == said[1]:
            continue
        if name == LENGTH and not all(name in settings for settings in told.values()):
            _leave_out_length(pair, stage, "b" if name in a else "a", said)
        elif name in LISTED:
            report.note(f"{said[0]} against {said[1]}; this does not affect the training")
        else:
            report("settings", a=said[0], b=said[1])
            stage.ok = False
    return stage


def _leave_out_length(pair: Pair, stage: Stage, silent: Which, said: list[str]) -> None:
    """Lists the epochs of one side as not compared, unless the stage schedule does so in steps."""
    other = pair.sides["a" if silent == "b" else "b"]
    if not other.plan()["horizon"].get("steps"):
        told = said[0] if silent == "b" else said[1]
        reason = f"{pair.sides[silent].label} does not define the length of its training"
        stage.coverage.leave_out(f"{other.label}'s {told}", reason)
