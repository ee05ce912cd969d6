"""Dominators in a graph of operations: what all ways from the input lead through."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

from diptych.auditing.frameworks.tensorflow.trace import Trace

Operation = Any


class Dominators:
    """The operations on all paths from x to an operation."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nearest: dict[str, Operation] = {}
        self.depth = {trace.x.op.name: 0}
        for operation in trace.operations:
            sources = [tensor.op for tensor in trace.sources(operation)]
            if sources and operation.name in trace.on_x:
                above = sources[0]
                for source in sources[1:]:
                    above = self.common(above, source)
                self.nearest[operation.name] = above
                self.depth[operation.name] = self.depth[above.name] + 1

    def common(self, a: Operation, b: Operation) -> Operation:
        """The last operation that all ways to either lead through."""
        while a is not b:
            if self.depth[a.name] < self.depth[b.name]:
                a, b = b, a
            a = self.nearest[a.name]
        return a

    def region(self, end: Operation) -> list[Operation]:
        """The operations between the nearest dominator of one and itself, which is the last."""
        start, found, waiting = self.nearest[end.name], {end.name: end}, [end]
        while waiting:
            for tensor in self.trace.sources(waiting.pop()):
                if tensor.op is not start and tensor.op.name not in found:
                    found[tensor.op.name] = tensor.op
                    waiting.append(tensor.op)
        return [operation for operation in self.trace.operations if operation.name in found]
