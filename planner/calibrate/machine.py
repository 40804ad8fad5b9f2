"""The machine that measurements come from, by a cluster's or a GPU's name."""

from costmodels.catalogue import load_catalogue
from costmodels.hardware import Cluster
from planner.readers.published.clusters import usual_node
from planner.specs import load_cluster
from planner.specs.errors import Problem, SpecError
from planner.specs.names import looks_like_path, matching


def load_machine(source: str) -> Cluster:
    """A bundled cluster, a cluster file, or the usual node of a GPU of the catalogue.

    Raises ``SpecError`` for an unknown name, and for a GPU whose links differ from machine to machine.
    """
    part = None if looks_like_path(source) else matching(source, load_catalogue().gpus)
    if part is None:
        return load_cluster(source)
    node = usual_node(part)
    if node is None:
        message = "its links differ from machine to machine: give a cluster file instead (plan schema cluster)"
        raise SpecError([Problem(file=source, key="gpu", value=part, message=message)])
    return node
