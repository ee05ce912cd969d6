"""The model card that lies beside an exported file: what it is, and how to run it."""

from typing import Any

from diptych.network import Network


def card(
    about: dict[str, Any],
    description: str,
    file: str,
    size: int,
    example: str,
    check: dict[str, Any] | None,
) -> str:
    """The card as Markdown.

    Args:
        about: as `exporting.about_run` gives it.
        description: of the format.
        file: the file's name.
        size: its bytes.
        example: Python that runs it, if it can be run.
        check: the fields of `exporting.Check`.
    """
    network = Network.from_dict(about["network"])
    given, test, data, recipe = about["input"], about["test"], about["data"], about["recipe"]
    low, high = (f"{100 * share:.2f}" for share in test["interval"])
    facts = {
        "Format": f"{description}; {about['arithmetic']}; {size:,} bytes",
        "Input": f"{given['type']} (n, {', '.join(map(str, given['shape']))}), {given['axes']}: "
        f"{given['values']}",
        "Output": f"float32 (n, {network.classes}), {about['output']}",
        "Classes": ", ".join(about["class_names"]),
        "Accuracy": f"{100 * test['accuracy']:.2f}% of {test['images']:,} test images of "
        f"{data['name']} (95% interval {low} to {high}%), measured with the run's own weights",
        "Licence": about["licence"],
        "Data": f"{data['name']} (fingerprint {data['fingerprint']})",
        "Trained by": f"workflow {about['workflow']}, recipe {recipe['name']}, "
        f"seed {about['seed']}",
        "Recipe": ", ".join(
            f"{k} {v}" for k, v in recipe.items() if k not in ("name", "description")
        ),
        "Trained with": _versions(about["trained_with"]),
        "Written with": _versions(about["written_with"]),
    }
    if not example:
        del facts["Input"], facts["Output"]
    if check:
        facts["Checked"] = (
            f"on {check['images']:,} test images {check['tool']} reads {check['correct']:,} right, "
            f"the run {check['run_correct']:,}; {check['different']:,} read differently, logits "
            f"differ by up to {check['logits']:.1e} (the largest is {check['span']:.3g})"
        )
    lines = [f"# {file}", "", f"Network {network.name}, {network.parameters:,} parameters."]
    if network.description:
        lines[-1] += f" {network.description.rstrip('.')}."
    lines += ["", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in facts.items()]
    lines += ["", "| layer | kind | output | parameters |", "| --- | --- | --- | ---: |"]
    lines += [
        f"| {row.name} | {row.kind} | {'×'.join(map(str, row.output_shape))} | {row.parameters:,} |"
        for row in network.summary()
    ]
    if example:
        shape, kind = (1, *given["shape"]), given["type"]
        if given["axes"] == "channels first":  # The example turns them.
            shape = (1, *given["shape"][1:], given["shape"][0])
        imports, _, body = example.rstrip().partition("\n\n")
        lines += ["", "```python", "import numpy as np", imports, ""]
        lines += [f"images = np.zeros({shape}, np.{kind})  # yours", body, "```"]
    return "\n".join(lines) + "\n"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
