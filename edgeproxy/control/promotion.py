"""Changes that concern two distributions: a staging copy, its promotion, an alias that moves (fact sheet 11,
"Continuous deployment")."""

from __future__ import annotations

from dataclasses import replace

from edgeproxy.control.kinds import CONTINUOUS_DEPLOYMENT, DISTRIBUTION
from edgeproxy.control.records import aliases, completed
from edgeproxy.control.refusals import refuse
from edgeproxy.control.state import Change, Resource, State, distribution_of, matching
from edgeproxy.control.things import Made, Moment, create, replaced
from edgeproxy.feed import Json

_NONE = {"Quantity": 0}
OF_THE_PRIMARY = ("CallerReference", "Aliases", "ContinuousDeploymentPolicyId", "Staging")
"""What a distribution keeps when the configuration of its staging distribution becomes its own."""


def copy(moment: Moment, given: dict[str, str], body: Json) -> Made:
    """A staging distribution with the configuration of a primary one."""
    if given.get("Staging", "").lower() != "true":
        refuse("InvalidArgument", "Staging: only a staging distribution can be made as a copy")
    primary = matching(distribution_of(moment.state, given["PrimaryDistributionId"]), given.get("IfMatch"))
    if primary.config.get("Staging"):
        refuse("IllegalUpdate", "A staging distribution cannot be copied.")
    config = {
        **primary.config,
        "CallerReference": body["CallerReference"],
        "Aliases": _NONE,
        "ContinuousDeploymentPolicyId": "",
        "Staging": True,
        "Enabled": body.get("Enabled", False),
    }
    return create(moment, DISTRIBUTION, config)


def promote(moment: Moment, given: dict[str, str]) -> Made:
    """The configuration of its staging distribution becomes a primary's own. If-Match holds both revisions."""
    first, _, second = given.get("IfMatch", "").partition(",")
    primary = matching(distribution_of(moment.state, given["Id"]), first.strip())
    staging = _staging_of(moment.state, primary, given.get("StagingDistributionId", ""))
    matching(staging, second.strip())
    kept = {name: primary.config[name] for name in OF_THE_PRIMARY if name in primary.config}
    return replaced(moment, primary, {**staging.config, **kept})


def _staging_of(state: State, primary: Resource, id: str) -> Resource:
    policy = state.find(CONTINUOUS_DEPLOYMENT, primary.config.get("ContinuousDeploymentPolicyId", ""))
    names = policy.config["StagingDistributionDnsNames"].get("Items", []) if policy is not None else []
    staging = distribution_of(state, id)
    if state.domain(staging.id) not in names:
        refuse("IllegalUpdate", f"{id[:60]} is not the staging distribution of {primary.id}.")
    return staging


def move_alias(moment: Moment, target: str, alias: str) -> Change:
    """A host name moves from the distribution that has it to another one."""
    state = moment.state
    receiver = distribution_of(state, target)
    owner = next((each for each in state.of_kind(DISTRIBUTION) if alias in aliases(each.config)), None)
    if owner is None or not alias:
        refuse("InvalidArgument", f"No distribution has the alias {alias[:80]!r}.")
    if owner.id == receiver.id:
        return Change()
    return completed(
        state,
        (
            _with(moment, owner, [each for each in aliases(owner.config) if each != alias]),
            _with(moment, receiver, [*aliases(receiver.config), alias]),
        ),
    )


def _with(moment: Moment, resource: Resource, names: list[str]) -> Resource:
    listed: Json = {"Quantity": len(names), **({"Items": names} if names else {})}
    return replace(
        resource,
        config={**resource.config, "Aliases": listed},
        etag=moment.names.short("E"),
        modified=moment.now,
    )
