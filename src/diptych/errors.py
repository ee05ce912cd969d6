"""The one error that people cause and can mend."""


class InputError(ValueError):
    """What was asked for cannot be done as asked.

    The message is one line: what was given, what was expected, where, and how to mend it.
    The command line prints it alone and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
