"""What has to hold before a model is promoted: each condition one function, all told at once."""

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
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME
from tfhub_blocks.records.pins.encoder_decisions import DEFAULT_POLICY, undecided
from tfhub_blocks.records.pins.handles import is_mutable
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

_TOLD = 3
_TUNING_STEP = "fine_tune"


def refusals(case: Case) -> dict[str, list[BlocksError]]:
    """Each condition by name, with all that keeps it from being met."""
    asked = dict(_CONDITIONS)
    if case.profile.takes != "locks":
        del asked["release"]
    if not case.profile.promotion.two_persons:
        del asked["two persons"]
    return {name: list(condition(case)) for name, condition in asked.items()}


def _chain(case: Case) -> Iterator[BlocksError]:
    """The whole chain is here and holds."""
    found = [*case.verdict.faults, *case.verdict.gaps]
    if found:
        version = case.version
        told = "; ".join(f"{it.where} > {it.what}: {it.found}" for it in found[:_TOLD])
        more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        yield _refusal(
            case,
            f"the chain behind it does not hold: {told}{more}",
            "a chain that is all here, and in which verify finds no fault",
            f"see `tfhub-blocks verify {version.source if version.workspace else version}`",
        )


def _origin(case: Case) -> Iterator[BlocksError]:
    """It begins at a snapshot of a source and at a pinned encoder, and nowhere else."""
    behind = case.behind
    snapshots = [knot for knot in behind if snapshot_digest(knot.output)]
    for name, is_there in (
        # Which source a pin names is in the pin, whether or not a step was given one.
        ("pinned encoder", any(encoder_digest(knot.output) for knot in behind)),
        ("snapshot of a source", any(link.is_source for it in snapshots for link in it.links)),
    ):
        if not is_there:
            yield _refusal(
                case,
                f"nothing behind it is a {name}",
                f"a chain that goes back to a {name}",
                "make it from outputs of snapshot_data and import_encoder",
            )
    for knot in case.chain.knots.values():
        is_first = snapshot_digest(knot.output) or encoder_digest(knot.output)
        for link in () if is_first else knot.links:
            if link.is_source:
                place = link.place or "a folder without lineage"
                yield _refusal(
                    case,
                    f"{knot.output.kind} was made from {place} ({link.port}), which no step made",
                    "sources of snapshots and encoders alone",
                    "let snapshot_data or import_encoder make it, and run again",
                )


def _evidence(case: Case) -> Iterator[BlocksError]:
    """A step measured this very model, and it met every threshold."""
    again = "evaluate this model, and register it with that evidence"
    evidence, proof, model = case.evidence, case.proof, case.model
    digest = case.version.tags.get("evidence_digest", "")
    if evidence is None or proof is None:
        told = f"evidence {digest} is not here unchanged" if digest else "it has no evidence"
        yield _refusal(case, told, "the evidence that it was registered with", again)
        return
    if model and evidence.model_digest not in digests_of_model(model):
        told = f"its evidence is about the model {evidence.model_digest}"
        yield _refusal(case, told, f"evidence about this model, {model.digest}", again)
    speaker = case.archive.speaker(proof)
    given = speaker.lineage.material("model") if speaker and speaker.lineage else None
    if given is None or given.digest != evidence.model_digest:
        told = f"no step tells that it measured this model to write {proof.path.name}"
        yield _refusal(case, told, "evidence beside the statement of the step that wrote it", again)
    data, own = (evidence.digests.get(it, "") for it in ("snapshot", "training_snapshot"))
    # What a lock holds was reviewed, its data too; whether this is of one is asked by itself.
    if data != own and not (case.release and case.profile.takes == "locks"):
        told = f"it was measured on data {data or 'unknown'}, and learned from {own or 'unknown'}"
        expected = "evidence of the test split of its own data, as other models' is of it"
        yield _refusal(case, told, expected, again)
    champion = speaker.lineage.material(CHAMPION_PORT) if speaker and speaker.lineage else None
    said = evidence.comparison.champion if evidence.comparison else None
    if said != (champion.digest if champion else None):
        told = f"no step tells that it compared with the model {said} to write {proof.path.name}"
        yield _refusal(case, told, "a comparison with what that step was given as champion", again)
    for told, expected in evidence.contradictions():
        yield _refusal(case, told, expected, again)
    failed = [
        f"{it.name} asked {it.asked:g}, measured {it.measured:.4g}"
        for it in evidence.thresholds
        if not it.met or _is_missed(it.name, it.asked, it.measured)
    ]
    if failed or not evidence.thresholds:
        yield _refusal(
            case,
            "; ".join(failed) or "no threshold was asked for",
            "evidence that met every threshold, and at least one",
            "improve the model, or ask for another threshold on purpose",
        )


def _latency(case: Case) -> Iterator[BlocksError]:
    """It was measured that it answers soon enough, if it is meant to answer at once."""
    model, pins = case.model, _pins(case)
    has_runtime = model is not None and (model.path / RUNTIME_NAME).exists()
    if not has_runtime and all(pin.decisions.inference != "realtime" for pin in pins):
        return
    latency = case.latency
    is_about = model and latency and latency.digests.get("served_model") == model.digest
    if latency is None or not is_about or latency.kind != "latency" or not latency.passed:
        why = f"it has a {RUNTIME_NAME}" if has_runtime else "its pin decides for realtime"
        yield _refusal(
            case,
            f"{why}, and no evidence here says that it answers soon enough",
            "the evidence of latency that it was registered with, every bound met",
            "register it by the pipeline latency_gate",
        )


def _is_missed(name: str, asked: float, measured: float) -> bool:
    """Whether a bound was missed, whatever the evidence says of itself; NaN misses each."""
    if name.startswith("min_"):
        return not measured >= asked
    return name.startswith("max_") and not measured <= asked


def _owner(case: Case) -> Iterator[BlocksError]:
    """Somebody answers for it."""
    if not case.owner.strip() or case.owner.startswith("$"):
        yield _refusal(
            case,
            f"its owner is {case.owner!r}, of whom nothing is known",
            "somebody who answers for it",
            "register it with the input owner",
        )


def _encoder(case: Case) -> Iterator[BlocksError]:
    """Each encoder in it is decided about and named to the version, as the policy asks."""
    if (case.profile.encoder_policy or DEFAULT_POLICY) == "experiment":
        return
    tuned = any(
        knot.output.lineage and knot.output.lineage.provenance.step == _TUNING_STEP
        for knot in case.behind
    )
    for pin in _pins(case):
        told = [f"{name} is undecided" for name in undecided(pin.decisions)]
        if is_mutable(pin.handle):
            told.append(f"{pin.handle} names no version")
        if tuned and pin.decisions.fine_tuning == "forbidden":
            told.append("it was fine-tuned, and its pin forbids that")
        if told:
            yield _refusal(
                case,
                f"encoder {pin.name}: {'; '.join(told)}",
                "an encoder that is decided about and named to the version",
                "write the decisions into the pin, and make the model again with it",
            )


def _pins(case: Case) -> list[Pin]:
    """The pins of the encoders in it."""
    encoders = (knot.output for knot in case.behind if encoder_digest(knot.output))
    return [read_pin(output.path / PIN_NAME) for output in encoders]


def _two_persons(case: Case) -> Iterator[BlocksError]:
    """Whoever promotes it did not make it, and does not answer for it."""
    if not case.makers:
        yield _refusal(
            case,
            "nothing here tells who made it",
            "runs that tell who started them, or the reviewed lock that it comes from",
            "run it again, or bring the record of the run here",
        )
    if not case.is_known:
        yield _refusal(
            case,
            f"whoever promotes it is known as {', '.join(case.promoters) or 'nobody'} alone",
            "a person: a login of a person in Azure, or git's user.email",
            "az login, or git config user.email YOU",
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
            f"who promotes it is who made it or answers for it ({'; '.join(same)})",
            f"two persons: somebody else than {', '.join(case.authors)}",
            "ask a colleague; a team of one says two_persons = false in [promotion] of the profile",
        )


def _profile(case: Case) -> Iterator[BlocksError]:
    """The conditions themselves are those that were agreed on."""
    profile = case.profile
    folders = {folder.resolve() for folder in profile_folders()}
    if profile.engine != "azureml":
        told, expected = f"its engine is {profile.engine}", 'a profile with engine = "azureml"'
    elif profile.path.is_symlink() or profile.path.resolve().parent not in folders:
        told = f"it is {profile.path}, which is no plain file of pipelines/profiles/"
        expected = "a profile that was committed"
    elif is_edited(profile.path):
        told, expected = (
            f"{profile.path} is not as it was committed",
            "a profile that was committed",
        )
    else:
        return
    yield BlocksError(
        WHERE, f"profile {profile.name}", told, expected, "name another, or let it be reviewed"
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
