"""What a user says beside the files."""

from dataclasses import dataclass

from costmodels.catalogue import Catalogue
from planner.importing.links import written_out
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.names import matching, meant
from planner.specs.quantity import parse_bandwidth


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """None where nothing is said. ``nic_bandwidth`` of one card; ``intra_node`` a link of the catalogue or a
    bandwidth; ``nvlink_domain`` in GPUs."""

    name: str | None = None
    gpu: str | None = None
    gpus_per_node: int | None = None
    nodes: int | None = None
    intra_node: str | None = None
    nvlink_domain: int | None = None
    nics: int | None = None
    nic_bandwidth: str | None = None
    nic_kind: str | None = None

    @property
    def nic_bytes_per_second(self) -> float | None:
        """Raises ``SpecError`` where ``nic_bandwidth`` is no bandwidth."""
        return None if self.nic_bandwidth is None else _bandwidth("--nic-bandwidth", self.nic_bandwidth)

    def link(self, catalogue: Catalogue) -> object:
        """The value of ``intra_node`` in a spec; raises ``SpecError`` where it is neither a link nor a bandwidth."""
        assert self.intra_node is not None
        if name := matching(self.intra_node, catalogue.links):
            return name
        if not self.intra_node[:1].isdigit():
            message = f"is not in the catalogue{meant(self.intra_node, catalogue.links)}"
            raise SpecError([Problem(file="options", key="--intra-node", value=self.intra_node, message=message)])
        return written_out(_bandwidth("--intra-node", self.intra_node))


def _bandwidth(option: str, text: str) -> float:
    try:
        return parse_bandwidth(text)
    except ValueError as error:
        raise SpecError([Problem(file="options", key=option, value=shown(text), message=str(error))]) from None
