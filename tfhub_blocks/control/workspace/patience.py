"""Requests that are repeated when Azure is late, busy or in conflict, for a limited time."""

import time
from collections.abc import Callable
from typing import TypeVar

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from tfhub_blocks.control.workspace.connection import poll_interval_s

# decision 83

T = TypeVar("T")
# A resource can be missing from reads for some seconds after Azure has created it.
_TRIES = 8
_CONFLICTS = (409, 412)
_EXPIRED = ("ExpiredAuthenticationToken", "InvalidAuthenticationToken", "ExpiredToken")


def patiently(ask: Callable[[], T], is_new: bool = False) -> T:
    """Return the answer to a request that only reads, repeating the request up to seven times.

    Repeated are requests that Azure did not answer, or answered with "expired token", "too many
    requests" or a status from 500 to 599.

    Args:
        ask: The request.
        is_new: True if the item was created just now. A request that does not find the item is then
            repeated too.
    """
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except (ServiceRequestError, ServiceResponseError):
            pass
        except HttpResponseError as error:
            if not (_is_passing(error) or (is_new and isinstance(error, ResourceNotFoundError))):
                raise
        time.sleep(poll_interval_s())
    return ask()


def _is_passing(error: HttpResponseError) -> bool:
    status = error.status_code or 0
    if isinstance(error, ClientAuthenticationError):
        # A login that is missing has no status: waiting does not help.
        return status == 401 and any(code in str(error) for code in _EXPIRED)
    return status == 429 or status >= 500


def again_on_conflict(change: Callable[[], T]) -> T:
    """Make a change, again up to seven times if another request has changed the item meanwhile.

    Args:
        change: Reads the item, changes it and writes it back.
    """
    for _ in range(_TRIES - 1):
        try:
            return change()
        except HttpResponseError as error:
            if error.status_code not in _CONFLICTS:
                raise
        time.sleep(poll_interval_s())
    return change()
