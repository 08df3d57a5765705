"""Errors of Azure and of its SDK as one-line errors with a cause and a remedy."""

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

from tfhub_blocks.control.workspace.azure_roles import grant_command, role_for
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import redacted

_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class _Cause:
    """A reason for a refusal by Azure, with the pattern that identifies it and its explanation.

    The pattern ``sign`` is searched in the code and the message of Azure's answer.
    """

    sign: str
    problem: str
    expected: str
    remedy: str


_CONTINUE = "run the command again; it continues where it stopped"
_LOG_IN_AGAIN = f"Run `az login`, then {_CONTINUE}"
_CAUSES = (
    _Cause(
        r"InvalidAuthenticationTokenTenant|AADSTS(50020|90002|700016)|wrong issuer",
        "the current login belongs to another tenant than the workspace",
        "a login to the tenant of the workspace's subscription",
        "Run `az login --tenant TENANT` with the directory that the Azure portal shows for the "
        "subscription. `az account show` prints the tenant of the current login",
    ),
    _Cause(
        r"AuthorizationPermissionMismatch",
        "the current login may not read or write the workspace's storage",
        "the role Storage Blob Data Contributor on the storage account",
        "Ask an owner of the storage account to run `az role assignment create --role "
        '"Storage Blob Data Contributor" --assignee USER --scope STORAGE_ID`. `az ml workspace '
        "show --name WORKSPACE --resource-group GROUP --query storage_account` prints STORAGE_ID",
    ),
    _Cause(
        r"AuthorizationFailed|\bForbidden\b|LinkedAuthorization",
        "the current login has no role that permits this request",
        "the role AzureML Data Scientist on the workspace, and for clusters also the role AzureML "
        "Compute Operator",
        "Ask an owner of the workspace to run `az role assignment create --role "
        '"AzureML Data Scientist" --assignee USER --scope WORKSPACE_ID`. `az ml workspace show '
        "--name WORKSPACE --resource-group GROUP --query id` prints WORKSPACE_ID",
    ),
    _Cause(
        r"SubscriptionNotFound|InvalidSubscriptionId",
        "the current login has no access to this subscription",
        "a subscription that `az account list` shows",
        "Set subscription_id in config.json to one of these, or run `az login` with an account "
        "that has access",
    ),
    _Cause(
        r"\bResourceNotFound\b",
        "the workspace does not exist in this resource group",
        "a workspace that `az ml workspace list --resource-group GROUP` shows",
        "Set workspace_name and resource_group in config.json to an existing workspace, or pass "
        "another file with --workspace-config",
    ),
    _Cause(
        r"ResourceGroupNotFound",
        "the resource group does not exist in this subscription",
        "a resource group that `az group list` shows",
        "Set resource_group in config.json to an existing group, or pass another file with "
        "--workspace-config",
    ),
    _Cause(
        r"(?i)quota",
        "the subscription's quota is too small for this request",
        "enough free cores of this machine family for all requested nodes",
        "Run `az ml compute list-usage --location REGION` to see the free cores. Request more at "
        "portal.azure.com > Quotas, or choose a smaller machine size or fewer nodes",
    ),
    _Cause(
        r"(?i)SkuNotAvailable|VmSizeNotSupported|not (?:available|supported) in (?:the |this )?"
        r"(?:region|location)|InvalidVmSize",
        "the workspace's region does not offer this machine size",
        "a size that `az ml compute list-sizes --location REGION` shows",
        "Set another size in the profile, or use a workspace in another region",
    ),
    _Cause(
        r"Asset paths cannot be updated|immutable|already exists with (?:a )?different",
        "this version already exists with different content",
        "the same content, or a version that does not exist yet",
        "Open the version in Studio to see who published it, and publish your content under "
        "another name or version",
    ),
    _Cause(
        r"ExpiredAuthenticationToken|InvalidAuthenticationToken|ExpiredToken",
        "the current login has expired",
        "a valid login",
        _LOG_IN_AGAIN,
    ),
    _Cause(
        r"DefaultAzureCredential failed|CredentialUnavailable|No credential|AuthenticationFailed",
        "no login to Azure was found",
        "a login that Azure accepts",
        "Run `az login`. On a machine without a user, such as a CI agent, use a managed identity, "
        "or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_CERTIFICATE_PATH",
    ),
)
# Azure's words for an action that the caller has no permission for.
_ACTION = re.compile(
    r"(?:object id '([\w-]+)')?[^']*perform action '([\w./*-]+)' over scope '([^']+)'"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NO_WORKSPACE = ("ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound")
_AGAIN = f"{_CONTINUE.capitalize()} and creates nothing twice"
_BUSY = range(500, 600)


@contextmanager
def told(where: str, what: str) -> Iterator[None]:
    """Convert each error of Azure or its SDK in the block to a BlocksError about ``what``.

    Raises:
        BlocksError: Azure refused the request. The message contains no secret of the answer.
    """
    # The SDK prints dots and progress bars, also to standard output, which programs read. Without
    # a terminal these would fill the logs.
    shown = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            yield
    except (AzureError, MlException, ValidationError) as error:
        # Not "from error": a traceback would print the content of the answer.
        raise _explained(error, where, what) from None


def find(where: str, what: str, get: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of an SDK call, or None if the workspace does not contain the item.

    Raises:
        BlocksError: The workspace does not exist, or Azure refused the request.
    """
    with told(where, what):
        try:
            return get(*arguments)
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") in _NO_WORKSPACE:
                raise
            return None


def _explained(error: Exception, where: str, what: str) -> BlocksError:
    message = _message(error)
    code = getattr(getattr(error, "error", None), "code", "")
    known = f"{type(error).__name__} {code} {message}"
    if refused := _ACTION.search(_whole(error)):
        return _without_permission(where, what, *refused.groups())
    for cause in _CAUSES:
        if re.search(cause.sign, known):
            problem = f"{cause.problem}: {_short(message)}"
            return BlocksError(where, what, problem, cause.expected, cause.remedy)
    status = getattr(error, "status_code", None)
    problem, expected = "Azure refused the request", ""
    remedy = "Change the value that Azure's message names, and run the command again"
    if isinstance(error, ResourceNotFoundError) or status == 404:
        problem = "Azure did not find this item"
        remedy = (
            "Look up the exact name in Studio. Run `tfhub-blocks publish` if a step, an"
            " environment, an encoder or data is not published yet"
        )
    elif isinstance(error, ClientAuthenticationError):
        problem, expected = "Azure did not accept the login", "a valid login"
        remedy = _LOG_IN_AGAIN
    elif isinstance(error, ServiceRequestError | ServiceResponseError):
        problem, expected = "Azure could not be reached", "a network connection to Azure"
        remedy = _AGAIN
    elif status == 429 or status in _BUSY:
        problem, remedy = f"Azure answered with status {status}", _AGAIN
    elif status == 409:
        problem, remedy = "another request is changing this item", _AGAIN
    return BlocksError(where, what, f"{problem}: {_short(message)}", expected, remedy)


def _without_permission(
    where: str, what: str, caller: str | None, action: str, scope: str
) -> BlocksError:
    role = role_for([action])
    grant = grant_command(role, caller or "USER", _scope_of(scope))
    return BlocksError(
        where,
        what,
        f"the current login may not do {action}",
        f"the role {role}, or a role of your own that permits this action",
        f"Ask an owner to run `{grant}`",
    )


def _scope_of(scope: str) -> str:
    """Return the resource on which a role is granted: the workspace, not one of its parts."""
    if match := re.match(r"(?i)(.+/workspaces/[^/]+)(?:/|$)", scope):
        return match[1]
    if match := re.match(r"(?i)(.+)/providers/Microsoft\.Authorization/", scope):
        return match[1]
    return scope.partition("/providers/")[0] if "/locations/" in scope else scope


def _whole(error: Exception) -> str:
    """Return Azure's whole message in one line, without secrets."""
    text = redacted(_COLOUR.sub("", str(getattr(error, "message", None) or error)))
    return " ".join(text.split())


def _message(error: Exception) -> str:
    """Return Azure's message in one line, without secrets and without repetition."""
    line = _whole(error).partition(" Code: ")[0]
    if isinstance(error, HttpResponseError) and getattr(error, "response", None) is not None:
        return line
    # The identity library appends advice about each kind of login after the first sentence.
    return line.partition(".")[0] if isinstance(error, ClientAuthenticationError) else line


def _short(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
