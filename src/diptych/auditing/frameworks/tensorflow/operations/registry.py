"""The readers of operations, and the tests of what arithmetic does."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from collections.abc import Callable

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.readers import Readers

reads: Readers[Callable[[Trace, Block], NodeDraft | None]] = Readers()
"""The node of a block, by the type of the operation at its core; None if unknown."""
