"""The length of a side's training, and settings of its schedule that its rates do not show."""

from typing import Any

from diptych.auditing.frameworks.torch.schedule import Followed
from diptych.auditing.frameworks.torch.submission import Submission


def horizon(submission: Submission, followed: Followed) -> dict[str, Any]:
    """As `Adapter.horizon`: from the extras, or from the length of a scheduler.

    Args:
        submission: a build.
        followed: its first steps.
    """
    if "steps" in submission.extras:
        return {"steps": submission.extras["steps"], "source": "`steps` in extras"}
    for position, scheduler in enumerate(submission.schedulers):
        length, period = scheduler.length(), followed.period(position)
        if length is not None and period is not None:
            name, steps = length
            where = f" ({scheduler.where})" if scheduler.where else ""
            return {"steps": steps * period, "source": f"{name} of {steps}{where}"}
    return {"steps": None, "source": ""}


def settings(submission: Submission, followed: Followed) -> dict[str, str]:
    """As `Adapter.settings`: the schedulers that `rates` does not follow."""
    words = {}
    for position, scheduler in enumerate(submission.schedulers):
        name = f"schedule {position + 1}" if position else "schedule"
        stepped = followed.moves(position)
        if scheduler.follows_a_metric and stepped:
            words[name] = f"{scheduler}: follows a metric"
        elif not stepped and not scheduler.is_part_of(submission.schedulers):
            if "step" in submission.extras:
                steps = len(followed.calls)
                words[name] = f"{scheduler}: `step` in extras steps it in none of {steps} steps"
            else:
                words[name] = f"{scheduler}: nothing that is given steps it"
    return words
