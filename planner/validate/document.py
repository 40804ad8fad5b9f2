"""The document as a file: every key written, digests that match, the cluster it is meant for."""

from typing import Any

from costmodels.hardware import Cluster
from planner.plan import Plan
from planner.plan.cluster import ClusterInput
from planner.plan.diff import changes
from planner.plan.writing import seal
from planner.validate.findings import Report


def check_canonical(plan: Plan, value: Any, report: Report) -> None:
    """A key with a default can be left out of what is read, never of a plan that was written."""
    for change in changes("", value, plan.to_json()):
        report.add("document", change.path, "every plan has it", expected=change.after, found=change.before)


def check_digests(plan: Plan, report: Report) -> None:
    sealed = seal(plan.to_json())
    expected = {"/inputs/digest": sealed["inputs"]["digest"], "/digest": sealed["digest"]}
    for path, found in (("/inputs/digest", plan.inputs.digest), ("/digest", plan.digest)):
        report.same("digest", path, found, expected[path], "SHA-256 of what it covers: something was changed by hand")


def check_cluster(plan: Plan, cluster: Cluster, report: Report) -> None:
    """The plan's cluster against the one it shall run on; names may differ."""
    wanted = plan.inputs.model_copy(update={"cluster": ClusterInput.of(cluster)})
    before, after = (inputs.model_dump(mode="json")["cluster"] for inputs in (plan.inputs, wanted))
    for change in changes("", before, after):
        if change.path not in ("/name", "/gpu/name"):
            report.add(
                "cluster",
                f"/inputs/cluster{change.path}",
                "the plan was made for another cluster",
                expected=change.after,
                found=change.before,
            )
