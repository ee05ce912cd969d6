"""The readers of PyTorch's functions, by the functions' plain names.

A reader has the parameters of the function that it reads, after the drafts and the call, so that
Python itself binds a call's arguments; it says whether it made a node of the call.
"""

from collections.abc import Callable

from diptych.readers import Readers

reads: Readers[Callable[..., bool]] = Readers()
reads_modules: Readers[Callable[..., bool]] = Readers()
"""By the name of their class, modules of other libraries that are read as they are called."""
