"""``encoder``: pretrained models, pinned to the byte, with a team's decisions about their use."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from tfhub_blocks.commands import comparisons
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError
from tfhub_blocks.records.base.foreign_text import printable
from tfhub_blocks.records.base.redaction import has_secret
from tfhub_blocks.records.pins.pins import PIN_NAME, SAVED_MODEL_FOLDER, Decisions, Pin, read_pin

_FOLDER = Path("encoders")
# The help of the options that set a decision, by its name.
_DECISIONS = {
    "loading": "source from which a step loads the encoder",
    "fine_tuning": "permission to train variables of the encoder",
    "inference": "kind of inference that models with this encoder do",
}


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    encoder = commands.add_parser(
        "encoder", help="Manage pretrained models: pin, verify, show, list, cuts, compare."
    ).add_subparsers(metavar="ACTION", required=True)
    pin = encoder.add_parser(
        "pin",
        help="Fetch and inspect an encoder, and write its facts and decisions to encoder.toml.",
        description="Fetch an encoder from a folder, an archive, a TF Hub or Kaggle address, a "
        "kagglehub: handle, an MLflow URI or a model asset of Azure ML, and write encoder.toml. "
        "On a terminal, the command asks for each decision that no option sets.",
    )
    pin.add_argument("handle", metavar="HANDLE", help="address, handle, URI or path of the encoder")
    pin.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="new folder for the encoder"
    )
    for name, text in _DECISIONS.items():
        pin.add_argument(f"--{name.replace('_', '-')}", choices=_choices(name), help=text)
    pin.add_argument(
        "--latency-budget-ms",
        type=float,
        metavar="N",
        help="time in ms for one item; required for --inference realtime",
    )
    pin.add_argument(
        "--without-model", action="store_true", help="write encoder.toml without the SavedModel"
    )
    pin.add_argument(
        "--facts",
        action="append",
        default=[],
        metavar="F",
        help="facts that the SavedModel does not contain, such as size_px=96:96, range=-1:1; "
        "repeatable",
    )
    pin.add_argument(
        "--allow-op",
        action="append",
        default=[],
        metavar="NAME",
        help="operation that does more than compute, which the encoder may contain; repeatable",
    )
    pin.add_argument(
        "--follow-links",
        action="store_true",
        help="read files outside of the folder HANDLE to which links lead",
    )
    pin.set_defaults(command=_pin)
    verify = encoder.add_parser("verify", help="Compare encoders with their pins, byte for byte.")
    verify.add_argument(
        "folders",
        metavar="DIR",
        nargs="*",
        type=Path,
        help="folder of a pinned encoder (default: every folder in encoders/)",
    )
    verify.set_defaults(command=_verify)
    show = encoder.add_parser(
        "show", help="Show an encoder's facts, and the effect of each decision."
    )
    show.add_argument("folder", metavar="DIR", type=Path, help="folder of a pinned encoder")
    show.set_defaults(command=_show)
    cuts = encoder.add_parser(
        "cuts",
        help="List where an encoder can be cut for fine-tuning, with the cost of each cut.",
        description="List each layer at which an encoder can be cut. The part below a cut is "
        "computed once for each item; the part above is trained. Times are estimates from a "
        "forward pass that is measured on this machine.",
    )
    cuts.add_argument("folder", metavar="ENCODER", type=Path, help="folder of a pinned encoder")
    cuts.add_argument(
        "--items", type=int, default=1000, metavar="N", help="number of items (default: 1000)"
    )
    cuts.add_argument(
        "--activations",
        choices=["float16", "float32"],
        default="float16",
        help="dtype of the stored activations (default: float16)",
    )
    cuts.set_defaults(command=_cuts)
    listing = encoder.add_parser("list", help="List the pinned encoders of a folder.")
    listing.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        type=Path,
        default=_FOLDER,
        help="folder with the pinned encoders (default: encoders)",
    )
    listing.set_defaults(command=_list)
    comparisons.register(encoder)


def _choices(decision: str) -> list[str]:
    values = get_args(get_type_hints(Decisions)[decision])
    return [value for value in values if value != "undecided"]


def _pin(options: argparse.Namespace) -> int:
    from tfhub_blocks.records.pins.encoder_decisions import undecided
    from tfhub_blocks.records.pins.handles import is_mutable

    _refuse_secrets({"HANDLE": options.handle, "--facts": ",".join(options.facts)})
    given = {name: getattr(options, name) for name in _DECISIONS if getattr(options, name)}
    given["latency_budget_ms"] = options.latency_budget_ms
    decisions = Decisions(**(_asked(given) if sys.stdin.isatty() else given))
    with tempfile.TemporaryDirectory() as temporary:
        fetched = _asset(options.handle, Path(temporary))

        from tfhub_blocks.compute.encoders.encoder_import import links_out
        from tfhub_blocks.compute.encoders.pinning import pin_encoder

        pin = pin_encoder(
            options.handle,
            options.to,
            decisions,
            with_model=not options.without_model,
            facts=_facts(options),
            fetched=fetched,
            follow_links=options.follow_links,
        )
        links = links_out(options.handle) if options.follow_links else {}
    print(f"{options.to}: {_summary(pin)}, digest {pin.digest}")
    for name, target in links.items():
        _warn(f"{name} was read through a link from outside of the folder, {target}")
    print("\n".join(_input_lines(pin)))
    for note in pin.notes or ():
        _warn(note)
    if pin.operations.allowed:
        _warn(f"the pin allows {pin.operations.allowed_text}")
    for name in undecided(decisions):
        _warn(f"{name} is undecided, which production refuses: set it in {options.to / PIN_NAME}")
    if is_mutable(pin.handle):
        _warn(
            f"{pin.handle} names no version, which production refuses: pin a handle with a version"
        )
    return DONE


def _input_lines(pin: Pin) -> Iterator[str]:
    """Yield the way in which an encoder is called, and each assumption about its input."""
    if pin.calling and pin.calling.signature:
        yield f"  {'signature':<11} {pin.calling.signature}"
    for name, value in ((pin.calling and pin.calling.switches) or {}).items():
        yield f"  {name:<11} {value} (turns training off)"
    for name, each in (pin.assumptions or {}).items():
        yield f"  {name:<11} {each.text}"


def _facts(options: argparse.Namespace) -> str | None:
    allowed = [f"allow_op={':'.join(options.allow_op)}"] if options.allow_op else []
    return ",".join([*filter(None, options.facts), *allowed]) or None


def _asset(handle: str, folder: Path) -> Path | None:
    """Download a model asset and return its folder; return None for any other handle."""
    if not handle.startswith("azureml:"):
        return None
    from tfhub_blocks.control.workspace.model_assets import download_asset

    return download_asset(handle, folder)


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for each decision that is missing. An empty answer leaves the decision open."""
    asked = dict(given)
    for name in _DECISIONS:
        answer = "" if name in asked else "?"
        while answer and answer not in _choices(name):
            answer = _answer(f"{name} ({', '.join(_choices(name))}; empty: undecided): ")
        asked |= {name: answer} if answer else {}
    if asked.get("inference") == "realtime" and asked["latency_budget_ms"] is None:
        answer = _answer("latency_budget_ms (ms for one item): ")
        number = float(answer) if answer.replace(".", "", 1).isdigit() else None
        asked["latency_budget_ms"] = number
    return asked


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _verify(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.encoders.pinning import verify_encoder

    status = DONE
    for folder in options.folders or _pinned(_FOLDER):
        try:
            pin = verify_encoder(folder)
        except BlocksError as error:
            print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
            status = FAILED
        else:
            print(f"{folder}: {len(pin.files)} files and all facts match the pin")
    return status


def _show(options: argparse.Namespace) -> int:
    from tfhub_blocks.records.pins.encoder_decisions import explained

    pin = read_pin(options.folder / PIN_NAME)
    print(pin.name)
    for title, text in (
        ("handle", pin.handle),
        ("digest", pin.digest),
        ("output", f"{pin.output.dimension} features for each {pin.modality} item"),
        ("saved as", pin.loaded_class),
        ("licence", pin.licence),
        ("variables", _variables(pin)),
        ("size", f"{_size(pin)} in {len(pin.files)} files"),
    ):
        print(f"  {title:<11} {text}")
    if pin.operations.allowed:
        print(f"  {'allowed':<11} {pin.operations.allowed_text}")
    for note in pin.notes or ():
        print(f"  {'note':<11} {note}")
    print("assumptions about the input")
    if pin.assumptions is None:
        told = ", ".join(f"{name} {value}" for name, value in pin.input.items())
        print(f"  {told}; an early version wrote the pin without sources")
    print("\n".join(_input_lines(pin)))
    for name, value, meaning in explained(pin.decisions, _size(pin), _load(options.folder, pin)):
        print(f"{name} = {value}")
        print(f"  start-up    {meaning.start_up}")
        print(f"  cost        {meaning.cost}")
        print(f"  recovery    {meaning.recovery}")
    return DONE


def _variables(pin: Pin) -> str:
    it = pin.training
    return f"{it.variables}, {len(it.trainable)} trainable, with {len(it.cuts)} possible cuts"


def _load(folder: Path, pin: Pin) -> str:
    if not (folder / SAVED_MODEL_FOLDER).is_dir():
        return "a time that is not measured, since the folder has no SavedModel"
    from tfhub_blocks.compute.encoders.pinning import measured_load_s

    return f"{measured_load_s(folder, pin):.1f} s"


def _cuts(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.cutting.cut_costs import cut_lines, measured_forward_s
    from tfhub_blocks.compute.cutting.encoder_cuts import check_cuts, cut_encoder
    from tfhub_blocks.compute.encoders.encoder import load_pinned

    where = "encoder cuts"
    if options.items < 1:
        problem = f"--items {options.items} is too small"
        raise BlocksError(
            where, "--items", problem, "1 or more", "Pass the number of items in your data"
        )
    cut = cut_encoder(load_pinned(options.folder, where), where)
    check_cuts(cut, where)
    forward_s = measured_forward_s(cut)
    dtype = options.activations
    print(f"{cut.encoder.pin.name}: {len(cut.names)} trainable variables")
    print(f"for {options.items:,} items, activations as {dtype}, {forward_s * 1e3:.1f} ms an item")
    print("\n".join(cut_lines(cut.cuts, options.items, dtype, forward_s)))
    return DONE


def _list(options: argparse.Namespace) -> int:
    status = DONE
    for folder in _pinned(options.folder):
        try:
            pin = read_pin(folder / PIN_NAME)
        except BlocksError as error:
            print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
            status = FAILED
        else:
            decided = pin.decisions
            decisions = f"{decided.loading}, {decided.fine_tuning}, {decided.inference}"
            print(f"{folder!s:<32} {_summary(pin)}, {_size(pin)}: {decisions}")
    return status


def _refuse_secrets(texts: Mapping[str, str]) -> None:
    """Check that the pin, which is shared, would contain no credential."""
    for what, text in texts.items():
        if has_secret(text):
            raise BlocksError(
                "encoder pin",
                what,
                f"{what} contains a credential, which the pin would keep",
                "a text without a password, a key or a signature",
                f"Leave the credential out of {what}, or download the encoder yourself and pin"
                " its folder",
            )


def _pinned(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.glob(f"*/{PIN_NAME}"))
    if not found:
        raise BlocksError(
            "encoder",
            str(folder),
            f"folder {folder} contains no pinned encoder",
            f"folders with {PIN_NAME}",
            f"Run `tfhub-blocks encoder pin HANDLE --to {folder}/NAME`",
        )
    return found


def _summary(pin: Pin) -> str:
    return f"{pin.modality} encoder, {pin.output.dimension} features"


def _size(pin: Pin) -> str:
    return f"{sum(file.size_bytes for file in pin.files.values()) / 1e6:.1f} MB"


def _warn(text: str) -> None:
    print(f"warning: {printable(text)}", file=sys.stderr)
