"""The processes that train one network together, and the share of a batch that each of them has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """This process among those that train one network together."""

    rank: int
    """Counted from 0; the first one reports and saves."""
    size: int
    rendezvous: str
    """The meeting addresses: ``tcp://HOST:PORT`` of each process in the order of their ranks, with
    commas between them, or for processes of one machine ``file://PATH``, which does not exist
    yet."""

    @property
    def addresses(self) -> list[str]:
        """The ``HOST:PORT`` of each process."""
        return [place.removeprefix("tcp://") for place in self.rendezvous.split(",")]

    def rows(self, count: int) -> slice:
        """This process's rows of a batch of that many; none where there are fewer rows than
        processes."""
        first, end = (count * rank // self.size for rank in (self.rank, self.rank + 1))
        return slice(first, end)
