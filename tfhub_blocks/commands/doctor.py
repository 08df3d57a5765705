"""``doctor``: whether a workspace has everything that the commands need."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands import (
    compute,
    costs,
    deployments,
    jobs,
    lineages,
    locks,
    owners,
    promotions,
    publishing,
    reproductions,
    runs,
    schedules,
    withdrawals,
)
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError, nearest

if TYPE_CHECKING:
    from tfhub_blocks.control.doctor.checkup import Row, Subject
    from tfhub_blocks.control.doctor.trial import Outcome, Part, Trial

# Every command module that asks a workspace, in the order of the command line.
_DECLARING = (
    *(compute, publishing, locks, jobs, runs, lineages, withdrawals, reproductions, promotions),
    *(schedules, deployments, owners, costs),
)
_FOLDER = Path(".runs") / "doctor"
NEEDS = (
    AzureNeeds(
        "doctor",
        ("read", "computes/read", "datastores/read", "onlineEndpoints/read", "experiments/read"),
    ),
    AzureNeeds(
        "doctor --live",
        (
            *("read", "computes/read", "datastores/read", "datastores/listSecrets/action"),
            *(f"{kind}/{verb}" for kind in ("jobs", "schedules") for verb in ("read", "write")),
            *(
                f"{kind}/versions/{verb}"
                for kind in ("codes", "components", "data", "environments", "models")
                for verb in ("read", "write")
            ),
            *("jobs/cancel/action", "codes/versions/startPendingUpload/action"),
            *("schedules/delete", "schedules/trigger/action", "experiments/runs/read"),
            *("onlineEndpoints/read", "onlineEndpoints/write", "onlineEndpoints/delete"),
            *("onlineEndpoints/deployments/read", "onlineEndpoints/deployments/write"),
            *("onlineEndpoints/score/action", "environments/build/action"),
        ),
        blobs="write",
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    doctor = commands.add_parser(
        "doctor",
        help="Check that a workspace has everything that the commands need, without a change.",
        description="Check login, permissions, roles of identities, machine sizes and quota, "
        "datastores, registry, networks, base images, prices and MLflow of a workspace. Nothing is "
        "changed and nothing costs money. Each row names what was checked, what was found, what is "
        "needed, and the command that fixes it. The exit status is 1 if anything is missing or "
        "could not be checked.",
    )
    doctor.add_argument(
        "--profile", default="experiment", help="profile to check (default: experiment)"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.add_argument(
        "--live",
        action="store_true",
        help="run jobs and an endpoint in the workspace for about half an hour, which costs money,"
        " and write the signed facts",
    )
    doctor.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="part of --live to run, even if it has passed; may be repeated (default: all parts"
        " that have not passed)",
    )
    doctor.add_argument(
        "--key", metavar="PRIV", help="private key that signs the facts, as for sign; for --live"
    )
    doctor.add_argument(
        "--to",
        type=Path,
        default=Path("doctor-facts.json"),
        metavar="FILE",
        help="file of the facts (default: doctor-facts.json)",
    )
    doctor.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="pinned encoder for the training of --live (default: the one that part handles pins)",
    )
    doctor.add_argument(
        "--clean",
        action="store_true",
        help="remove only what an interrupted --live has left in the workspace",
    )
    add_workspace(doctor)
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    if options.live or options.clean:
        return _live(options)
    return _check(options)


def _check(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.doctor.checkup import OK, checkup

    subject = _subject(options)
    rows = []
    for row in checkup(subject, _checks()):
        rows.append(row)
        if not options.json:
            _print(row)
    bad = [row for row in rows if row.state != OK]
    if options.json:
        record = {
            "workspace": subject.connection.name,
            "profile": subject.profile.name,
            "rows": [asdict(row) for row in rows],
        }
        print(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        print(f"{len(rows)} checked, {len(bad)} missing or not checked")
    return FAILED if bad else DONE


def _subject(options: argparse.Namespace) -> "Subject":
    from tfhub_blocks.control.doctor.checkup import Subject
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.workspace.connection import connect

    profile = load_profile(options.profile)
    if profile.engine != "azureml":
        problem = f"profile {profile.name} has engine {profile.engine}"
        remedy = "Pass one with --profile, such as --profile experiment"
        raise BlocksError("doctor", profile.name, problem, 'engine = "azureml"', remedy)
    return Subject(connect(options.workspace_config), profile, all_needs())


def all_needs() -> tuple[AzureNeeds, ...]:
    """Return the declarations of all command modules, in the order of the command line."""
    return (*(needs for module in _DECLARING for needs in module.NEEDS), *NEEDS)


def _checks() -> Any:
    from tfhub_blocks.control.doctor.login_checks import (
        check_identities,
        check_login,
        check_permissions,
    )
    from tfhub_blocks.control.doctor.machine_checks import check_machines
    from tfhub_blocks.control.doctor.supply_checks import check_images, check_prices
    from tfhub_blocks.control.doctor.workspace_checks import (
        check_datastores,
        check_mlflow,
        check_networks,
        check_registry,
    )

    return {
        "login": check_login,
        "permissions": check_permissions,
        "identities": check_identities,
        "sizes": check_machines,
        "datastores": check_datastores,
        "registry": check_registry,
        "networks": check_networks,
        "base images": check_images,
        "prices": check_prices,
        "mlflow": check_mlflow,
    }


def _live(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.doctor.trial import PASSED, UNTRIED, WHERE, Trial
    from tfhub_blocks.control.doctor.trial_parts import PARTS, choose, priced
    from tfhub_blocks.control.lineage.signatures import read_signer

    names = [part.name for part in PARTS]
    for name in options.only:
        if name not in names:
            remedy = nearest(name, names) or f"Pass one of {', '.join(names)}"
            problem = f"{name!r} is not a part"
            raise BlocksError(WHERE, "--only", problem, "one of " + ", ".join(names), remedy)
    if options.key is None and not options.clean:
        problem = "--key is missing, and the facts are signed"
        raise BlocksError(WHERE, "--key", problem, "a private key", "Pass --key PRIV.pem")
    signer = read_signer(options.key) if options.key else None
    subject = _subject(options)
    trial = Trial(subject.connection, subject.profile, _FOLDER, _write_pictures, options.encoder)
    _clean(trial)
    if options.clean or signer is None:
        return FAILED if trial.created else DONE
    parts = list(priced(trial, choose(trial, options.only)))
    _print_ceiling(parts)
    for name, skipped in trial.outcomes.items():
        if skipped.state == UNTRIED:
            _print_outcome(name, skipped)
    try:
        for part, outcome in trial.run([part for part, _ in parts]):
            _print_outcome(part.name, outcome)
    finally:
        _clean(trial)
    print(f"{options.to}, signed in {trial.write(options.to, signer)}")
    passed = all(it.state == PASSED for it in trial.outcomes.values())
    return DONE if passed and not trial.created else FAILED


def _print_outcome(name: str, outcome: "Outcome") -> None:
    print(f"{outcome.state:<18} {name:<10} {outcome.seconds:g} s", flush=True)
    if outcome.problem:
        print(f"  {outcome.problem}", flush=True)


def _print_ceiling(parts: "list[tuple[Part, float]]") -> None:
    from tfhub_blocks.control.costs.prices import load_prices, money

    currency = load_prices().currency
    for part, cost in parts:
        print(f"  {part.name:<10} at most {money(cost):>8} {currency}: {part.purpose}")
    total = money(sum(cost for _, cost in parts))
    print(
        f"at most {total} {currency} together, with every step at its time limit and the endpoint"
        " until its end date. Not counted: storage, disks, load balancers, and images that are"
        " built",
        flush=True,
    )


def _clean(trial: "Trial") -> None:
    for kind, name, state in trial.clean():
        print(f"  {kind} {name}: {state}", flush=True)


def _write_pictures(folder: Path, images_per_group: int) -> None:
    from tfhub_blocks.samples.sample_images import write_sample_images

    write_sample_images(folder, images_per_group)


def _print(row: "Row") -> None:
    print(f"{row.state:<8} {row.check:<14} {row.item}", flush=True)
    print(f"  found   {row.found}\n  needed  {row.needed}", flush=True)
    if row.fix:
        print(f"  fix     {row.fix}", flush=True)
