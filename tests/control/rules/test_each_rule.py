"""Each rule, on a project with which it is content and on one with which it is not.

What it tells of the latter is in goldens/RULE.txt, which is written anew by
`UPDATE_GOLDENS=1 pytest tests/control/rules/test_each_rule.py`.
"""

from dataclasses import replace

import pytest
from rule_project import DECIDED, OTHER, Spoiled, report, subject

from tfhub_blocks.control.rules.check_report import text
from tfhub_blocks.control.rules.rule_checks import Rules, load_rules

LOCK = "components/environments/toy/requirements.lock"
ABOUT = "components/environments/toy/environment.yaml"
WORDS = "components/words/component.py"
IMPORT = "components/import_encoder/component.py"
TUNE = "components/fine_tune/component.py"
REGISTER = "components/register_model/component.py"
TOY = "pipelines/toy.py"
PROFILE = "pipelines/profiles/strict.toml"
SERVICES = "from azure.ai.ml.entities import SshJobService"
CONDA = "conda -q install alpha"
API_KEY = 'Input(type="string", description="A key") = "none"'
LOW = "max_nodes = {}\nlow_priority = true"
LETTERS = "letters = words(source=source)"
ENVIRONMENT = 'environment="azureml:toy-env:VERSION"'
MAKES = 'endpoint = ManagedOnlineEndpoint(name="e"{})'
DATED = ', tags={"tfhub_blocks.until": until}'
DEPLOYS = "client.online_endpoints.begin_create_or_update(endpoint)"
ENDPOINTS = "endpoints = 5.0\n"
REAPS = (
    ENDPOINTS
    + '[deployments]\nreap = "17 2 * * *"\n[roles.operations]\ncompute = "{}"\ntimeout_s = 60\n'
)
AZ = "az ml online-endpoint create"
BAKED = replace(DECIDED, loading="baked")
MOVES = '[environments]\ntoy-env = "tfhub-blocks-lite"\n'
IN_BAKED = (PROFILE, "[roles.cpu]", f"{MOVES}\n[roles.cpu]")
REGISTERS = OTHER.replace("import words", "import register_model, words").replace(
    "    return",
    '    model = Input(type="mlflow_model", path="azureml:m:0123456789ab")\n'
    "    registration = register_model(model=model)\n    return",
)
TRIALS = (
    'format_version = 1\ndescription = "x"\nengine = "local"\nencoder_policy = "experiment"\n'
    '[roles.cpu]\ncompute = "local"\ntimeout_s = 60\n'
)
SCHEDULE = (
    'format_version = 1\npipeline = "toy"\nprofile = "strict"\ntime_zone = "UTC"\n'
    'cron = "0 3 * * 1"\n\n[inputs]\nsource = "azureml:words:0123456789ab"\n'
)


def after(old, *lines):
    """An edit of the pipeline: more lines behind one."""
    return TOY, old, "\n    ".join([old, *lines])


def before_letters(*lines):
    """An edit of the pipeline: more lines before the words are made."""
    return TOY, f"    {LETTERS}", "".join(f"    {line}\n" for line in (*lines, LETTERS))


def exception(expires):
    return (
        '[[exceptions]]\nrule = "step-ports"\nowner = "us"\nreason = "They are being described."\n'
        f"expires = {expires}\n"
    )


# What else a rule is content with, beside the project as it is.
GOOD = {
    "environment-install": Spoiled(
        edits=((WORDS, "    pass", '    raise ValueError("pip install alpha, and begin again")'),)
    ),
    "environment-shared": Spoiled(edits=(IN_BAKED,), decisions=BAKED, bakes="lite"),
    "data-writer": Spoiled(
        edits=(after(LETTERS, 'letters.outputs.made.name = "letters"'),),
        files={"pipelines/other.py": OTHER},
    ),
    "encoder-loading": Spoiled(edits=(IN_BAKED,), decisions=BAKED, bakes="lite"),
    "compute-priority": Spoiled(edits=((PROFILE, "max_nodes = 1", LOW.format(1)),)),
    "compute-timeout": Spoiled(edits=(after(LETTERS, "letters.set_limits(timeout=9)"),)),
    "cost-twice": Spoiled(edits=(after(LETTERS, "more = words(source=source, count=2)"),)),
    "cost-endpoint": Spoiled(
        edits=(
            (PROFILE, "", "\n[deployments]\nlongest_days = 366\n"),
            (WORDS, "    pass", f"    {MAKES.format(DATED)}\n    {DEPLOYS}"),
        )
    ),
    "cost-reap": Spoiled(edits=((PROFILE, "", REAPS.format("own")),)),
    "team-names": Spoiled(
        edits=(
            (PROFILE, "cpus", "toy-cpus"),
            (PROFILE, "gpus", "toy-gpus"),
            (PROFILE, "[job]", '[job]\nname_prefix = "to"'),
        )
    ),
    "exception-expired": Spoiled(edits=((PROFILE, "", exception("2027-01-01")),)),
}
BAD = {
    "environment-version": Spoiled(
        edits=((WORDS, ENVIRONMENT, 'environment="azureml:toy-env@latest"'),)
    ),
    "environment-lock": Spoiled(
        edits=(
            (LOCK, f"alpha==1.0 --hash=sha256:{'0' * 64}", "alpha==1.0"),
            (WORDS, ENVIRONMENT, 'environment="azureml:toy-env:0123456789ab"'),
            (TUNE, ENVIRONMENT, 'environment="azureml:curated:3"'),
        )
    ),
    "environment-install": Spoiled(
        edits=(
            (WORDS, "    pass", '    subprocess.run(["pip", "install", "alpha"], check=True)'),
            (IMPORT, "    pass", f"    command = '{CONDA}'\n    subprocess.run(command.split())"),
        )
    ),
    "environment-cuda": Spoiled(
        edits=((LOCK, f"nvidia-cudnn-cu12==9.2 --hash=sha256:{'2' * 64}\n", ""),)
    ),
    "environment-owner": Spoiled(
        edits=((ABOUT, "owner: us\n", ""),),
        files={"components/environments/another/environment.yaml": "name: toy-env\nowner: them\n"},
    ),
    "environment-shared": Spoiled(
        edits=(IN_BAKED,),
        files={"pipelines/profiles/trials.toml": f"{TRIALS}{MOVES}"},
        decisions=BAKED,
        bakes="lite",
    ),
    "data-version": Spoiled(settings={"source": "azureml:words", "encoder": "encoders/lite0"}),
    "data-digest": Spoiled(settings={"source": "azureml:words:3"}),
    "data-folder": Spoiled(
        edits=(
            after(
                LETTERS,
                "more = words(",
                '    source=Input(type="uri_folder", path="https://me:SECRET@example.org/w?sig=SECRET")',
                ")",
            ),
        ),
        settings={"source": "azureml://datastores/lake/paths/words"},
        files={
            "pipelines/schedules/weekly.toml": SCHEDULE.replace(
                "azureml:words:0123456789ab", "azureml://datastores/lake/paths/weekly"
            )
        },
    ),
    "data-writer": Spoiled(
        edits=(after(LETTERS, 'letters.outputs.made.name = "letters"'),),
        files={
            "pipelines/other.py": OTHER.replace(
                "    return", '    more.outputs.made.name = "letters"\n    return'
            )
        },
    ),
    "encoder-pin": Spoiled(
        edits=(
            before_letters(
                'address = "https://example.org/other"',
                'other = import_encoder(handle=address, unpinned="accept")',
            ),
        ),
        settings={"encoder": "azureml:unknown:0123456789ab"},
    ),
    "encoder-decisions": Spoiled(decisions=replace(DECIDED, inference="undecided")),
    "encoder-loading": Spoiled(
        edits=(
            (PROFILE, 'engine = "azureml"', 'engine = "azureml"\nencoder_loading = ["baked"]'),
            before_letters(
                'model = Input(type="custom_model", path="azureml:unknown:1")',
                "other = import_encoder(source=model)",
            ),
        )
    ),
    "encoder-fine-tuning": Spoiled(decisions=replace(DECIDED, fine_tuning="forbidden")),
    "compute-scale": Spoiled(edits=((PROFILE, "max_nodes = 2", "max_nodes = 2\nmin_nodes = 1"),)),
    "compute-idle": Spoiled(edits=((PROFILE, "max_nodes = 2", "max_nodes = 2\nidle_s = 86400"),)),
    "compute-timeout": Spoiled(
        edits=(
            after(LETTERS, "letters.set_limits(timeout=86400)"),
            (TUNE, '"role": "gpu"', '"role": "tpu"'),
        )
    ),
    "compute-cluster": Spoiled(edits=((PROFILE, 'compute = "gpus"', 'compute = "my-machine"'),)),
    "compute-ssh": Spoiled(
        edits=(
            (TOY, "Input, dsl", f"Input, dsl\n{SERVICES}"),
            after(LETTERS, 'letters.services = {"door": SshJobService(ssh_public_keys="k")}'),
        )
    ),
    "compute-priority": Spoiled(edits=((PROFILE, "max_nodes = 2", LOW.format(2)),)),
    "compute-gpu": Spoiled(
        edits=(
            (LOCK, f"nvidia-cuda-runtime-cu12==12.9 --hash=sha256:{'1' * 64}\n", ""),
            (WORDS, '"role": "cpu"', '"role": "gpu"'),
        )
    ),
    "cost-reuse": Spoiled(
        edits=((WORDS, ENVIRONMENT, f"{ENVIRONMENT},\n    is_deterministic=False"),)
    ),
    "cost-budget": Spoiled(edits=((PROFILE, "run = 1.0", "run = 0.01"),)),
    "cost-twice": Spoiled(edits=(after(LETTERS, "more = words(source=source)"),)),
    "cost-endpoint": Spoiled(
        edits=(
            (PROFILE, "", "\n[deployments]\nlongest_days = 3650\n"),
            (WORDS, "    pass", f"    {MAKES.format('')}\n    {DEPLOYS}"),
            (IMPORT, "    pass", f'    subprocess.run(["{AZ}", "-f", "e.yaml"], check=True)'),
            (TUNE, "run.work('model')", "client.online_endpoints.begin_create_or_update(given)"),
            (TOY, "    imported", "    lambda: load_batch_endpoint('e.yaml')\n    imported"),
        )
    ),
    "cost-reap": Spoiled(edits=((PROFILE, "", REAPS.format("cpus")),)),
    "team-owner": Spoiled(
        edits=((PROFILE, '"us"', '" "'), (PROFILE, '"42"', '"$NOBODY_SETS_THIS"'))
    ),
    "team-names": Spoiled(
        edits=((PROFILE, "[job]", '[job]\nname_prefix = "ours-"'),),
        files={
            "pipelines/schedules/weekly.toml": f'{SCHEDULE}\n[register]\nmodel = "weekly-model"\n'
        },
    ),
    "team-assets": Spoiled(files={"pipelines/other.py": REGISTERS}),
    "team-ports": Spoiled(
        edits=(
            (IMPORT, 'Output(type="custom_model"', 'Output(type="uri_folder"'),
            (TOY, LETTERS, 'letters = words(source=source, text="c", count=10)'),
        )
    ),
    "step-effects": Spoiled(edits=((REGISTER, "    is_deterministic=False,\n", ""),)),
    "step-ports": Spoiled(edits=((WORDS, ', description="A letter"', ""),)),
    "step-secrets": Spoiled(
        edits=(
            (WORDS, "    count:", f"    api_key: {API_KEY},\n    count:"),
            after(
                LETTERS,
                'letters.environment_variables = {"A": "AccountKey=SECRET"}',
                'more = words(source=source, api_key="https://example.org/x?sig=SECRET")',
                'place = Input(type="uri_folder", path="https://me:SECRET@example.org/w")',
                "most = words(source=place)",
            ),
        ),
    ),
    "exception-expired": Spoiled(edits=((PROFILE, "", exception("2026-12-31")),)),
}


def test_each_rule_has_a_case():
    assert set(BAD) == {rule.id for rule in load_rules().known}


def test_all_rules_are_content_with_the_project_as_it_is(project):
    found = report(subject(project), load_rules())
    assert [finding.problem for finding in found.findings] == []


@pytest.mark.parametrize("rule", GOOD)
def test_rule_is_content_with_what_is_near_to_bad(rule, project):
    assert told(rule, only(rule, subject(project, GOOD[rule]))) == ""


@pytest.mark.parametrize("rule", BAD)
def test_rule_tells_what_is_bad(rule, project, golden):
    text = told(rule, only(rule, subject(project, BAD[rule])))
    assert text
    assert "SECRET" not in text
    golden(rule, project.normal(text))


def test_encoder_that_is_baked_needs_an_environment_that_holds_it(project):
    [finding] = only("encoder-loading", subject(project, Spoiled(decisions=BAKED))).findings
    assert finding.node == "imported"
    assert finding.problem.endswith("is baked, and no environment of strict contains it")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ENDPOINTS, "deployments.reap: no time is set"),
        (REAPS.partition("[roles")[0], "roles: no role operations is set"),
    ],
)
def test_endpoints_that_no_schedule_ends_are_found(project, text, problem):
    [finding] = only("cost-reap", subject(project, Spoiled(edits=((PROFILE, "", text),)))).findings
    assert finding.problem.startswith(problem)


def test_encoder_that_only_a_schedule_names_is_looked_at(project):
    weekly = SCHEDULE.replace("[inputs]", '[inputs]\nencoder = "azureml:unknown:0123456789ab"')
    change = Spoiled(settings={"encoder": ""}, files={"pipelines/schedules/weekly.toml": weekly})
    [finding] = only("encoder-pin", subject(project, change)).findings
    assert finding.problem == "azureml:unknown:0123456789ab has no local encoder.toml"


def only(rule, subject):
    """What one rule finds; the project's exceptions speak of another, which is known as well."""
    known = tuple(it for it in load_rules().known if it.id in (rule, "step-ports"))
    return report(subject, Rules(known))


def told(rule, report):
    """What the report says of one rule."""
    assert "rule-crashed" not in {finding.rule for finding in report.findings}
    own = tuple(finding for finding in report.findings if finding.rule == rule)
    return text(replace(report, findings=own)).rpartition("\n\n")[0]
