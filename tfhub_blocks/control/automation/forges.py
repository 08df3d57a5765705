"""The services that host a repository: comments, approvals and proposals of changes."""

# decision 110

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from tfhub_blocks.records.base.errors import BlocksError

_TIMEOUT_S = 30
_TRIES = 4
_PAGE = 100
_MOST_PAGES = 50
_AZURE_VERSION = "7.1"
_HIDE = (
    "mutation($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: OUTDATED})"
    " { clientMutationId } }"
)


@dataclass(frozen=True)
class Comment:
    """A comment of a change; ``handle`` names it for hiding."""

    id: str
    body: str
    handle: str = ""


class Forge(Protocol):
    """What the jobs ask of a service; a change is named by its number."""

    def head(self, change: str) -> str:
        """Return the name of the newest commit of a change."""
        ...

    def comments(self, change: str) -> list[Comment]:
        """Return the comments of a change, the oldest first."""
        ...

    def write(self, change: str, body: str) -> None:
        """Write a new comment."""
        ...

    def update(self, change: str, comment: Comment, body: str) -> None:
        """Replace the text of a comment."""
        ...

    def hide(self, change: str, comment: Comment) -> None:
        """Mark a comment as outdated."""
        ...

    def approvals(self, change: str, head: str) -> list[str]:
        """Return the names of the people who approved a commit of a change."""
        ...

    def reviewers(self) -> list[tuple[str, str]]:
        """Return the name and the address of each person who approved this run."""
        ...

    def propose(self, branch: str, into: str, title: str) -> str:
        """Propose a branch as a change unless that is done, and return the change's address."""
        ...


def find_forge() -> Forge:
    """Return the service in whose job this process runs.

    Raises:
        BlocksError: The variables of neither service are set.
    """
    if found := _given("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        return GitHub(*found)
    names = ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_REPOSITORY_ID")
    if found := _given(*names, "SYSTEM_ACCESSTOKEN"):
        return AzureRepos(*found)
    raise BlocksError(
        "ci",
        "GITHUB_TOKEN",
        "the variables of neither GitHub Actions nor Azure Pipelines are set",
        "GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN, or the SYSTEM_ variables",
        "Run the command in a job that `tfhub-blocks ci write` wrote",
    )


def _given(*names: str) -> list[str]:
    found = [os.environ.get(name, "") for name in names]
    return found if all(found) else []


@dataclass
class _Service:
    """Requests with a token, repeated after a passing fault."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        # A comment that is sent twice would be there twice, so only questions are repeated.
        retry = Retry(
            _TRIES,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET",),
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def ask(self, method: str, address: str, headers: Mapping[str, str], **more: Any) -> Any:
        """Return the JSON of an answer.

        Raises:
            BlocksError: The service refused the request, or did not answer.
        """
        shown = address.partition("?")[0]
        try:
            answer = self._session.request(
                method, address, headers=headers, timeout=_TIMEOUT_S, **more
            )
            answer.raise_for_status()
            return answer.json() if answer.content else {}
        except (requests.RequestException, ValueError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            told = f"status {status}" if status else type(error).__name__
            raise BlocksError(
                "ci",
                shown,
                f"the service did not do what {method} {shown} asks ({told})",
                "",
                "Check the permissions of the job; `tfhub-blocks ci check` compares them with"
                " those that are needed",
            ) from None


class GitHub(_Service):
    """GitHub's REST API, and its GraphQL API where comments are hidden."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        super().__init__(token)
        self.api, self.repository = api.rstrip("/"), repository

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        return self.ask(method, f"{self.api}{path}", headers, **more)

    def _pages(self, path: str) -> Iterator[Any]:
        for page in range(1, _MOST_PAGES + 1):
            params = {"per_page": _PAGE, "page": page}
            found = self._ask("GET", f"/repos/{self.repository}{path}", params=params)
            yield from found
            if len(found) < _PAGE:
                return

    def head(self, change: str) -> str:
        """Return the name of the newest commit of a pull request."""
        found = self._ask("GET", f"/repos/{self.repository}/pulls/{change}")
        return str(found["head"]["sha"])

    def comments(self, change: str) -> list[Comment]:
        """Return the comments of a pull request that an application or a token wrote."""
        return [
            Comment(str(it["id"]), str(it.get("body") or ""), str(it.get("node_id") or ""))
            for it in self._pages(f"/issues/{change}/comments")
            if (it.get("user") or {}).get("type") == "Bot"
        ]

    def write(self, change: str, body: str) -> None:
        """Write a new comment."""
        path = f"/repos/{self.repository}/issues/{change}/comments"
        self._ask("POST", path, json={"body": body})

    def update(self, change: str, comment: Comment, body: str) -> None:  # noqa: ARG002
        """Replace the text of a comment."""
        path = f"/repos/{self.repository}/issues/comments/{comment.id}"
        self._ask("PATCH", path, json={"body": body})

    def hide(self, change: str, comment: Comment) -> None:  # noqa: ARG002
        """Mark a comment as outdated."""
        query = {"query": _HIDE, "variables": {"id": comment.handle}}
        self._ask("POST", "/graphql", json=query)

    def approvals(self, change: str, head: str) -> list[str]:
        """Return the logins whose last review approves a commit."""
        last: dict[str, Any] = {}
        for it in self._pages(f"/pulls/{change}/reviews"):
            if it["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED") and it.get("user"):
                last[str(it["user"]["login"])] = it
        return sorted(
            name
            for name, it in last.items()
            if it["state"] == "APPROVED" and it["commit_id"] == head
        )

    def reviewers(self) -> list[tuple[str, str]]:
        """Return the people who approved this run's environment, with GitHub's own addresses."""
        run = os.environ.get("GITHUB_RUN_ID", "")
        found = self._ask("GET", f"/repos/{self.repository}/actions/runs/{run}/approvals")
        people = {str(it["user"]["login"]): it["user"] for it in found if it["state"] == "approved"}
        return [
            (name, f"{it['id']}+{name}@users.noreply.github.com") for name, it in people.items()
        ]

    def propose(self, branch: str, into: str, title: str) -> str:
        """Open a pull request unless the branch has one, and return its address."""
        owner, path = self.repository.partition("/")[0], f"/repos/{self.repository}/pulls"
        params = {"head": f"{owner}:{branch}", "base": into, "state": "open"}
        found = self._ask("GET", path, params=params)
        if not found:
            body = {"head": branch, "base": into, "title": title}
            found = [self._ask("POST", path, json=body)]
        return str(found[0]["html_url"])


class AzureRepos(_Service):
    """The REST API of Azure DevOps."""

    def __init__(self, collection: str, project: str, repository: str, token: str) -> None:
        super().__init__(token)
        self.project = f"{collection.rstrip('/')}/{project}"
        self.base = f"{self.project}/_apis/git/repositories/{repository}"

    def _ask(self, method: str, address: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        params = {"api-version": _AZURE_VERSION} | more.pop("params", {})
        return self.ask(method, address, headers, params=params, **more)

    def head(self, change: str) -> str:
        """Return the name of the newest commit of a pull request."""
        found = self._ask("GET", f"{self.base}/pullRequests/{change}")
        return str(found["lastMergeSourceCommit"]["commitId"])

    def comments(self, change: str) -> list[Comment]:
        """Return the first comment of each thread that is open."""
        threads = self._ask("GET", f"{self.base}/pullRequests/{change}/threads")["value"]
        return [
            Comment(str(it["id"]), str(it["comments"][0].get("content") or ""), str(it["id"]))
            for it in threads
            if it.get("comments") and it.get("status") != "closed"
        ]

    def write(self, change: str, body: str) -> None:
        """Write a new thread, which waits for nobody."""
        thread = {
            "comments": [{"parentCommentId": 0, "content": body, "commentType": "text"}],
            "status": "byDesign",
        }
        self._ask("POST", f"{self.base}/pullRequests/{change}/threads", json=thread)

    def update(self, change: str, comment: Comment, body: str) -> None:
        """Replace the text of a thread's first comment."""
        path = f"{self.base}/pullRequests/{change}/threads/{comment.id}/comments/1"
        self._ask("PATCH", path, json={"content": body})

    def hide(self, change: str, comment: Comment) -> None:
        """Close a thread."""
        path = f"{self.base}/pullRequests/{change}/threads/{comment.id}"
        self._ask("PATCH", path, json={"status": "closed"})

    def approvals(self, change: str, head: str) -> list[str]:
        """Return the names of the reviewers who approve the newest commit."""
        if self.head(change) != head:
            return []
        found = self._ask("GET", f"{self.base}/pullRequests/{change}/reviewers")["value"]
        approved = (5, 10)  # with suggestions, and without
        return sorted(str(it["uniqueName"]) for it in found if it.get("vote") in approved)

    def reviewers(self) -> list[tuple[str, str]]:
        """Return the people who approved this run's environment."""
        run, address = (
            os.environ.get("BUILD_BUILDID", ""),
            f"{self.project}/_apis/pipelines/approvals",
        )
        found = self._ask("GET", address, params={"$expand": "steps", "state": "approved"})["value"]
        people = {
            str(step["actualApprover"]["uniqueName"])
            for it in found
            if str(((it.get("pipeline") or {}).get("owner") or {}).get("id")) == run
            for step in it.get("steps") or ()
            if step.get("status") == "approved" and step.get("actualApprover")
        }
        return [(name, name) for name in sorted(people)]

    def propose(self, branch: str, into: str, title: str) -> str:
        """Open a pull request unless the branch has one, and return its address."""
        source, target = f"refs/heads/{branch}", f"refs/heads/{into}"
        params = {
            "searchCriteria.sourceRefName": source,
            "searchCriteria.targetRefName": target,
            "searchCriteria.status": "active",
        }
        found = self._ask("GET", f"{self.base}/pullrequests", params=params)["value"]
        if not found:
            body = {"sourceRefName": source, "targetRefName": target, "title": title}
            found = [self._ask("POST", f"{self.base}/pullrequests", json=body)]
        return str(found[0]["url"])
