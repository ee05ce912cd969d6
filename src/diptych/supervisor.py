"""A worker's process, started under another one that ends whatever the worker leaves behind.

It forks before NumPy is imported: a fork of a process with threads may wait for ever for one that
it does not have.
"""

import sys

from diptych import processes


def main() -> None:
    """Becomes a worker over the descriptors that the arguments name."""
    processes.supervise(int(descriptor) for descriptor in sys.argv[1:3])
    from diptych import child

    child.main()


if __name__ == "__main__":
    main()
