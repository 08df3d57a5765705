"""The compliance of a release with the rules of the profile that submits it, as of today."""

# decision 35

from dataclasses import replace

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.releases.release_names import replay_settings
from tfhub_blocks.control.repository.git_state import latest_day
from tfhub_blocks.control.rules.checked_repository import Repository
from tfhub_blocks.control.rules.rule_checks import check, load_rules
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import ReleaseLock

_SHOWN = 3


def check_rules(lock: ReleaseLock, profile: Profile) -> None:
    """Check that a release has no error of those that ``tfhub-blocks check`` finds.

    An expired exception covers nothing, even if the clock was set back: today is never before the
    newest commit.

    Raises:
        BlocksError: An error was found; the message names the first ones.
    """
    repository = Repository(replace(profile, inputs={}), latest_day("submit"))
    subject = repository.subject(lock.pipeline, replay_settings(lock))
    report = check(repository.profile, [subject], load_rules())
    found = [it for it in report.findings if it.stands]
    if found:
        texts = "; ".join(f"{it.rule}, {it.node}: {it.problem}" for it in found[:_SHOWN])
        if len(found) > _SHOWN:
            texts += f"; and {len(found) - _SHOWN} more"
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"the release breaks the rules: {texts}",
            "no errors",
            f"Run `tfhub-blocks check {lock.name} --profile {profile.name}` to see all of them",
        )
