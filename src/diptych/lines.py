"""The lines that a training prints: one per epoch in the article's words, and one at the end."""

from diptych.events import Done, EpochEnded, Event, Loading, WeightsKept
from diptych.printing import say
from diptych.workflows.progress import Epoch


def print_line(event: Event) -> None:
    """Prints the line of an event that has one."""
    if line := line_of(event):
        say(line)


def line_of(event: Event) -> str | None:
    """The line for an event of a training that has one."""
    match event:
        case Loading():
            return (
                f"{event.workflow}: network {event.network}, recipe {event.recipe} "
                f"({event.precision}), seed {event.seed}, in {event.run}"
            )
        case EpochEnded():
            return epoch_line(event.measured)
        case WeightsKept():
            early = f"Stopped early after epoch {event.epochs}: t" if event.early else "T"
            return f"{early}he weights of epoch {event.epoch} are kept"
        case Done():
            return f"Final accuracy on test set: {event.test_accuracy:.4f}"
    return None


def epoch_line(epoch: Epoch) -> str:
    """The article's line for an epoch."""
    return (
        f"Epoch {epoch.epoch} | Last Batch Train Loss: {epoch.last_batch_loss:.4f} | "
        f"Last Batch Train Accuracy: {epoch.last_batch_accuracy:.4f} | "
        f"Validation Loss: {epoch.validation_loss:.4f} | "
        f"Validation Accuracy: {epoch.validation_accuracy:.4f}"
    )
