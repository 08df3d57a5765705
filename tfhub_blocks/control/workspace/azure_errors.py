"""What Azure refuses, as one line: what, where, what was expected, and the step that helps."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from azure.ai.ml.exceptions import MlException
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from marshmallow.exceptions import ValidationError

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import redacted

_LONGEST_TOLD = 300


@dataclass(frozen=True)
class _Cause:
    """A reason why Azure refuses: by which it is known, and what to say of it.

    ``sign`` is looked for in the code and the message of the answer.
    """

    sign: str
    problem: str
    expected: str
    remedy: str


_CAUSES = (
    _Cause(
        r"InvalidAuthenticationTokenTenant|AADSTS(50020|90002|700016)|wrong issuer",
        "the login is of another tenant",
        "a login of the tenant that the workspace's subscription belongs to",
        "az login --tenant TENANT; az account show tells which it is now",
    ),
    _Cause(
        r"AuthorizationFailed|AuthorizationPermissionMismatch|\bForbidden\b|LinkedAuthorization",
        "this login has no role that allows it",
        "the role AzureML Data Scientist on the workspace, for clusters AzureML Compute Operator",
        'az role assignment create --role "AzureML Data Scientist" --assignee WHO '
        "--scope WORKSPACE_ID",
    ),
    _Cause(
        r"SubscriptionNotFound|InvalidSubscriptionId",
        "this login sees no such subscription",
        "a subscription that `az account list` shows",
        "correct subscription_id, or az login with another account",
    ),
    _Cause(
        r"\bResourceNotFound\b",
        "there is no such workspace in the resource group",
        "one that `az ml workspace list` shows",
        "correct config.json, or name another with --workspace-config",
    ),
    _Cause(
        r"ResourceGroupNotFound",
        "there is no such resource group",
        "one that `az group list` shows",
        "correct resource_group",
    ),
    _Cause(
        r"(?i)quota",
        "the subscription's quota has no room for it",
        "as many cores of this family as the cluster may have",
        "az ml compute list-usage --location REGION; ask for more at portal.azure.com > Quotas, or "
        "name a smaller size or fewer nodes",
    ),
    _Cause(
        r"(?i)SkuNotAvailable|VmSizeNotSupported|not (?:available|supported) in (?:the |this )?"
        r"(?:region|location)|InvalidVmSize",
        "the region does not have this size of machine",
        "a size that `az ml compute list-sizes --location REGION` shows",
        "name another size in the profile, or a workspace in another region",
    ),
    _Cause(
        r"Asset paths cannot be updated|immutable|already exists with (?:a )?different",
        "this version exists there with other content",
        "one content for one version",
        "see who published it; let the content have another version",
    ),
    _Cause(
        r"ExpiredAuthenticationToken|InvalidAuthenticationToken|ExpiredToken",
        "the login has run out",
        "a login that is valid",
        "az login, and repeat the command: it goes on where it was",
    ),
    _Cause(
        r"DefaultAzureCredential failed|CredentialUnavailable|No credential|AuthenticationFailed",
        "no login was found",
        "a login that Azure accepts",
        "az login; on a machine without people, a managed identity or AZURE_CLIENT_ID, "
        "AZURE_TENANT_ID and a certificate",
    ),
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NO_WORKSPACE = ("ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound")
_AGAIN = "repeat the command: it goes on where it was, and makes nothing twice"
_BUSY = range(500, 600)


@contextmanager
def told(where: str, what: str) -> Iterator[None]:
    """Whatever Azure or its SDK refuses in here, as a BlocksError about something.

    Raises:
        BlocksError: With no secret of the answer in it.
    """
    # The SDK prints dots and bars, also into what programs read of us; where nobody watches, into
    # logs that they would fill.
    shown = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            yield
    except (AzureError, MlException, ValidationError) as error:
        # Not "from error": a traceback would print what the answer held.
        raise _explained(error, where, what) from None


def find(where: str, what: str, get: Callable[..., Any], *arguments: Any) -> Any:
    """What a call of the SDK gets, or None if the workspace does not hold it.

    Raises:
        BlocksError: There is no such workspace, or Azure refused it.
    """
    with told(where, what):
        try:
            return get(*arguments)
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") in _NO_WORKSPACE:
                raise
            return None


def _explained(error: Exception, where: str, what: str) -> BlocksError:
    said = _said(error)
    known = f"{type(error).__name__} {getattr(getattr(error, 'error', None), 'code', '')} {said}"
    for cause in _CAUSES:
        if re.search(cause.sign, known):
            problem = f"{cause.problem}: {_short(said)}"
            return BlocksError(where, what, problem, cause.expected, cause.remedy)
    status = getattr(error, "status_code", None)
    problem, expected, remedy = "Azure refused it", "what Azure accepts", "correct it"
    if isinstance(error, ResourceNotFoundError) or status == 404:
        problem, expected = "there is no such thing in Azure", "one that is there"
        remedy = "see its name in Studio; steps and data are put there by `tfhub-blocks publish`"
    elif isinstance(error, ClientAuthenticationError):
        problem, expected = "the login was not accepted", "a login that is valid"
        remedy = "az login, and repeat the command: it goes on where it was"
    elif isinstance(error, ServiceRequestError | ServiceResponseError):
        problem, expected, remedy = "Azure could not be reached", "a network to it", _AGAIN
    elif status == 429 or status in _BUSY:
        problem, expected, remedy = f"Azure answered {status}", "an answer", _AGAIN
    elif status == 409:
        problem, expected, remedy = "somebody else is changing it", "nobody else", _AGAIN
    return BlocksError(where, what, f"{problem}: {_short(said)}", expected, remedy)


def _said(error: Exception) -> str:
    """What Azure said of it, in one line and without secrets, once."""
    text = redacted(_COLOUR.sub("", str(getattr(error, "message", None) or error)))
    said = " ".join(text.split()).partition(" Code: ")[0]
    if isinstance(error, HttpResponseError) and getattr(error, "response", None) is not None:
        return said
    # Else the identity library's, which goes on with advice on each kind of login.
    return said.partition(".")[0] if isinstance(error, ClientAuthenticationError) else said


def _short(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."
