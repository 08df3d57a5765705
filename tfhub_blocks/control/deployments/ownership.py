"""The tags by which tfhub-blocks recognizes its endpoints: end date, owner, and content."""

# decision 47

from typing import Any

import tfhub_blocks
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoints import state_of
from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.project.profiles import JobSettings, Profile
from tfhub_blocks.control.project.tags import PROFILE_TAG, TAG, UNTIL_TAG
from tfhub_blocks.control.workspace.owners import check_owner, owner_in
from tfhub_blocks.records.base.errors import BlocksError


def check_ours(where: str, name: str, found: Any, profile: Profile) -> None:
    """Check that tfhub-blocks deployed an endpoint for the profile's owner, or that none exists.

    Raises:
        BlocksError: The endpoint has no end-date tag of tfhub-blocks, or it belongs to another
            owner.
    """
    check_owner(where, f"endpoint {name}", found, owner_in(profile))
    if found is not None and UNTIL_TAG not in (found.tags or {}):
        raise BlocksError(
            where,
            name,
            f"endpoint {name} exists without the tag {UNTIL_TAG}, so tfhub-blocks did not deploy"
            " it",
            "an endpoint that this command created, or a new name",
            "Pass another name with --name",
        )


def is_so(deployment: Any, digest: str) -> bool:
    """Return True if a healthy deployment with exactly this content exists."""
    if deployment is None or state_of(deployment) != "Succeeded":
        return False
    return bool((deployment.tags or {}).get(DIGEST_TAG) == digest)


def endpoint_tags(profile: Profile, end: End) -> dict[str, str]:
    """Return the tags of every endpoint: its end date, owner and cost centre.

    Raises:
        BlocksError: The profile is local, so it names no owner.
    """
    job = _owner(profile)
    return {
        UNTIL_TAG: str(end),
        PROFILE_TAG: profile.name,
        f"{TAG}version": tfhub_blocks.__version__,
        "owner": job.owner,
        "cost_centre": job.cost_centre,
    }


def _owner(profile: Profile) -> JobSettings:
    if profile.job is None or profile.engine != "azureml":
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} has engine {profile.engine}",
            'a profile with engine = "azureml", owner and cost_centre',
            "Pass such a profile with --profile",
        )
    return profile.job
