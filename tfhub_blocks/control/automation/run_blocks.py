"""The scripts of the jobs, for bash: the same on GitHub and on Azure DevOps.

A script contains no expression of a CI system. What it needs comes from environment variables,
which the workflow sets.
"""

# decisions 109 and 111

import shlex
from collections.abc import Mapping

from tfhub_blocks.control.automation.ci_settings import CiProject

# Files that jobs pass on.
REVIEW, RECORDS = "review", "records"
RECORDS_BRANCH, PRICES_BRANCH = "tfhub-blocks/records", "tfhub-blocks/prices"
# Git asks this for the token, so that neither a file nor a command line contains it.
_HELPER = """!f() { echo username=x-access-token; echo "password=$GH_TOKEN"; }; f"""
_GIT = f"git -c credential.helper= -c credential.helper={shlex.quote(_HELPER)}"
_ROBOT = (
    "git config user.name tfhub-blocks\ngit config user.email tfhub-blocks@users.noreply.github.com"
)


def install(project: CiProject) -> str:
    """Return the script that installs tfhub-blocks without TensorFlow."""
    return "\n".join(project.settings.installation)


def tests(project: CiProject) -> str:
    """Return the script that runs the project's tests."""
    return "\n".join(project.settings.tests)


def checks(project: CiProject) -> str:
    """Return the script that checks every pipeline: SARIF and JUnit, and a note of a failure."""
    return f"""mkdir -p {REVIEW}
for profile in {" ".join(project.profiles)}; do
  tfhub-blocks check --all --profile "$profile" --also "sarif={REVIEW}/$profile.sarif" \\
    --also "junit={REVIEW}/$profile.junit" || echo "check: profile $profile" >> {REVIEW}/failed
done"""


def ci_check(system: str) -> str:
    """Return the script that compares the workflow files with their settings."""
    return f"""mkdir -p {REVIEW}
tfhub-blocks ci check {system} || echo "ci check: the workflow files" >> {REVIEW}/failed"""


def spent() -> str:
    """Return the script that fetches what the last night knew of spending and durations."""
    return f"""mkdir -p {REVIEW}
if {_GIT} fetch --quiet --depth 1 origin refs/heads/{RECORDS_BRANCH}; then
  git show FETCH_HEAD:spent.json > {REVIEW}/spent.json
else
  echo '{{"format_version": 1, "months": {{}}, "seconds": {{}}}}' > {REVIEW}/spent.json
fi"""


def approvals() -> str:
    """Return the script that writes who approved the change, one name a line."""
    return f"""tfhub-blocks ci approvals "$CHANGE" --head "$HEAD_SHA" > {REVIEW}/approvals"""


def review(limit: str) -> str:
    """Return the script that reviews the change."""
    return f"""approved=()
while read -r name; do approved+=(--approved-by "$name"); done < {REVIEW}/approvals
tfhub-blocks review "$BASE_SHA" HEAD --spent {REVIEW}/spent.json "${{approved[@]}}" \\
  --limit {limit} --format markdown --output {REVIEW}/review.md \\
  --also json={REVIEW}/review.json --also sarif={REVIEW}/review.sarif \\
  || echo "review: a guardrail, or a commit that cannot be read" >> {REVIEW}/failed
echo "$CHANGE" > {REVIEW}/change"""


def verdict() -> str:
    """Return the script that fails if one of the scripts before it noted a failure."""
    return f"""if [ -s {REVIEW}/failed ]; then
  cat {REVIEW}/failed
  exit 1
fi"""


def comment(mode: str) -> str:
    """Return the script that writes the review into a comment of the change."""
    return (
        f"""tfhub-blocks ci comment {REVIEW} --mode {mode} --change "$CHANGE" --head "$HEAD_SHA\""""
    )


def fork_comment(mode: str) -> str:
    """Return the script that comments a fork's change: the number in its artifact is checked."""
    return f"""tfhub-blocks ci comment {REVIEW} --mode {mode} --head "$HEAD_SHA\""""


def workspace() -> str:
    """Return the script that writes the config.json of the workspace, outside the checkout.

    A model is promoted from the workspace of source.json, which may be another one.
    """
    form = '{"subscription_id": "%s", "resource_group": "%s", "workspace_name": "%s"}'
    return f"""form='{form}'
printf "$form" "$AZURE_SUBSCRIPTION_ID" "$AZURE_RESOURCE_GROUP" "$AZURE_WORKSPACE" \\
  > "$TEMPORARY/config.json"
printf "$form" "$AZURE_SUBSCRIPTION_ID" "${{AZURE_SOURCE_GROUP:-$AZURE_RESOURCE_GROUP}}" \\
  "${{AZURE_SOURCE_WORKSPACE:-$AZURE_WORKSPACE}}" > "$TEMPORARY/source.json\""""


def publish(project: CiProject) -> str:
    """Return the script that publishes the project; versions that exist stay."""
    return f"""tfhub-blocks publish --profile {project.settings.experiment} \\
  --workspace-config "$TEMPORARY/config.json\""""


def submissions(
    project: CiProject, pipelines: Mapping[str, Mapping[str, str]], prefix: str = ""
) -> str:
    """Return the script that submits pipelines, and does not wait for them."""
    lines = []
    for name, inputs in pipelines.items():
        words = [f"--set {shlex.quote(f'{key}={value}')}" for key, value in inputs.items()]
        parts = [
            f"{prefix}tfhub-blocks submit {shlex.quote(name)}",
            f"--profile {project.settings.experiment}",
            *words,
            '--workspace-config "$TEMPORARY/config.json"',
        ]
        lines.append(" \\\n  ".join(parts))
    return "\n".join(lines)


def lock() -> str:
    """Return the script that writes the lock of a release from the job that proves it."""
    return f"""{_ROBOT}
tfhub-blocks lock "$PIPELINE" --from-run "$RUN" --name "$RELEASE" \\
  --workspace-config "$TEMPORARY/config.json"
git switch --quiet --create "release/$RELEASE"
git add "pipelines/releases/$RELEASE.lock.toml"
git commit --quiet --message "releases: lock $RELEASE, proven by $RUN"
mkdir -p {RECORDS}
git format-patch --quiet -1 --stdout > {RECORDS}/lock.patch
echo "$RELEASE" > {RECORDS}/release"""


def push_lock(branch: str) -> str:
    """Return the script that pushes the branch of a lock and proposes its change."""
    return f"""{_ROBOT}
release=$(cat {RECORDS}/release)
git switch --quiet --create "release/$release"
git am --quiet {RECORDS}/lock.patch
{_GIT} push --quiet origin "HEAD:refs/heads/release/$release"
tfhub-blocks ci propose "release/$release" --into {branch} --title "releases: lock $release\""""


def push_lock_here(branch: str) -> str:
    """Return the script that pushes a lock from the job that wrote it, and proposes its change."""
    return f"""{_GIT} push --quiet origin "HEAD:refs/heads/$(git branch --show-current)"
tfhub-blocks ci propose "$(git branch --show-current)" --into {branch} \\
  --title "releases: lock $(cat {RECORDS}/release)\""""


def promote(project: CiProject) -> str:
    """Return the script that promotes a model in the name of who approved this run.

    A refusal is printed: each condition with its problems.
    """
    settings = project.settings
    return f"""git config user.name "$(tfhub-blocks ci reviewer --name)"
git config user.email "$(tfhub-blocks ci reviewer)"
tfhub-blocks promote "$MODEL" --from {settings.experiment} --to {settings.production} \\
  --from-config "$TEMPORARY/source.json" --workspace-config "$TEMPORARY/config.json" \\
  --reason "$REASON" --json > "$TEMPORARY/promotion.json" \\
  || {{ cat "$TEMPORARY/promotion.json"; exit 1; }}
mkdir -p {RECORDS}
cp "$TEMPORARY/promotion.json" {RECORDS}/promotion.json
python -c 'import json, shutil, sys
record = json.load(open(sys.argv[1]))
record["statement"] and shutil.copy(record["statement"], sys.argv[2])' \\
  {RECORDS}/promotion.json {RECORDS}"""


def night(project: CiProject) -> str:
    """Return the script of the night; if a command fails, the others run all the same."""
    settings = project.settings
    config = '--workspace-config "$TEMPORARY/config.json"'
    lines = [
        f"mkdir -p {RECORDS}",
        f": > {RECORDS}/failed",
        "attempt() {",
        '  echo "## $*"',
        f'  "$@" || echo "$*" >> {RECORDS}/failed',
        "}",
        f"attempt tfhub-blocks schedule apply {config}",
        f"attempt tfhub-blocks deploy reap {config}",
        f"attempt tfhub-blocks cost history --by owner --collect {config} \\",
        f"  | tee {RECORDS}/spending.txt",
        f"attempt tfhub-blocks owners {config} | tee {RECORDS}/owners.txt",
        f"attempt tfhub-blocks ci spent {RECORDS}/spent.json",
        "if tfhub-blocks doctor --help > /dev/null 2>&1; then",
        *(f"  attempt tfhub-blocks doctor --profile {name} {config}" for name in project.profiles),
        "fi",
    ]
    if settings.night:
        lines.append(submissions(project, settings.night, "attempt "))
    lines += [f"if [ -s {RECORDS}/failed ]; then", f"  cat {RECORDS}/failed", "  exit 1", "fi"]
    return "\n".join(lines)


def prices() -> str:
    """Return the script that refreshes the prices, and keeps the change as a patch."""
    return f"""{_ROBOT}
tfhub-blocks cost refresh
mkdir -p {RECORDS}
: > {RECORDS}/prices.patch
git add pipelines/prices.toml
if ! git diff --cached --quiet; then
  git commit --quiet --message "prices: refresh"
  git format-patch --quiet -1 --stdout > {RECORDS}/prices.patch
fi"""


def push_prices(branch: str) -> str:
    """Return the script that proposes refreshed prices as a change."""
    return f"""if [ -s {RECORDS}/prices.patch ]; then
  {_ROBOT.replace(chr(10), chr(10) + "  ")}
  git switch --quiet --create {PRICES_BRANCH}
  git am --quiet {RECORDS}/prices.patch
  {_GIT} push --quiet --force origin HEAD:refs/heads/{PRICES_BRANCH}
  tfhub-blocks ci propose {PRICES_BRANCH} --into {branch} --title "prices: refresh"
fi"""


def push_records() -> str:
    """Return the script that keeps the night's records in a branch without history."""
    return f"""{_ROBOT}
git switch --quiet --orphan {RECORDS_BRANCH}
cp {RECORDS}/spent.json spent.json
git add spent.json
git commit --quiet --message "records: spending and durations"
{_GIT} push --quiet --force origin HEAD:refs/heads/{RECORDS_BRANCH}"""


def owners() -> str:
    """Return the script that writes the owners and their spending into the summary of the run."""
    return f"""for name in owners spending; do
  printf '### %s\\n```\\n' "$name"
  cat "{RECORDS}/$name.txt"
  printf '```\\n'
done >> "$GITHUB_STEP_SUMMARY\""""
