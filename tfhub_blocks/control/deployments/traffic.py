"""The split of an online endpoint's traffic among its deployments."""

from collections.abc import Mapping


def share_traffic(now: Mapping[str, int], name: str, share: int | None) -> dict[str, int]:
    """Return each deployment's traffic in percent after one of them gets a share.

    The other deployments keep their proportions. A share of None means all traffic if no other
    deployment has any, and otherwise no change. A single deployment gets all or nothing, because
    Azure allows nothing else.
    """
    others = {key: value for key, value in now.items() if key != name and value}
    if share is None:
        share = now.get(name, 0) if others else 100
    if not others:
        return {name: 100} if share else {}
    rest, before = 100 - share, sum(others.values())
    kept = {key: rest * value // before for key, value in others.items()}
    largest = max(kept, key=lambda key: (others[key], key))
    kept[largest] += rest - sum(kept.values())
    return {key: value for key, value in {**kept, name: share}.items() if value}
