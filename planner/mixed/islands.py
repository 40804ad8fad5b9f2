"""Unlike groups of nodes and what joins them."""

from dataclasses import dataclass

from costmodels.hardware import Cluster, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """What joins two groups. ``link``: one GPU's share of its node's cards on the way across. ``bytes_per_second``:
    what all GPUs that send at once get across together, one direction; inf where only their cards limit them."""

    link: Link
    bytes_per_second: float = float("inf")

    def share(self, senders: int) -> Link:
        """One GPU's share while ``senders`` of them send across at once."""
        rate = min(self.link.bytes_per_second, self.bytes_per_second / senders)
        return Link(bytes_per_second=rate, latency_seconds=self.link.latency_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Islands:
    """``groups`` of equal nodes, each joined by its own ``scale_out``; ``between[a][b]`` joins groups a and b (None on
    the diagonal).

    Raises ``ValueError`` with everything that does not suit.
    """

    groups: tuple[Cluster, ...]
    between: tuple[tuple[Trunk | None, ...], ...]
    name: str = "unlike nodes"
    nodes: tuple[tuple[str, ...], ...] = ()
    """Names of each group's nodes, where they are known."""

    def __post_init__(self) -> None:
        found, count = [], len(self.groups)
        if len(self.between) != count or any(len(row) != count for row in self.between):
            found.append(f"between: must be {count} x {count}, a trunk for each pair of groups")
        elif any(self.between[a][b] is None for a in range(count) for b in range(count) if a != b):
            found.append("between: two groups have no trunk; every pair needs one")
        if len({group.gpus_per_node for group in self.groups}) > 1:
            each = ", ".join(str(group.gpus_per_node) for group in self.groups)
            found.append(f"groups: {each} GPUs a node; groups of unlike nodes must have as many each")
        if len({group.name for group in self.groups}) < count:
            found.append("groups: two have the same name; give each its own")
        if found:
            raise ValueError("; ".join(found))

    @classmethod
    def joined(cls, groups: tuple[Cluster, ...], trunk: Trunk) -> "Islands":
        """All groups joined pairwise by the same kind of trunk."""
        across = range(len(groups))
        return cls(groups=groups, between=tuple(tuple(None if a == b else trunk for b in across) for a in across))

    def trunk(self, a: int, b: int) -> Trunk:
        found = self.between[a][b]
        assert found is not None
        return found

    @property
    def gpus(self) -> int:
        return sum(group.gpus for group in self.groups)

    @property
    def gpus_per_node(self) -> int:
        return self.groups[0].gpus_per_node

    def kinds(self) -> tuple[int, ...]:
        """[groups]: groups of one kind are interchangeable: equal but for their names, and every trunk too."""
        groups = range(len(self.groups))
        others = [tuple(sorted(repr(self.between[a][b]) for b in groups if b != a)) for a in groups]
        all_alike = len({one for row in others for one in row}) <= 1
        keys: list[object] = []
        for a, group in enumerate(self.groups):
            keys.append((repr(_nameless(group)), 0 if all_alike else a))
        return tuple(keys.index(key) for key in keys)


def _nameless(group: Cluster) -> tuple[object, ...]:
    return tuple(getattr(group, name) for name in group.__slots__ if name not in ("name", "topology"))
