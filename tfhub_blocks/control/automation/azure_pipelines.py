"""The pipeline files for Azure DevOps: the same scripts in Azure Pipelines' form."""

# decision 109

from tfhub_blocks.control.automation import run_blocks
from tfhub_blocks.control.automation.ci_settings import CiProject
from tfhub_blocks.control.automation.github_workflows import (
    EXPERIMENT,
    NIGHT,
    PRODUCTION,
    filled,
)

FOLDER = ".azure-pipelines"
HEAD = (
    "# Written by `tfhub-blocks ci write azure-devops` from pipelines/ci.toml and the profiles.\n"
    "# Do not edit: change the settings, and run the command again.\n"
)
# The service connection, with workload identity federation.
CONNECTION = "tfhub-blocks"
_POOL = "    pool: { vmImage: ubuntu-latest }\n"


def _checkout(indent: int, begin: bool = True) -> str:
    first = ["- checkout: self", '  fetchDepth: "0"', '  persistCredentials: "false"']
    lines = [
        *(first if begin else ()),
        "- task: UsePythonVersion@0",
        '  inputs: { versionSpec: "<<python>>" }',
        "- bash: |",
        "    set -eo pipefail",
        "    <<install>>",
        "  displayName: Install tfhub-blocks without TensorFlow",
    ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _step(indent: int, title: str, name: str, **env: str) -> str:
    # Azure's bash goes on after a command that fails.
    lines = [
        "- bash: |",
        "    set -eo pipefail",
        f"    <<{name}>>",
        f"  displayName: {title}",
    ]
    if env:
        lines += ["  env:", *(f"    {key}: {value}" for key, value in env.items())]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _azure_step(indent: int, title: str, name: str, **env: str) -> str:
    """Return a step that signs in by the service connection, whose identity is federated."""
    lines = [
        "- task: AzureCLI@2",
        f"  displayName: {title}",
        "  inputs:",
        f"    azureSubscription: {CONNECTION}",
        "    scriptType: bash",
        "    scriptLocation: inlineScript",
        "    inlineScript: |",
        "      set -eo pipefail",
        f"      <<{name}>>",
        "  env:",
        *(f"    {key}: {value}" for key, value in ({"SYSTEM_ACCESSTOKEN": _TOKEN} | env).items()),
        "<<variables>>",
    ]
    return "".join(f"{' ' * indent if it != '<<variables>>' else ''}{it}\n" for it in lines)


_TOKEN = "$(System.AccessToken)"  # noqa: S105  # the name of a variable
_TEMPORARY = {"TEMPORARY": "$(Agent.TempDirectory)"}
_CHANGE = {
    "SYSTEM_ACCESSTOKEN": _TOKEN,
    "CHANGE": "$(System.PullRequest.PullRequestId)",
    "HEAD_SHA": "$(System.PullRequest.SourceCommitId)",
    "BASE_SHA": "origin/<<branch>>",
}
_NAMES = (
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP",
    "AZURE_WORKSPACE",
    "AZURE_SOURCE_GROUP",
    "AZURE_SOURCE_WORKSPACE",
)
_GROUP = "variables:\n  - group: tfhub-blocks\n"


def _publish(indent: int, folder: str) -> str:
    lines = [f"- publish: {folder}", f"  artifact: {folder}", "  condition: succeededOrFailed()"]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _deployment(environment: str, minutes: int) -> str:
    """Return the head of a job that runs in an environment, up to the name of the workspace."""
    return f"""\
    timeoutInMinutes: "{minutes}"
    environment: {environment}
{_POOL}    strategy:
      runOnce:
        deploy:
          steps:
{_checkout(12)}{_step(12, "Name the workspace", "workspace", **_TEMPORARY)}"""


PULL_REQUEST = f"""\
# Azure Repos starts this pipeline by a branch policy: build validation of <<branch>>.
trigger: none
{_GROUP}
jobs:
  - job: review
    displayName: Check and review
    timeoutInMinutes: "30"
{_POOL}    steps:
{_checkout(6)}{_step(6, "Compare the pipeline files with their settings", "ci_check")}\
{_step(6, "Check the pipelines", "checks")}\
{_step(6, "Fetch the spending", "spent", GH_TOKEN=_TOKEN)}\
{_step(6, "See who approved", "approvals", **_CHANGE)}\
{_step(6, "Review the change", "review", **_CHANGE)}\
      - task: PublishTestResults@2
        displayName: Show the checks
        condition: succeededOrFailed()
        inputs:
          testResultsFormat: JUnit
          testResultsFiles: review/*.junit
{_publish(6, "review")}{_step(6, "Fail if a check or a guardrail failed", "verdict")}
<<test_job>>
  - job: comment
    displayName: Comment
    dependsOn: review
    condition: in(dependencies.review.result, 'Succeeded', 'SucceededWithIssues', 'Failed')
    timeoutInMinutes: "10"
{_POOL}    steps:
      - checkout: self
        fetchDepth: "0"
        persistCredentials: "false"
      # The code of the branch writes the comment, not that of the change.
      - bash: git checkout --quiet "origin/<<branch>>"
        displayName: Take the code of the branch
{_checkout(6, begin=False)}      - download: current
        artifact: review
      - bash: mkdir -p review && cp -r "$PIPELINE_WORKSPACE/review/." review/
        displayName: Take the review
{_step(6, "Write the comment", "comment", **_CHANGE)}
"""
_TEST_JOB = f"""\
  - job: test
    displayName: Test
    timeoutInMinutes: "60"
{_POOL}    steps:
{_checkout(6)}{_step(6, "Run the tests", "tests")}
"""

MERGE = f"""\
trigger:
  branches:
    include: [<<branch>>]
pr: none
{_GROUP}
jobs:
  - deployment: publish
    displayName: Publish and start experiments
{_deployment(EXPERIMENT, 60)}\
{_azure_step(12, "Publish", "publish", **_TEMPORARY)}<<experiments>>
"""
_EXPERIMENTS = _azure_step(12, "Start experiments", "submissions", **_TEMPORARY)

LOCK = f"""\
trigger: none
pr: none
parameters:
  - {{ name: pipeline, displayName: Pipeline of the release, type: string }}
  - {{ name: run, displayName: Job on Azure ML that proves the release, type: string }}
  - {{ name: release, displayName: Name of the release, type: string }}
{_GROUP}
jobs:
  - deployment: lock
    displayName: Write and propose the lock
{_deployment(EXPERIMENT, 60)}\
{
    _azure_step(
        12,
        "Write the lock",
        "lock",
        **_TEMPORARY,
        PIPELINE="${{ parameters.pipeline }}",
        RUN="${{ parameters.run }}",
        RELEASE="${{ parameters.release }}",
    )
}\
{_step(12, "Propose the lock", "push_lock_here", GH_TOKEN=_TOKEN, SYSTEM_ACCESSTOKEN=_TOKEN)}
"""

RELEASE = f"""\
trigger: none
pr: none
parameters:
  - {{ name: model, displayName: "Registered model, as MODEL:VERSION", type: string }}
  - {{ name: reason, displayName: Reason for the promotion, type: string }}
{_GROUP}
jobs:
  # The approvers of this environment are the second person: the job waits until one approves.
  - deployment: promote
    displayName: Promote
{_deployment(PRODUCTION, 120)}\
{
    _azure_step(
        12,
        "Promote",
        "promote",
        **_TEMPORARY,
        MODEL="${{ parameters.model }}",
        REASON="${{ parameters.reason }}",
    )
}{_publish(12, "records")}
"""

NIGHTLY = f"""\
trigger: none
pr: none
schedules:
  - cron: "<<nightly>>"
    displayName: Each night
    branches:
      include: [<<branch>>]
    always: "true"
{_GROUP}
jobs:
  - deployment: night
    displayName: Keep the workspace in order
{_deployment(NIGHT, 120)}\
{_azure_step(12, "Apply schedules and end endpoints", "night", **_TEMPORARY)}\
{_publish(12, "records")}
  - job: records
    displayName: Keep spending and durations
    dependsOn: night
    condition: succeededOrFailed()
    timeoutInMinutes: "10"
{_POOL}    steps:
{_checkout(6)}      - download: current
        artifact: records
      - bash: mkdir -p records && cp -r "$PIPELINE_WORKSPACE/records/." records/
        displayName: Take the records
{_step(6, "Keep the records", "push_records", GH_TOKEN=_TOKEN)}
  - job: prices
    displayName: Refresh prices
    timeoutInMinutes: "15"
{_POOL}    steps:
{_checkout(6)}{_step(6, "Refresh the prices", "prices")}\
{_step(6, "Propose the prices", "push_prices", GH_TOKEN=_TOKEN, SYSTEM_ACCESSTOKEN=_TOKEN)}
"""

_FILES = {
    "tfhub-blocks-pull-request.yml": PULL_REQUEST,
    "tfhub-blocks-merge.yml": MERGE,
    "tfhub-blocks-lock.yml": LOCK,
    "tfhub-blocks-release.yml": RELEASE,
    "tfhub-blocks-night.yml": NIGHTLY,
}


def azure_files(project: CiProject) -> dict[str, str]:
    """Return the text of each pipeline file by its path in the repository."""
    settings = project.settings
    names = (*_NAMES, *project.variables)
    indented = "".join(f"                {it}: $({it})\n" for it in names)
    texts = {
        "branch": settings.branch,
        "python": settings.python,
        "nightly": settings.nightly,
        "variables": indented,
        "test_job": _TEST_JOB if settings.tests else "",
        "experiments": _EXPERIMENTS if settings.merge else "",
        "install": run_blocks.install(project),
        "tests": run_blocks.tests(project),
        "ci_check": run_blocks.ci_check("azure-devops"),
        "checks": run_blocks.checks(project),
        "spent": run_blocks.spent(),
        "approvals": run_blocks.approvals(),
        "review": run_blocks.review("azure-devops"),
        "verdict": run_blocks.verdict(),
        "comment": run_blocks.comment(settings.comment),
        "workspace": run_blocks.workspace(),
        "publish": run_blocks.publish(project),
        "submissions": run_blocks.submissions(project, settings.merge),
        "lock": run_blocks.lock(),
        "push_lock_here": run_blocks.push_lock_here(settings.branch),
        "promote": run_blocks.promote(project),
        "night": run_blocks.night(project),
        "prices": run_blocks.prices(),
        "push_prices": run_blocks.push_prices(settings.branch),
        "push_records": run_blocks.push_records(),
    }
    return {f"{FOLDER}/{name}": HEAD + filled(text, texts) for name, text in _FILES.items()}
