"""The workflow files for GitHub Actions."""

# decision 109

import re
from collections.abc import Mapping

from tfhub_blocks.control.automation import run_blocks
from tfhub_blocks.control.automation.ci_settings import CiProject
from tfhub_blocks.control.automation.pinned_actions import pinned

FOLDER = ".github/workflows"
HEAD = (
    "# Written by `tfhub-blocks ci write github` from pipelines/ci.toml and the profiles.\n"
    "# Do not edit: change the settings, and run the command again.\n"
)
# The environments of the repository, which hold the identity of each kind of job.
EXPERIMENT, PRODUCTION, NIGHT = "blocks-experiment", "blocks-production", "blocks-night"
_PLACE = re.compile(r"^( *)(.*)<<(\w+)>>(.*)$", re.M)

_BEGIN = """\
      - name: Check out
        uses: <<checkout>>
        with:
          persist-credentials: false
"""
_HISTORY = "          fetch-depth: 0\n"
_BASE = "          ref: ${{ github.event.pull_request.base.sha }}\n"
_PYTHON = """\
      - name: Set up Python
        uses: <<setup_python>>
        with:
          python-version: "<<python>>"
<<cache>>
      - name: Install tfhub-blocks without TensorFlow
        run: |
          <<install>>
"""
_AZURE = """\
      AZURE_CLIENT_ID: ${{ vars.AZURE_CLIENT_ID }}
      AZURE_TENANT_ID: ${{ vars.AZURE_TENANT_ID }}
      AZURE_SUBSCRIPTION_ID: ${{ vars.AZURE_SUBSCRIPTION_ID }}
      AZURE_RESOURCE_GROUP: ${{ vars.AZURE_RESOURCE_GROUP }}
      AZURE_WORKSPACE: ${{ vars.AZURE_WORKSPACE }}
"""
_WORKSPACE = """\
      - name: Name the workspace
        run: |
          <<workspace>>
        env:
          TEMPORARY: ${{ runner.temp }}
"""
_DOWNLOAD = """\
      - name: Download the {0}
        uses: <<download_artifact>>
        with:
          name: {0}
          path: {0}
"""
_UPLOAD = """\
      - name: Keep the {0}
        if: always()
        uses: <<upload_artifact>>
        with:
          name: {0}
          path: {0}
          retention-days: {1}
"""
_OF_RUN = """\
          run-id: ${{ github.event.workflow_run.id }}
          github-token: ${{ github.token }}
"""

# A job that pushes a branch and proposes it: minutes, the branch, and its content.
_PROPOSING = """\
    runs-on: ubuntu-latest
    timeout-minutes: {0}
    permissions:
      contents: write # to push the branch {1}
      pull-requests: write # to propose {2} for review
    defaults:
      run:
        shell: bash
    steps:
"""

PULL_REQUEST = f"""\
name: tfhub-blocks pull request

on:
  pull_request:
    branches: ["<<branch>>"]
  pull_request_review:
    types: [submitted, dismissed]

permissions: {{}}

concurrency:
  group: tfhub-blocks-pull-request-${{{{ github.event.pull_request.number }}}}
  cancel-in-progress: true

jobs:
  review:
    name: Check and review
    runs-on: ubuntu-latest
    timeout-minutes: 30
    permissions:
      contents: read # to check out the change and the records of the last night
      pull-requests: read # to see who approved the change
    defaults:
      run:
        shell: bash
<<variables>>
    steps:
{_BEGIN}{_HISTORY}{_PYTHON}      - name: Compare the workflow files with their settings
        run: |
          <<ci_check>>
      - name: Check the pipelines
        run: |
          <<checks>>
      - name: Fetch the spending
        run: |
          <<spent>>
        env:
          GH_TOKEN: ${{{{ github.token }}}}
      - name: See who approved
        run: |
          <<approvals>>
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}
          CHANGE: ${{{{ github.event.pull_request.number }}}}
          HEAD_SHA: ${{{{ github.event.pull_request.head.sha }}}}
      - name: Review the change
        run: |
          <<review>>
          cat review/review.md >> "$GITHUB_STEP_SUMMARY"
        env:
          CHANGE: ${{{{ github.event.pull_request.number }}}}
          BASE_SHA: ${{{{ github.event.pull_request.base.sha }}}}
{_UPLOAD.format("review", 14)}      - name: Fail if a check or a guardrail failed
        run: |
          <<verdict>>

<<test_job>>
  comment:
    name: Comment
    needs: review
    if: >-
      always() && needs.review.result != 'cancelled'
      && github.event.pull_request.head.repo.full_name == github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      contents: read # to check out the base, whose code writes the comment
      pull-requests: write # to write the comment
    defaults:
      run:
        shell: bash
    steps:
{_BEGIN}{_BASE}{_PYTHON}{_DOWNLOAD.format("review")}      - name: Write the comment
        run: |
          <<comment>>
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}
          CHANGE: ${{{{ github.event.pull_request.number }}}}
          HEAD_SHA: ${{{{ github.event.pull_request.head.sha }}}}

  annotate:
    name: Annotate lines
    needs: review
    if: >-
      always() && needs.review.result != 'cancelled'
      && github.event.pull_request.head.repo.full_name == github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      contents: read # to name the commit of the findings
      security-events: write # to show the findings at the lines of the change
    steps:
{_BEGIN}{_DOWNLOAD.format("review")}<<annotations>>
"""

_TEST_JOB = f"""\
  test:
    name: Test
    runs-on: ubuntu-latest
    timeout-minutes: 60
    permissions:
      contents: read # to check out the change
    defaults:
      run:
        shell: bash
    steps:
{_BEGIN}{_PYTHON}      - name: Run the tests
        run: |
          <<tests>>
"""

_ANNOTATION = """\
      - name: Show the findings of {0}
        if: always()
        uses: <<upload_sarif>>
        with:
          sarif_file: review/{0}.sarif
          category: tfhub-blocks-{0}
"""

FORK_COMMENT = f"""\
name: tfhub-blocks fork comment

on:
  # The artifact of a fork is read as data, and no code of the fork runs here.
  workflow_run: # zizmor: ignore[dangerous-triggers] no code of the fork runs here
    workflows: ["tfhub-blocks pull request"]
    types: [completed]

permissions: {{}}

concurrency:
  group: tfhub-blocks-fork-comment-${{{{ github.event.workflow_run.head_sha }}}}
  cancel-in-progress: true

jobs:
  comment:
    name: Comment a fork's change
    if: >-
      github.event.workflow_run.event == 'pull_request'
      && github.event.workflow_run.head_repository.full_name != github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      actions: read # to download the review that the fork's run kept
      contents: read # to check out the default branch, whose code writes the comment
      pull-requests: write # to write the comment
    defaults:
      run:
        shell: bash
    steps:
{_BEGIN}{_PYTHON}{_DOWNLOAD.format("review")}{_OF_RUN}      - name: Write the comment
        run: |
          <<fork_comment>>
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}
          HEAD_SHA: ${{{{ github.event.workflow_run.head_sha }}}}
"""

MERGE = f"""\
name: tfhub-blocks merge

on:
  push:
    branches: ["<<branch>>"]

permissions: {{}}

concurrency:
  group: tfhub-blocks-merge
  cancel-in-progress: false

jobs:
  publish:
    name: Publish and start experiments
    runs-on: ubuntu-latest
    timeout-minutes: 60
    environment: {EXPERIMENT}
    permissions:
      contents: read # to check out the merged commit
      id-token: write # to sign in to Azure as this job
    defaults:
      run:
        shell: bash
    env:
{_AZURE}<<variables_inside>>
    steps:
{_BEGIN}{_HISTORY}{_PYTHON}{_WORKSPACE}      - name: Publish
        run: |
          <<publish>>
        env:
          TEMPORARY: ${{{{ runner.temp }}}}
<<experiments>>
"""
_EXPERIMENTS = """\
      - name: Start experiments
        run: |
          <<submissions>>
        env:
          TEMPORARY: ${{ runner.temp }}
"""

LOCK = f"""\
name: tfhub-blocks lock

on:
  workflow_dispatch:
    inputs:
      pipeline:
        description: Pipeline of the release
        required: true
        type: string
      run:
        description: Job on Azure ML that proves the release
        required: true
        type: string
      release:
        description: Name of the release
        required: true
        type: string

permissions: {{}}

concurrency:
  group: tfhub-blocks-lock-${{{{ inputs.release }}}}
  cancel-in-progress: false

jobs:
  lock:
    name: Write the lock
    runs-on: ubuntu-latest
    timeout-minutes: 60
    environment: {EXPERIMENT}
    permissions:
      contents: read # to check out the commit that the lock names
      id-token: write # to sign in to Azure as this job
    defaults:
      run:
        shell: bash
    env:
{_AZURE}<<variables_inside>>
    steps:
{_BEGIN}{_HISTORY}{_PYTHON}{_WORKSPACE}      - name: Write the lock
        run: |
          <<lock>>
        env:
          PIPELINE: ${{{{ inputs.pipeline }}}}
          RUN: ${{{{ inputs.run }}}}
          RELEASE: ${{{{ inputs.release }}}}
          TEMPORARY: ${{{{ runner.temp }}}}
{_UPLOAD.format("records", 14)}
  propose:
    name: Propose the lock
    needs: lock
{_PROPOSING.format("10", "of the lock", "it")}\
{_BEGIN}{_PYTHON}{_DOWNLOAD.format("records")}      - name: Propose the lock
        run: |
          <<push_lock>>
        env:
          GH_TOKEN: ${{{{ github.token }}}}
          GITHUB_TOKEN: ${{{{ github.token }}}}
"""

RELEASE = f"""\
name: tfhub-blocks release

on:
  workflow_dispatch:
    inputs:
      model:
        description: Registered model, as MODEL:VERSION
        required: true
        type: string
      reason:
        description: Reason for the promotion
        required: true
        type: string

permissions: {{}}

concurrency:
  group: tfhub-blocks-release
  cancel-in-progress: false

jobs:
  promote:
    name: Promote
    runs-on: ubuntu-latest
    timeout-minutes: 120
    # Its reviewers are the second person: this job waits until one of them approves.
    environment: {PRODUCTION}
    permissions:
      actions: read # to see who approved this run
      attestations: write # to keep the provenance of the decision
      contents: read # to check out the commit with the locks and profiles
      id-token: write # to sign in to Azure as this job, and to sign the provenance
    defaults:
      run:
        shell: bash
    env:
{_AZURE}      AZURE_SOURCE_GROUP: ${{{{ vars.AZURE_SOURCE_GROUP }}}}
      AZURE_SOURCE_WORKSPACE: ${{{{ vars.AZURE_SOURCE_WORKSPACE }}}}
<<variables_inside>>
    steps:
{_BEGIN}{_HISTORY}{_PYTHON}{_WORKSPACE}      - name: Promote
        run: |
          <<promote>>
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}
          MODEL: ${{{{ inputs.model }}}}
          REASON: ${{{{ inputs.reason }}}}
          TEMPORARY: ${{{{ runner.temp }}}}
{_UPLOAD.format("records", 90)}      - name: Attest the decision
        uses: <<attest>>
        with:
          subject-path: records/*.json
"""

NIGHTLY = f"""\
name: tfhub-blocks night

on:
  schedule:
    - cron: "<<nightly>>"
  workflow_dispatch:

permissions: {{}}

concurrency:
  group: tfhub-blocks-night
  cancel-in-progress: false

jobs:
  night:
    name: Keep the workspace in order
    runs-on: ubuntu-latest
    timeout-minutes: 120
    environment: {NIGHT}
    permissions:
      contents: read # to check out the schedules and profiles
      id-token: write # to sign in to Azure as this job
    defaults:
      run:
        shell: bash
    env:
{_AZURE}<<variables_inside>>
    steps:
{_BEGIN}{_HISTORY}{_PYTHON}{_WORKSPACE}      - name: Apply schedules and end endpoints
        run: |
          <<night>>
        env:
          TEMPORARY: ${{{{ runner.temp }}}}
      - name: Show the owners
        if: always()
        run: |
          <<owners>>
{_UPLOAD.format("records", 14)}
  prices:
    name: Refresh prices
{_PROPOSING.format("15", "with the prices", "them")}\
{_BEGIN}{_PYTHON}      - name: Refresh the prices
        run: |
          <<prices>>
      - name: Propose the prices
        run: |
          <<push_prices>>
        env:
          GH_TOKEN: ${{{{ github.token }}}}
          GITHUB_TOKEN: ${{{{ github.token }}}}

  records:
    name: Keep the records
    needs: night
    if: always() && needs.night.result != 'cancelled'
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      contents: write # to push the branch with the records
    defaults:
      run:
        shell: bash
    steps:
{_BEGIN}{_DOWNLOAD.format("records")}      - name: Keep spending and durations
        run: |
          <<push_records>>
        env:
          GH_TOKEN: ${{{{ github.token }}}}
"""

_FILES = {
    "tfhub-blocks-pull-request.yml": PULL_REQUEST,
    "tfhub-blocks-fork-comment.yml": FORK_COMMENT,
    "tfhub-blocks-merge.yml": MERGE,
    "tfhub-blocks-lock.yml": LOCK,
    "tfhub-blocks-release.yml": RELEASE,
    "tfhub-blocks-night.yml": NIGHTLY,
}


def github_files(project: CiProject) -> dict[str, str]:
    """Return the text of each workflow file by its path in the repository."""
    settings = project.settings
    variables = "".join(f"      {it}: ${{{{ vars.{it} }}}}\n" for it in project.variables)
    cache = "".join(f"            {it}\n" for it in settings.cache)
    names = ("review", *project.profiles)
    texts = {
        "checkout": pinned("actions/checkout"),
        "setup_python": pinned("actions/setup-python"),
        "download_artifact": pinned("actions/download-artifact"),
        "upload_artifact": pinned("actions/upload-artifact"),
        "upload_sarif": pinned("github/codeql-action/upload-sarif"),
        "attest": pinned("actions/attest"),
        "branch": settings.branch,
        "python": settings.python,
        "nightly": settings.nightly,
        "cache": f"          cache: pip\n          cache-dependency-path: |\n{cache}"
        if cache
        else "",
        "variables": f"    env:\n{variables}" if variables else "",
        "variables_inside": variables,
        "test_job": f"{_TEST_JOB}\n" if settings.tests else "",
        "annotations": "".join(_ANNOTATION.format(name) for name in names),
        "experiments": _EXPERIMENTS if settings.merge else "",
        "install": run_blocks.install(project),
        "tests": run_blocks.tests(project),
        "ci_check": run_blocks.ci_check("github"),
        "checks": run_blocks.checks(project),
        "spent": run_blocks.spent(),
        "approvals": run_blocks.approvals(),
        "review": run_blocks.review("github"),
        "verdict": run_blocks.verdict(),
        "comment": run_blocks.comment(settings.comment),
        "fork_comment": run_blocks.fork_comment(settings.comment),
        "workspace": run_blocks.workspace(),
        "publish": run_blocks.publish(project),
        "submissions": run_blocks.submissions(project, settings.merge),
        "lock": run_blocks.lock(),
        "push_lock": run_blocks.push_lock(settings.branch),
        "promote": run_blocks.promote(project),
        "night": run_blocks.night(project),
        "owners": run_blocks.owners(),
        "prices": run_blocks.prices(),
        "push_prices": run_blocks.push_prices(settings.branch),
        "push_records": run_blocks.push_records(),
    }
    return {f"{FOLDER}/{name}": HEAD + filled(text, texts) for name, text in _FILES.items()}


def filled(template: str, texts: Mapping[str, str]) -> str:
    """Return a template with each ``<<name>>`` replaced; further lines keep the indentation.

    A line that only contains the name of an empty text is left out.
    """
    before = ""
    while before != template:
        before = template
        template = _PLACE.sub(lambda match: _fill(match, texts), template)
    return re.sub(r"\n{3,}", "\n\n", template.replace("\0\n", "")).rstrip("\n") + "\n"


def _fill(match: re.Match[str], texts: Mapping[str, str]) -> str:
    indent, head, name, tail = match.groups()
    text = texts[name].rstrip("\n")
    if not head and not tail and not indent:
        return text or "\0"
    lines = text.splitlines() or [""]
    rest = [f"{indent}{line}" if line else "" for line in lines[1:]]
    return "\n".join([f"{indent}{head}{lines[0]}{tail}", *rest])
