"""The conditions of a promotion: one function for each, and all refusals reported at once."""

# decisions 33 and 53

from collections.abc import Callable, Iterator, Mapping

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    encoder_digest,
    snapshot_digest,
)
from tfhub_blocks.control.project.profiles import profile_folders
from tfhub_blocks.control.promotion.promotion_case import WHERE, Case
from tfhub_blocks.control.promotion.release_origin import release_refusals
from tfhub_blocks.control.repository.git_state import is_edited
from tfhub_blocks.control.repository.people import is_same_person
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import origin_path
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME
from tfhub_blocks.records.pins.encoder_decisions import DEFAULT_POLICY, undecided
from tfhub_blocks.records.pins.handles import is_mutable
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

_TOLD = 3
_TUNING_STEP = "fine_tune"


def refusals(case: Case) -> dict[str, list[BlocksError]]:
    """Check each condition; return all refusals by the name of the condition."""
    asked = dict(_CONDITIONS)
    if case.profile.takes != "locks":
        del asked["release"]
    if not case.profile.promotion.two_persons:
        del asked["two persons"]
    return {name: list(condition(case)) for name, condition in asked.items()}


def _chain(case: Case) -> Iterator[BlocksError]:
    """Refuse a chain that is incomplete or has faults."""
    found = [*case.verdict.faults, *case.verdict.gaps]
    if found:
        version = case.version
        texts = "; ".join(f"{it.where} > {it.what}: {it.found}" for it in found[:_TOLD])
        more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        yield _refusal(
            case,
            f"the model's chain has faults or gaps: {texts}{more}",
            "a complete chain without faults",
            f"Run `tfhub-blocks verify {version.source if version.workspace else version}` to see "
            "all of them",
        )


def _origin(case: Case) -> Iterator[BlocksError]:
    """Refuse a chain without a snapshot or a pinned encoder, or with any other source."""
    behind = case.behind
    snapshots = [knot for knot in behind if snapshot_digest(knot.output)]
    for name, is_there in (
        # The pin itself names its source, so the encoder's step needs no source input.
        ("pinned encoder", any(encoder_digest(knot.output) for knot in behind)),
        ("snapshot of a source", any(link.is_source for it in snapshots for link in it.links)),
    ):
        if not is_there:
            yield _refusal(
                case,
                f"the model's chain contains no {name}",
                f"a chain that goes back to a {name}",
                "Train the model on outputs of snapshot_data and import_encoder",
            )
    for knot in case.chain.knots.values():
        is_first = snapshot_digest(knot.output) or encoder_digest(knot.output)
        for link in () if is_first else knot.links:
            if link.is_source:
                place = link.place or "a folder without lineage"
                yield _refusal(
                    case,
                    f"{knot.output.kind} was built from {place} ({link.port}), which no step wrote",
                    "no sources except those of snapshots and encoders",
                    "Import it with snapshot_data or import_encoder, and run the pipeline again",
                )


def _evidence(case: Case) -> Iterator[BlocksError]:
    """Refuse a model without evidence that a step measured this model and met all thresholds."""
    again = "Evaluate this model, and register it with that evidence"
    evidence, proof, model = case.evidence, case.proof, case.model
    digest = case.version.tags.get("evidence_digest", "")
    if evidence is None or proof is None:
        problem = (
            f"evidence {digest} is changed, or was not found locally"
            if digest
            else "the model has no evidence"
        )
        yield _refusal(case, problem, "the evidence that the model was registered with", again)
        return
    if model and evidence.model_digest not in digests_of_model(model):
        problem = f"the evidence is about the model {evidence.model_digest}"
        yield _refusal(case, problem, f"evidence about this model, {model.digest}", again)
    speaker = case.archive.speaker(proof)
    given = speaker.lineage.material("model") if speaker and speaker.lineage else None
    if given is None or given.digest != evidence.model_digest:
        problem = f"no statement confirms that {proof.path.name} was measured on this model"
        expected = "evidence with the statement of the step that wrote it"
        yield _refusal(case, problem, expected, again)
    data, own = (evidence.digests.get(it, "") for it in ("snapshot", "training_snapshot"))
    # A reviewed lock fixes the data too; the release condition checks that the model is from it.
    if data != own and not (case.release and case.profile.takes == "locks"):
        problem = (
            f"the model was measured on data {data or 'unknown'}, and learned from "
            f"{own or 'unknown'}"
        )
        expected = "evidence from the test split of the model's own data, as for other models"
        yield _refusal(case, problem, expected, again)
    champion = speaker.lineage.material(CHAMPION_PORT) if speaker and speaker.lineage else None
    stated = evidence.comparison.champion if evidence.comparison else None
    if stated != (champion.digest if champion else None):
        problem = f"no statement confirms that {proof.path.name} compares with the model {stated}"
        yield _refusal(case, problem, "a comparison with the step's input champion", again)
    for problem, expected in evidence.contradictions():
        yield _refusal(case, problem, expected, again)
    failed = [
        f"{it.name} is {it.measured:.4g}, and the threshold is {it.asked:g}"
        for it in evidence.thresholds
        if not it.met or _is_missed(it.name, it.asked, it.measured)
    ]
    if failed or not evidence.thresholds:
        yield _refusal(
            case,
            "; ".join(failed) or "the evidence has no threshold",
            "evidence with at least one threshold, and every threshold met",
            "Improve the model, or evaluate with another threshold on purpose",
        )


def _latency(case: Case) -> Iterator[BlocksError]:
    """Refuse a realtime model without evidence that met every latency bound."""
    model, pins = case.model, _pins(case)
    has_runtime = model is not None and (model.path / RUNTIME_NAME).exists()
    if not has_runtime and all(pin.decisions.inference != "realtime" for pin in pins):
        return
    latency = case.latency
    is_about = model and latency and latency.digests.get("served_model") == model.digest
    if latency is None or not is_about or latency.kind != "latency" or not latency.passed:
        why = (
            f"the model has a {RUNTIME_NAME}"
            if has_runtime
            else 'the encoder\'s pin sets inference = "realtime"'
        )
        yield _refusal(
            case,
            f"{why}, and no passed evidence of its latency was found",
            "the latency evidence that the model was registered with, every bound met",
            "Register the model with the pipeline latency_gate",
        )


def _is_missed(name: str, asked: float, measured: float) -> bool:
    """Return True if a measured value misses its bound, by the numbers alone. NaN misses each."""
    if name.startswith("min_"):
        return not measured >= asked
    return name.startswith("max_") and not measured <= asked


def _owner(case: Case) -> Iterator[BlocksError]:
    """Refuse a model without an owner."""
    if not case.owner.strip() or case.owner.startswith("$"):
        yield _refusal(
            case,
            f"the model's owner is {case.owner!r}",
            "the name of a person or team that is responsible for the model",
            "Register the model again with the input owner",
        )


def _encoder(case: Case) -> Iterator[BlocksError]:
    """Refuse an encoder with open decisions or no version, as far as the policy requires them."""
    if (case.profile.encoder_policy or DEFAULT_POLICY) == "experiment":
        return
    tuned = any(
        knot.output.lineage and knot.output.lineage.provenance.step == _TUNING_STEP
        for knot in case.behind
    )
    for pin in _pins(case):
        problems = [f"{name} is undecided" for name in undecided(pin.decisions)]
        if is_mutable(pin.handle):
            problems.append(f"{pin.handle} names no version")
        if tuned and pin.decisions.fine_tuning == "forbidden":
            problems.append("fine_tuning is forbidden by the pin, and the encoder was fine-tuned")
        if problems:
            yield _refusal(
                case,
                f"encoder {pin.name}: {'; '.join(problems)}",
                "an encoder with all decisions made and an exact version",
                "Write the decisions into the encoder's pin, and train the model again",
            )


def _pins(case: Case) -> list[Pin]:
    """Return the pins of the encoders in the model's chain."""
    encoders = (knot.output for knot in case.behind if encoder_digest(knot.output))
    return [read_pin(output.path / PIN_NAME) for output in encoders]


def _two_persons(case: Case) -> Iterator[BlocksError]:
    """Refuse a promoter who made the model or is responsible for it."""
    if not case.makers:
        yield _refusal(
            case,
            "no local record names who built the model",
            "runs with the names of who started them, or the reviewed lock of the model",
            "Run the pipeline again, or copy the record of the run into the folder of --runs-dir",
        )
    if not case.is_known:
        yield _refusal(
            case,
            f"the promoter is known only as {', '.join(case.promoters) or 'nobody'}",
            "a person: a person's login in Azure, or git's user.email",
            "Run `az login`, or `git config user.email YOU`",
        )
    same = sorted(
        {
            f"{author} is {name}"
            for author in case.authors
            for name in case.promoters
            if is_same_person(author, name)
        }
    )
    if same:
        yield _refusal(
            case,
            f"the promoter built the model or is responsible for it ({'; '.join(same)})",
            f"a promoter other than {', '.join(case.authors)}",
            f"Ask a colleague to promote {case.version}; for a team of one, set two_persons = "
            "false in [promotion] of the profile",
        )


def _profile(case: Case) -> Iterator[BlocksError]:
    """Refuse a profile that is not the committed one, as its conditions were not reviewed."""
    profile = case.profile
    folders = {folder.resolve() for folder in profile_folders()}
    if profile.engine != "azureml":
        problem, expected = (
            f"the profile's engine is {profile.engine}",
            'a profile with engine = "azureml"',
        )
    elif profile.path.is_symlink() or profile.path.resolve().parent not in folders:
        problem = f"{origin_path(profile.path)} is not a plain file in pipelines/profiles/"
        expected = "a profile that was committed"
    elif is_edited(profile.path):
        problem, expected = (
            f"{origin_path(profile.path)} differs from its commit",
            "a profile that was committed",
        )
    else:
        return
    yield BlocksError(
        WHERE,
        f"profile {profile.name}",
        problem,
        expected,
        "Pass a committed profile with --profile, or commit this one after a review",
    )


def _refusal(case: Case, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(WHERE, str(case.version), problem, expected, remedy)


_CONDITIONS: Mapping[str, Callable[[Case], Iterator[BlocksError]]] = {
    "profile": _profile,
    "chain": _chain,
    "origin": _origin,
    "evidence": _evidence,
    "latency": _latency,
    "owner": _owner,
    "encoder": _encoder,
    "release": release_refusals,
    "two persons": _two_persons,
}
