"""Studies: the table of arms, and the verdict in a sentence."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.render.terminal import table
from diptych.study.description import Answer, Arm, Study
from diptych.study.space import Search
from diptych.study.study import Outcome
from diptych.study.verdict import Contrast

SHARES = (
    "test_accuracy",
    "validation_accuracy",
    "accuracy_moved",
    "accuracy_turned",
    "accuracy_scaled",
)
STYLES = {"yes": "green", "no": "bold red", "not decided": "yellow"}


def study_table(studies: Sequence[Study | Search]) -> RenderableType:
    """One row per study."""
    rows = table("Study", "Question", left=2)
    rows.columns[1].no_wrap = False
    for study in studies:
        rows.add_row(study.name, study.question)
    return rows


def outcome(result: Outcome) -> RenderableType:
    """The outcome of one study."""
    study, answer = result.study, result.study.answer
    lines: list[RenderableType] = [Text(study.question, style="bold")]
    if study.claim:
        lines.append(Text(f"The article: “{study.claim}”", style="italic"))
    rows = table("", "Mean", "Spread", "Difference", "95% interval", "p", "")
    contrasts = {contrast.arm: contrast for contrast in result.verdict.contrasts}
    for arm in result.verdict.arms:
        spread = "–" if arm.spread is None else value_of(answer.measure, arm.spread)
        rows.add_row(
            arm.name,
            value_of(answer.measure, arm.mean),
            spread,
            *_cells(answer, contrasts.get(arm.name)),
        )
    lines += [rows, Text(sentence(result), style=STYLES[result.verdict.word])]
    if result.quick:
        lines.append(Text(quick_sentence(study), style="dim"))
    return Group(*lines)


def _cells(answer: Answer, contrast: Contrast | None) -> tuple[str, str, str, str]:
    if contrast is None:
        return "", "", "", ""
    interval = "–"
    if contrast.interval:
        interval = " to ".join(value_of(answer.measure, end) for end in contrast.interval)
    p_value = "–" if contrast.p_value is None else f"{contrast.p_value:.2g}"
    return value_of(answer.measure, contrast.difference), interval, p_value, contrast.word


def value_of(measure: str, value: float) -> str:
    """A value of a measure, as a percentage if the measure is one of `SHARES`."""
    return f"{100 * value:.2f}%" if measure in SHARES else f"{value:.4g}"


def quick_sentence(study: Study) -> str:
    """The changes of the quick study, in a sentence."""
    arms = {"": study.quick, **{f"{name}: ": arm for name, arm in study.quick_arms.items()}}
    changes = "; ".join(
        label + ", ".join(f"{key} = {value}" for key, value in _changes(arm).items())
        for label, arm in arms.items()
        if _changes(arm)
    )
    if not changes:
        return "This is the quick study: fewer seeds."
    return f"This is the quick study: fewer seeds, and trainings with {changes}."


def _changes(arm: Arm) -> dict[str, object]:
    changes = arm.model_dump(exclude_unset=True)
    values = changes.pop("values", {})
    return changes | values


def sentence(result: Outcome) -> str:
    """The verdict in a sentence."""
    answer, names = result.study.answer, list(result.study.arms)
    what = answer.measure.replace("_", " ")
    if answer.kind == "below":
        assert answer.limit is not None
        limit = value_of(answer.measure, answer.limit)
        claim = f"all of {', '.join(names)} stay below {limit} in {what}"
    elif answer.kind in ("higher", "lower"):
        claim = f"{names[0]} is {answer.kind} than {', '.join(names[1:])} in {what}"
    else:
        assert answer.margin is not None
        claim = (
            f"{', '.join(names[1:])} {'is' if len(names) == 2 else 'are'} within "
            f"{value_of(answer.measure, answer.margin)} of {names[0]} in {what}"
        )
    seeds = f"{result.seeds} seed{'s' if result.seeds > 1 else ''}"
    return f"{result.verdict.word.capitalize()}: {claim} ({seeds} per arm)."
