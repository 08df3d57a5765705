"""What makes an endpoint ours: tags that say until when, whose it is, and what it is made of."""

from typing import Any

import tfhub_blocks
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoints import state_of
from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.project.profiles import JobSettings, Profile
from tfhub_blocks.control.project.tags import PROFILE_TAG, TAG, UNTIL_TAG
from tfhub_blocks.records.base.errors import BlocksError


def check_ours(where: str, name: str, found: Any) -> None:
    """See that an endpoint is one of ours, or is not there.

    Raises:
        BlocksError: It carries no end date of ours.
    """
    if found is not None and UNTIL_TAG not in (found.tags or {}):
        raise BlocksError(
            where,
            name,
            "there is an endpoint of that name without an end date of ours",
            "one that this command made, or none",
            "give another with --name",
        )


def is_so(deployment: Any, digest: str) -> bool:
    """Whether a deployment is there, whole, and made of just that."""
    if deployment is None or state_of(deployment) != "Succeeded":
        return False
    return bool((deployment.tags or {}).get(DIGEST_TAG) == digest)


def endpoint_tags(profile: Profile, end: End) -> dict[str, str]:
    """What every endpoint carries: until when, whose it is, and who pays.

    Raises:
        BlocksError: The profile is of this machine, and names nobody.
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
            f"its engine is {profile.engine}",
            'a profile with engine = "azureml", owner and cost_centre',
            "name one with --profile",
        )
    return profile.job
