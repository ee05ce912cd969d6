"""Two runs of the recipe `article`, epoch by epoch, beside what the article printed (Markdown).

diptych compare --recipe article
python bench/article.py runs/tensorflow-article-article-seed0 runs/keras-article-article-seed0
"""

import argparse

from diptych import InputError, Run

# Last batch loss, validation loss, validation accuracy, epoch by epoch.
TENSORFLOW = """
0.0246 0.0535 0.9848
0.0292 0.0442 0.9876
0.0511 0.0339 0.9906
0.0095 0.0302 0.9912
0.0574 0.0276 0.9920
0.0234 0.0227 0.9930
0.0039 0.0260 0.9916
0.0045 0.0257 0.9922
0.0152 0.0260 0.9916
0.0085 0.0213 0.9938
"""
TENSORFLOW_TEST = "0.9932"
# Mean training loss, validation loss, validation accuracy.
KERAS = """
0.2074 0.0415 0.9862
0.0727 0.0425 0.9886
0.0557 0.0366 0.9896
0.0486 0.0351 0.9896
0.0406 0.0239 0.9932
0.0385 0.0325 0.9910
0.0334 0.0266 0.9926
0.0313 0.0300 0.9914
0.0273 0.0266 0.9928
0.0273 0.0330 0.9920
"""
KERAS_TEST = "0.9930"


def table(title: str, loss: str, key: str, printed: str, printed_test: str, run: Run) -> str:
    """Epochs as rows: the article's three columns, then the run's."""
    result = run.result()
    if result is None or run.workflow != title.lower() or run.recipe.name != "article":
        raise InputError(f"run {run.folder}: expected one of {title} by the recipe article, ended")
    names = (loss, "validation loss", "validation accuracy")
    lines = [
        " | ".join(["| epoch", *(f"article: {n}" for n in names), *(f"here: {n}" for n in names)]),
        " ".join(["| ---:"] * 7),
    ]
    theirs = [line.split() for line in printed.strip().splitlines()]
    for number, (article, here) in enumerate(zip(theirs, run.metrics(), strict=True), 1):
        ours = [f"{here[name]:.4f}" for name in (key, "validation_loss", "validation_accuracy")]
        lines.append(" | ".join([f"| {number}", *article, *ours]))
    ours = f"**{result['test_accuracy']:.4f}**"
    lines.append(f"| test | | | **{printed_test}** | | | {ours}")
    return "\n".join([title, "", *(f"{line} |" for line in lines)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tensorflow", help="a run of the tensorflow workflow")
    parser.add_argument("keras", help="a run of the keras workflow")
    given = parser.parse_args()
    print(
        table(
            "TensorFlow",
            "last batch loss",
            "last_batch_loss",
            TENSORFLOW,
            TENSORFLOW_TEST,
            Run.open(given.tensorflow),
        ),
        table("Keras", "training loss", "train_loss", KERAS, KERAS_TEST, Run.open(given.keras)),
        sep="\n\n",
    )


if __name__ == "__main__":
    main()
