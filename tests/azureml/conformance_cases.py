"""Pipelines as people write them: what tfhub-blocks reads of each is what the SDK sends."""

import textwrap
from dataclasses import dataclass

# A step from YAML with its code in a folder, as `az ml` takes it.
MAKE_YAML = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: make
version: 1
type: command
environment: azureml:toy:1
code: ./src
command: >-
  python make.py --source ${{inputs.source}} --count ${{inputs.count}}
  --text ${{inputs.text}} $[[--rate ${{inputs.rate}}]] --made ${{outputs.made}}
inputs:
  source: {type: uri_folder}
  count: {type: integer, min: 1, max: 9, default: 1}
  text: {type: string, enum: [a, b], default: a}
  rate: {type: number, optional: true, min: 0, max: 1}
outputs:
  made: {type: uri_folder}
"""
PLAIN = """
from pathlib import Path

from mldesigner import Input, Output, command_component


@command_component(name="count_files", version="1", environment="azureml:toy:1")
def count_files(source: Input(type="uri_folder"), counted: Output(type="uri_folder"), add: int = 0):
    number = sum(path.is_file() for path in Path(source).rglob("*")) + add
    (Path(counted) / "number.txt").write_text(str(number))
"""
# In front of each pipeline.
START = """
from pathlib import Path

from azure.ai.ml import Input, Output, command, dsl, load_component

HERE = Path(__file__).parent
make = load_component(HERE.parent / "steps/make/make.yaml")

"""
STEPS = {
    "steps/make/make.yaml": MAKE_YAML,
    "steps/make/src/make.py": "print('made')\n",
    "steps/make/src/helpers/words.py": "WORDS = 1\n",
    "data/word": "hello",
}


@dataclass(frozen=True)
class Case:
    """A project with one pipeline; ``refused`` are parts of the lines that refuse it."""

    name: str
    summary: str
    files: dict[str, str]
    settings: tuple[str, ...] = ("source=data",)
    refused: tuple[str, ...] = ()


# For cases that are about something else than the pipeline.
ONE_NODE = """
@dsl.pipeline
def mine(source: Input(type="uri_folder")):
    node = make(source=source)
    return {"made": node.outputs.made}
"""
CASES: list[Case] = []
REFUSED: list[Case] = []


def case(name: str, summary: str, body: str, start: str = START, **options: object) -> None:
    """Add a case whose pipeline ``mine`` has a body."""
    files = dict(STEPS)
    files["pipelines/mine.py"] = start.lstrip() + textwrap.dedent(body).lstrip("\n")
    files |= options.pop("files", {})  # type: ignore[arg-type]
    CASES.append(Case(name, summary, files, **options))  # type: ignore[arg-type]


case(
    "untyped-inputs",
    "Inputs without annotations: each takes the type of the step's input that it feeds.",
    """
    @dsl.pipeline
    def mine(source, count, text="b", rate=None):
        node = make(source=source, count=count, text=text, rate=rate)
        return {"made": node.outputs.made}
    """,
    settings=("source=data", "count=3"),
)
case(
    "typed-inputs",
    "Inputs of every type, with defaults, and an optional one without a value.",
    """
    @dsl.pipeline(name="typed", description="All types.", tags={"team": "a"})
    def mine(
        source: Input(type="uri_folder"),
        count: int = 2,
        text: Input(type="string", enum=["a", "b"]) = "b",
        rate: Input(type="number", optional=True) = None,
        share: float = 0.25,
    ):
        first = make(source=source, count=count, text=text, rate=rate)
        second = make(source=first.outputs.made, rate=share)
        return {"made": second.outputs.made}
    """,
    settings=("source=data", "count=4"),
)
case(
    "nested",
    "A pipeline in a pipeline in a pipeline, with outputs that pass through each.",
    """
    @dsl.pipeline
    def innermost(source: Input(type="uri_folder"), count: int = 2):
        one = make(source=source, count=count)
        return {"one": one.outputs.made}


    @dsl.pipeline
    def middle(source: Input(type="uri_folder"), number: int = 5):
        deep = innermost(source=source, count=number)
        after = make(source=deep.outputs.one)
        return {"first": deep.outputs.one, "second": after.outputs.made}


    @dsl.pipeline
    def mine(source: Input(type="uri_folder"), count: int = 7):
        both = middle(source=source, number=count)
        again = middle(source=both.outputs.second)
        last = make(source=again.outputs.first)
        return {"last": last.outputs.made, "deep": both.outputs.first}
    """,
)
case(
    "nested-untyped",
    "A pipeline without annotations around one with annotations.",
    """
    @dsl.pipeline
    def inner(source: Input(type="uri_folder"), count: Input(type="integer", min=1) = 2):
        return {"made": make(source=source, count=count).outputs.made}


    @dsl.pipeline
    def mine(source, count):
        first = inner(source=source, count=count)
        second = inner(source=first.outputs.made)
        return {"made": second.outputs.made}
    """,
    settings=("source=data", "count=3"),
)
case(
    "yaml-steps",
    "Steps from YAML: a code folder with folders below it.",
    """
    @dsl.pipeline(default_compute="cpu-cluster")
    def mine(source: Input(type="uri_folder")):
        node = make(source=source)
        node.compute = "cpu-cluster"
        return {"made": node.outputs.made}
    """,
)
case(
    "yaml-includes",
    "A step from YAML that adds files of other folders to its code.",
    ONE_NODE,
    files={
        "steps/make/make.yaml": MAKE_YAML + "additional_includes:\n  - ../../library\n",
        "library/shared.py": "SHARED = 1\n",
    },
)
case(
    "plain-step-at-root",
    "A plain mldesigner step in a file at the project's root: the whole project is its code.",
    """
    import sys

    from azure.ai.ml import Input, dsl

    sys.path.insert(0, "..")
    from count_files import count_files


    @dsl.pipeline
    def mine(source: Input(type="uri_folder"), add: int = 1):
        node = count_files(source=source, add=add)
        return {"counted": node.outputs.counted}
    """,
    start="",
    files={"count_files.py": PLAIN},
)
case(
    "plain-step-in-package",
    "Plain mldesigner steps in a package, imported relatively by the pipeline's neighbour.",
    """
    from azure.ai.ml import Input, dsl

    from .parts import NAME, count_files


    @dsl.pipeline(name=NAME)
    def mine(source: Input(type="uri_folder")):
        node = count_files(source=source)
        return {"counted": node.outputs.counted}
    """,
    start="",
    files={
        "pipelines/parts/__init__.py": "from .steps.count import count_files\n\nNAME = 'n'\n",
        "pipelines/parts/steps/count.py": PLAIN,
        "pipelines/parts/steps/beside.txt": "part of the code\n",
    },
)
case(
    "code-folder",
    "A mldesigner step in a folder, whose decorator names the folder above as its code.",
    """
    from azure.ai.ml import Input, dsl
    from library.steps.counting import count_files


    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        node = count_files(source=source)
        return {"counted": node.outputs.counted}
    """,
    start="",
    files={
        "library/steps/counting.py": PLAIN.replace('version="1", ', 'version="1", code="..", '),
        "library/words.py": "WORDS = 1\n",
        "library/more/words.txt": "words\n",
    },
)
case(
    "amlignore",
    "Files that .amlignore names are no part of the code; .gitignore does not count beside it.",
    ONE_NODE,
    files={
        "steps/make/src/.amlignore": "*.csv\ncache/\n# a comment\n/top.txt\n",
        "steps/make/src/.gitignore": "*.py\n",
        "steps/make/src/big.csv": "1\n",
        "steps/make/src/cache/large": "1\n",
        "steps/make/src/top.txt": "1\n",
        "steps/make/src/helpers/top.txt": "1\n",
        "steps/make/src/helpers/__pycache__/words.cpython-311.pyc": "1\n",
    },
)
case(
    "gitignore",
    "Files that .gitignore names are no part of the code, and a later line takes one back.",
    ONE_NODE,
    files={
        "steps/make/src/.gitignore": "data/*\n!data/keep.txt\n**/temp\n",
        "steps/make/src/data/large.bin": "1\n",
        "steps/make/src/data/keep.txt": "1\n",
        "steps/make/src/helpers/temp/x": "1\n",
    },
)
case(
    "loop",
    "A loop that creates several nodes of a step without names.",
    """
    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        for number in range(1, 4):
            make(source=source, count=number)
        last = make(source=source)
        return {"made": last.outputs.made}
    """,
)
case(
    "loop-with-names",
    "A loop that names its nodes, and feeds each node from the one before.",
    """
    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        outputs = source
        for number in range(1, 4):
            node = make(source=outputs, count=number)
            node.name = f"make_{number}"
            outputs = node.outputs.made
        return {"made": node.outputs.made}
    """,
)
case(
    "loop-of-dictionary",
    "A grid: one node for each entry of a dictionary, and an output for each.",
    """
    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        found = {}
        for name, (count, rate) in {"low": (1, 0.1), "high": (2, 0.9)}.items():
            node = make(source=source, count=count, rate=rate)
            node.name = name
            found[f"made_{name}"] = node.outputs.made
        return found
    """,
)
case(
    "dash-in-command-name",
    "A command of the SDK whose name argument has a dash.",
    """
    build = command(
        name="train-model",
        display_name="Train",
        inputs={"data": Input(type="uri_folder"), "rate": 0.5},
        outputs={"model": Output(type="uri_folder", mode="rw_mount")},
        code=str(HERE.parent / "steps/make/src"),
        command="python make.py --data ${{inputs.data}} --rate ${{inputs.rate}}"
        " --model ${{outputs.model}}",
        environment="azureml:toy:1",
    )


    @dsl.pipeline
    def mine(source: Input(type="uri_folder"), rate: float = 0.1):
        train = build(data=source, rate=rate)
        return {"model": train.outputs.model}
    """,
)
case(
    "command-without-code",
    "A command without code.",
    """
    hello = command(
        inputs={"source": Input(type="uri_folder")},
        outputs={"listing": Output(type="uri_folder")},
        command="ls ${{inputs.source}} > ${{outputs.listing}}/files.txt",
        environment="azureml:toy:1",
    )


    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        node = hello(source=source)
        node.environment_variables = {"WORDS": "hello"}
        return {"listing": node.outputs.listing}
    """,
)
case(
    "plain-values",
    "Arithmetic and `if` on inputs that the decorator lists in non_pipeline_inputs.",
    """
    @dsl.pipeline(non_pipeline_inputs=["count", "twice"])
    def mine(source: Input(type="uri_folder"), count: int = 2, twice: bool = False):
        node = make(source=source, count=count + 1)
        if twice:
            node = make(source=node.outputs.made, count=count * 2)
        return {"made": node.outputs.made}
    """,
    settings=("source=data", "count=3", "twice=true"),
)
case(
    "several-functions",
    "Helper functions that create nodes and pass outputs on, and inputs by position.",
    """
    def prepared(source, count=1):
        return make(source=source, count=count).outputs.made


    @dsl.pipeline
    def inner(source: Input(type="uri_folder"), count: int = 1):
        return {"made": prepared(source, count)}


    @dsl.pipeline
    def mine(source: Input(type="uri_folder")):
        once = prepared(source)
        node = inner(once, 3)
        return {"made": node.outputs.made}
    """,
)
# Of the kinds that Azure's public examples show: several stages, each a component of its own.
STAGE = """
name: {name}
version: 0.0.1
display_name: {title}
type: command
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04
  conda_file: ../conda.yaml
code: .
command: >-
  python {name}.py {arguments}
inputs:
{inputs}
outputs:
{outputs}
"""


def stage(name: str, inputs: dict[str, str], outputs: dict[str, str]) -> dict[str, str]:
    """The files of a step in a folder of its own, with its YAML file next to its code."""
    words = [f"--{it} ${{{{inputs.{it}}}}}" for it in inputs]
    words += [f"--{it} ${{{{outputs.{it}}}}}" for it in outputs]
    lines = ["\n".join(f"  {it}: {kind}" for it, kind in io.items()) for io in (inputs, outputs)]
    text = STAGE.format(
        name=name,
        title=name.title(),
        arguments=" ".join(words),
        inputs=lines[0],
        outputs=lines[1],
    )
    folder = f"stages/{name}"
    conda = "dependencies:\n  - python=3.11\n"
    return {
        f"{folder}/{name}.yml": text,
        f"{folder}/{name}.py": f"print({name!r})\n",
        "stages/conda.yaml": conda,
    }


FOLDER, FILE, MODEL = "{type: uri_folder}", "{type: uri_file}", "{type: mlflow_model}"
TAXI = (
    stage("prep", {"raw_data": FOLDER}, {"prep_data": FOLDER})
    | stage("transform", {"clean_data": FOLDER}, {"transformed_data": FOLDER})
    | stage(
        "train",
        {"training_data": FOLDER, "learning_rate": "{type: number, default: 0.01}"},
        {"model_output": MODEL, "test_data": FOLDER},
    )
    | stage(
        "predict", {"model_input": "{type: mlflow_model}", "test_data": FOLDER}, {"out": FOLDER}
    )
    | stage("score", {"predictions": FOLDER, "model": "{type: mlflow_model}"}, {"report": FILE})
)
case(
    "regression-in-stages",
    "Prepare, transform, train, predict and score: five stages, each with its own environment.",
    """
    from pathlib import Path

    from azure.ai.ml import Input, dsl, load_component

    stages = Path(__file__).parent.parent / "stages"
    prep, transform, train, predict, score = (
        load_component(source=str(stages / name / f"{name}.yml"))
        for name in ("prep", "transform", "train", "predict", "score")
    )


    @dsl.pipeline(description="E2E regression")
    def mine(pipeline_job_input, learning_rate=0.1):
        prepare_sample_job = prep(raw_data=pipeline_job_input)
        transform_sample_job = transform(clean_data=prepare_sample_job.outputs.prep_data)
        train_sample_job = train(
            training_data=transform_sample_job.outputs.transformed_data,
            learning_rate=learning_rate,
        )
        predict_sample_job = predict(
            model_input=train_sample_job.outputs.model_output,
            test_data=train_sample_job.outputs.test_data,
        )
        score_sample_job = score(
            predictions=predict_sample_job.outputs.out,
            model=train_sample_job.outputs.model_output,
        )
        return {
            "pipeline_job_prepped_data": prepare_sample_job.outputs.prep_data,
            "pipeline_job_trained_model": train_sample_job.outputs.model_output,
            "pipeline_job_score_report": score_sample_job.outputs.report,
        }
    """,
    start="",
    files=TAXI,
    settings=("pipeline_job_input=data",),
)
case(
    "credit-defaults",
    "A command for the data, a component from YAML that trains and registers its model.",
    """
    from pathlib import Path

    from azure.ai.ml import Input, Output, command, dsl, load_component

    root = Path(__file__).parent.parent
    data_prep_component = command(
        name="data_prep_credit_defaults",
        display_name="Data preparation for training",
        inputs={
            "data": Input(type="uri_folder"),
            "test_train_ratio": Input(type="number"),
        },
        outputs=dict(train_data=Output(type="uri_folder", mode="rw_mount")),
        code=str(root / "stages/prep"),
        command="python prep.py --data ${{inputs.data}} --test_train_ratio "
        "${{inputs.test_train_ratio}} --train_data ${{outputs.train_data}}",
        environment="azureml:toy:1",
    )
    train_component = load_component(source=root / "stages/train/train.yml")


    @dsl.pipeline(compute="cpu-cluster", description="E2E data_perp-train pipeline")
    def mine(
        pipeline_job_data_input,
        pipeline_job_test_train_ratio=0.2,
        pipeline_job_learning_rate=0.05,
    ):
        data_prep_job = data_prep_component(
            data=pipeline_job_data_input,
            test_train_ratio=pipeline_job_test_train_ratio,
        )
        train_job = train_component(
            training_data=data_prep_job.outputs.train_data,
            learning_rate=pipeline_job_learning_rate,
        )
        train_job.outputs.model_output = Output(type="mlflow_model", name="defaults")
        return {"pipeline_job_train_data": data_prep_job.outputs.train_data}
    """,
    start="",
    files=TAXI,
    settings=("pipeline_job_data_input=data",),
)
case(
    "train-with-components-of-functions",
    "Two trainings of a pipeline component side by side, and a comparison of both.",
    """
    from pathlib import Path

    from azure.ai.ml import Input, dsl, load_component

    stages = Path(__file__).parent.parent / "stages"
    train = load_component(source=str(stages / "train/train.yml"))
    predict = load_component(source=str(stages / "predict/predict.yml"))
    compare = load_component(source=str(stages / "compare/compare.yml"))


    @dsl.pipeline()
    def train_and_predict(training_data: Input(type="uri_folder"), learning_rate: float = 0.5):
        train_job = train(training_data=training_data, learning_rate=learning_rate)
        train_job.set_resources(instance_count=1)
        predict_job = predict(
            model_input=train_job.outputs.model_output, test_data=train_job.outputs.test_data
        )
        return {
            "trained_model": train_job.outputs.model_output,
            "predictions": predict_job.outputs.out,
        }


    @dsl.pipeline()
    def mine(source: Input(type="uri_folder"), minimum: float = 0.1, maximum: float = 0.9):
        with_low = train_and_predict(training_data=source, learning_rate=minimum)
        with_high = train_and_predict(training_data=source, learning_rate=maximum)
        best = compare(
            left=with_low.outputs.predictions,
            right=with_high.outputs.predictions,
        )
        return {"best": best.outputs.best, "low_model": with_low.outputs.trained_model}
    """,
    start="",
    files=TAXI | stage("compare", {"left": FOLDER, "right": FOLDER}, {"best": FOLDER}),
)
case(
    "images-with-functions",
    "Steps written as functions in folders of their own, chained through three outputs.",
    """
    import sys
    from pathlib import Path

    from azure.ai.ml import Input, dsl

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from prep.prep_component import prepare_data
    from trainer.train_component import fit


    @dsl.pipeline(default_compute="cpu-cluster")
    def mine(source: Input(type="uri_folder"), epochs: int = 3):
        prepared = prepare_data(input_data=source)
        fitted = fit(
            images=prepared.outputs.training_data,
            test=prepared.outputs.test_data,
            epochs=epochs,
        )
        return {"model": fitted.outputs.output_model}
    """,
    start="",
    files={
        "prep/prep_component.py": """
from pathlib import Path

from mldesigner import Input, Output, command_component


@command_component(
    name="prep_data",
    version="1",
    display_name="Prep Data",
    description="Convert data",
    environment=dict(
        conda_file=Path(__file__).parent / "conda.yaml", image="example.org/image"
    ),
)
def prepare_data(
    input_data: Input(type="uri_folder"),
    training_data: Output(type="uri_folder"),
    test_data: Output(type="uri_folder"),
):
    pass
""",
        "prep/conda.yaml": "dependencies:\n  - python=3.11\n",
        "trainer/train_component.py": """
from mldesigner import Input, Output, command_component


@command_component(name="train_images", environment="azureml:toy:1")
def fit(
    images: Input(type="uri_folder"),
    test: Input(type="uri_folder"),
    output_model: Output(type="uri_folder"),
    epochs=10,
    augment: bool = False,
):
    pass
""",
        "trainer/network.py": "LAYERS = 3\n",
    },
)


def refused(name: str, summary: str, body: str, *parts: str, **options: object) -> None:
    """Add a case that is refused; ``parts`` are parts of the lines, one line for each mistake."""
    case(name, summary, body, refused=parts, **options)  # type: ignore[arg-type]
    REFUSED.append(CASES.pop())


NAMED = """
@dsl.pipeline
def mine(source: Input(type="uri_folder"), count: int = 2, flag: bool = False):
    {}
"""


def named(body: str) -> str:
    """The pipeline ``mine`` with inputs for mistakes; its body begins in line 10."""
    return NAMED.format(textwrap.indent(textwrap.dedent(body), "    ").strip())


refused(
    "every-mistake",
    "Unknown inputs and outputs, a wrong type and a limit in one file: a line for each.",
    named("""
    one = make(source=source, cuont=3)
    two = make(source=one.outputs.maid, count=12)
    three = make(
        sourec=one.outputs.made,
        count="few",
    )
    return {"made": two.outputs.made}
    """),
    "mine.py:10 > make.cuont] make has no input 'cuont'. Expected one of source, count, text, rate."
    " Did you mean 'count'?",
    "mine.py:11 > make.maid] make has no output 'maid'. Expected one of made. Did you mean 'made'?",
    "mine.py:13 > make.sourec] make has no input 'sourec'.",
    "mine.py:11 > two.count] count of step two is 12. Expected at most 9.",
    "mine.py:14 > three.count] count of step three is 'few'. Expected a whole number.",
)
refused(
    "values-that-do-not-fit",
    "Wrong types, choices and limits, and a missing input.",
    named("""
    two = make(source=source, count=12)
    three = make(source=source, count="few", text="c")
    four = make(
        rate=1.5,
        count=2,
    )
    """),
    "mine.py:10 > two.count] count of step two is 12. Expected at most 9.",
    "mine.py:11 > three.count] count of step three is 'few'. Expected a whole number.",
    "mine.py:11 > three.text] text of step three is 'c'. Expected one of a, b.",
    "mine.py:12 > four.source] input source of step four has no value.",
    "mine.py:13 > four.rate] rate of step four is 1.5. Expected at most 1",
)
refused(
    "value-of-an-input",
    "A value that fits the pipeline's input and not the step's.",
    named("node = make(source=source, count=count)"),
    "mine.py:10 > node.count] count of step node is 99. Expected at most 9.",
    settings=("source=data", "count=99"),
)
refused(
    "dash-in-node-name",
    "A dash in the name of a node, which Azure ML does not take.",
    named("""
    node = make(source=source)
    node.name = "make-it"
    """),
    "Invalid node name found: 'make-it'",
)
refused(
    "arithmetic",
    "Arithmetic on an input: the SDK makes a step of it, which tfhub-blocks does not run.",
    named("node = make(source=source, count=count + 1)"),
    "mine.py:10 > expression_component] azure-ai-ml turns Expression: (count + 1) into a step",
)
refused(
    "if-on-an-input",
    "An `if` on an input, which the SDK refuses.",
    named("""
    if flag:
        make(source=source)
    """),
    "mine.py:10 > mine] an input has no value while the pipeline is built",
    "non_pipeline_inputs",
)
refused(
    "if-on-a-comparison",
    "An `if` on a comparison with an input.",
    named("""
    if count > 1:
        make(source=source)
    """),
    "mine.py:10 > mine] an input has no value while the pipeline is built",
)
refused(
    "condition-node",
    "The SDK's condition node.",
    named("""
    from azure.ai.ml.dsl._condition import condition

    yes, no = make(source=source), make(source=source, count=2)
    condition(condition=flag, true_block=yes, false_block=no)
    """),
    "mine.py:13 > conditionnode] node conditionnode is a node of type if_else",
)
refused(
    "parallel-for-node",
    "The SDK's loop over items that are known when the job runs.",
    named("""
    from azure.ai.ml.dsl._parallel_for import parallel_for

    body = make(source=source)
    parallel_for(body=body, items=[{"count": 1}, {"count": 2}])
    """),
    "mine.py:13 > parallelfor] node parallelfor is a node of type parallel_for",
)
refused(
    "do-while-node",
    "The SDK's loop that a step ends.",
    named("""
    from azure.ai.ml.dsl._do_while import do_while

    @dsl.pipeline
    def turn(source: Input(type="uri_folder")):
        made = make(source=source)
        return {"made": made.outputs.made}

    body = turn(source=source)
    do_while(
        body=body,
        mapping={body.outputs.made: body.inputs.source},
        condition=body.outputs.made,
        max_iteration_count=2,
    )
    """),
    "mine.py:",
    "do_while",
)
refused(
    "sweep-node",
    "A sweep over the inputs of a step.",
    named("""
    from azure.ai.ml.sweep import Choice

    node = make(source=source, count=Choice([1, 2]))
    found = node.sweep(
        compute="cpu-cluster", primary_metric="m", goal="maximize", sampling_algorithm="random"
    )
    """),
    "> found] node found is a node of type sweep, which tfhub-blocks does not run",
)
refused(
    "parallel-node",
    "A parallel step over mini batches.",
    named("""
    from azure.ai.ml.parallel import RunFunction, parallel_run_function

    score = parallel_run_function(
        name="score",
        inputs={"data": Input(type="uri_folder")},
        outputs={"scores": Output(type="uri_folder")},
        input_data="${{inputs.data}}",
        mini_batch_size="10",
        instance_count=1,
        task=RunFunction(
            code=str(HERE.parent / "steps/make/src"),
            entry_script="make.py",
            environment="azureml:toy:1",
        ),
    )
    node = score(data=source)
    """),
    "> score] node score is a node of type parallel, which tfhub-blocks does not run",
)
refused(
    "spark-node",
    "A Spark step.",
    named("""
    from azure.ai.ml import spark

    count_words = spark(
        name="count_words",
        inputs={"data": Input(type="uri_folder", mode="direct")},
        code=str(HERE.parent / "steps/make/src"),
        entry={"file": "make.py"},
        driver_cores=1,
        driver_memory="1g",
        executor_cores=1,
        executor_memory="1g",
        executor_instances=1,
    )
    node = count_words(data=source)
    """),
    "> count_words] node count_words is a node of type spark, which tfhub-blocks does not run",
)
refused(
    "step-of-a-workspace",
    "A step that is only in a workspace.",
    named("""
    from azure.ai.ml.entities import Command

    node = Command(
        component="azureml:make:1", inputs={"source": source}, _from_component_func=True
    )
    """),
    "> node] component azureml:make:1 of node node is in a workspace or registry",
)
refused(
    "data-of-a-workspace",
    "Data of a workspace that the pipeline names itself.",
    named('node = make(source=Input(type="uri_folder", path="azureml:words:1"))'),
    "mine.py:10 > node.source] azureml:words:1 is in a workspace or at an address.",
)
refused(
    "undeclared-placeholder",
    "A command with a placeholder that no input fills.",
    named("node = make(source=source)"),
    "> node.cuont] the command of step node contains ${{inputs.cuont}}, but make has no input"
    " 'cuont'. Did you mean 'count'?",
    files={"steps/make/make.yaml": MAKE_YAML.replace("inputs.count", "inputs.cuont")},
)
refused(
    "syntax",
    "A syntax error in the pipeline's file.",
    named("node = make(source=source"),
    "pipelines/mine.py:10 > mine] SyntaxError: '(' was never closed. Edit line 10.",
)
refused(
    "imports",
    "Imports that fail: each is reported, also the one of a neighbour.",
    named("node = make(source=source)"),
    "pipelines/mine.py:1 > numpyy] no module is called 'numpyy'.",
    "pipelines/mine.py:2 > snapshot_dat] module tfhub_blocks.components has no name 'snapshot_dat'."
    " Did you mean 'snapshot_data'?",
    "pipelines/beside.py:2 > mine] SyntaxError: invalid syntax. Edit line 2.",
    start="import numpyy\nfrom tfhub_blocks.components import snapshot_dat\n"
    "from beside import WORDS\n" + START,
    files={"pipelines/beside.py": "WORDS = 1\ndef def\n"},
)
refused(
    "error-in-a-helper",
    "An error in a function of a neighbour that the pipeline calls.",
    named("node = make(source=source, count=half(count))"),
    "pipelines/beside.py:2 > mine] ZeroDivisionError: division by zero. Edit line 2.",
    start=START + "from beside import half\n",
    files={"pipelines/beside.py": "def half(count):\n    return 1 / 0\n"},
)


def page() -> str:
    """The page of the documentation that lists the cases."""
    lines = [PAGE_START, "| pipeline | content |", "|---|---|"]
    lines += [f"| {it.name} | {it.summary} |" for it in CASES]
    lines += [REFUSED_START, "| pipeline | content |", "|---|---|"]
    lines += [f"| {it.name} | {it.summary} |" for it in REFUSED]
    return "\n".join(lines) + PAGE_END


PAGE_START = """# Conformance with Azure ML

You run a pipeline that was written for Azure ML with `tfhub-blocks run PIPELINE`. This page lists
the kinds of pipelines that are tested. Each pipeline is submitted with the unmodified azure-ai-ml
to a control plane on this machine, and compared with what the local engine reads of the same
pipeline: the nodes, the source of each input, the commands, the environment variables, and every
file of the code snapshots are equal.

The tests are in `tests/azureml/test_conformance.py`. The table is generated from the pipelines in
`tests/azureml/conformance_cases.py`.

## Pipelines that run as on Azure ML
"""
REFUSED_START = """
One pipeline is better than on Azure ML: an output of a step that a pipeline returns under two names
is written under both. Azure ML writes it under the last name only, so `submit` refuses the pipeline
and names the output.

## Pipelines that are refused before anything runs

Each mistake is one line with the file and the line number. All mistakes of a kind are reported at
once, and nothing runs.
"""
PAGE_END = """
Folders of runs are never part of a code snapshot. The SDK uploads them if they are inside the code
of a step; name them in `.amlignore` before you submit with azure-ai-ml.

Next: [the architecture](architecture.md).
"""
