"""A pipeline of 1,000 nodes is compiled by azure-ai-ml and checked with little work."""

from call_counts import counted_calls
from rule_project import TODAY, Spoiled, build, shallow

from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.repository.catalog import load_pipeline
from tfhub_blocks.control.rules.check_report import FORMATS
from tfhub_blocks.control.rules.checked_repository import Repository
from tfhub_blocks.control.rules.rule_checks import check, load_rules

LARGE = """
from azure.ai.ml import Input, dsl

from tfhub_blocks.components import import_encoder, words


@dsl.pipeline(name="toy")
def toy(source: Input(type="uri_folder"), encoder: Input(type="custom_model")):
    imported = import_encoder(source=encoder)
    chain = words(source=source)
    for number in range(998):
        chain = words(source=chain.outputs.made, count=number % 20)
    return {"made": chain.outputs.made}
"""


def large(project):
    """Write the project; give what compiles and checks its pipeline, which is loaded."""
    dear = ("pipelines/profiles/strict.toml", "run = 1.0", "run = 1000.0")
    settings = build(project, Spoiled(edits=(dear,), files={"pipelines/toy.py": LARGE}))
    words = [f"{name}={value}" for name, value in settings.items()]
    repository, rules = Repository(read_profile("strict"), TODAY), load_rules()
    # With this the SDK is imported.
    shallow(load_pipeline, "toy")

    def compiled_and_checked():
        subject = repository.subject("toy", words)
        report = check(repository.profile, [subject], rules)
        return subject, report, {name: write(report) for name, write in FORMATS.items()}

    return compiled_and_checked


def test_thousand_nodes_are_compiled_and_checked_with_few_calls(project):
    compiled_and_checked = large(project)

    def counted():
        with counted_calls() as count:
            return *compiled_and_checked(), count()

    subject, report, texts, calls = shallow(counted)

    assert len(subject.graph.nodes) == 1000
    # It was 2.3 million, in about a second. What looks at all nodes for each makes millions more.
    assert calls < 4_000_000
    # Of counts that do not fit there are hundreds, and people see a page.
    assert report.counts()["error"] == sum(not 1 <= n % 20 <= 9 for n in range(998))
    assert len(texts["text"].splitlines()) < 40
