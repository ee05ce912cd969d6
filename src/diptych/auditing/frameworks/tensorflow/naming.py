"""Names for nodes."""

from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft


class Names:
    """Names for nodes: a layer's is that of its parameters, its activation's is made of that.

    Other nodes have their kind and a number.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.taken: set[str] = set()
        self.layers: set[str] = set()

    def new(self, found: NodeDraft, befores: tuple[str, ...]) -> str:
        """A name for what was found after the nodes of the given names."""
        name = ""
        if found.parameters and found.kind != "custom":
            name = next(iter(found.parameters.values())).rsplit("/", 1)[0]
            self.layers |= {name} if found.kind in ("conv", "dense") else set()
        elif found.kind == "activation" and befores[0] in self.layers:
            name = f"{befores[0]}/activation"
        while not name or name in self.taken:
            self.counts[found.kind] = self.counts.get(found.kind, 0) + 1
            name = f"{found.kind}_{self.counts[found.kind]}"
        self.taken.add(name)
        return name
