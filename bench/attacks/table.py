"""The table of what was tried and what failed."""

from datetime import UTC, datetime

from attack import Attack, Tally

from diptych import machine

SHOWN = 10
"""Failures of an attack that are shown in full."""


def written(
    tallies: list[Tally], left_out: list[Attack], minutes: float, seed: int, kept: bool
) -> str:
    """The table as Markdown.

    Args:
        tallies: what came of the attacks that were made.
        left_out: the attacks that nobody asked for this time.
        minutes, seed: as they were given.
        kept: whether the tries of earlier calls are among them.
    """
    about = machine.describe()
    only = f" --only {','.join(tally.attack.name for tally in tallies)}" if left_out else ""
    command = f"make attack ARGUMENTS='--minutes {minutes:g} --seed {seed}{only}'"
    lines = [
        "# Attacks",
        "",
        f"{'Several calls of `make attack`' if kept else f'`{command}`'}, "
        f"{datetime.now(UTC):%Y-%m-%d}, on {about['processor']}, {about['cores']} cores. A try of "
        "an attack that has not reached its aim was not made for want of time.",
        "",
        "| attack | a try | what must be the case | tries | aim | failures | seconds |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for tally in tallies:
        attack = tally.attack
        lines.append(
            f"| {attack.name} | {attack.tried} | {attack.expected} | {tally.tries:,} | "
            f"{attack.bar:,} | {len(tally.failures):,} | {tally.seconds:,.0f} |"
        )
    lines += [
        f"| {attack.name} | {attack.tried} | {attack.expected} | not made | {attack.bar:,} | | |"
        for attack in left_out
    ]
    lines += ["", "## What happened", ""]
    for tally in tallies:
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.outcomes.items()))
        lines.append(f"- **{tally.attack.name}**: {counts or 'nothing'}")
    failed = [tally for tally in tallies if tally.failures]
    if failed:
        lines += ["", "## What failed", ""]
    for tally in failed:
        for line in tally.failures[:SHOWN]:
            lines.append(f"- **{tally.attack.name}** {' '.join(line.split())}")
        if len(tally.failures) > SHOWN:
            lines.append(f"- **{tally.attack.name}** and {len(tally.failures) - SHOWN:,} more")
    return "\n".join(lines) + "\n"
