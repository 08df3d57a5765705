"""The first check of every step: the environment is the one to which the step is pinned."""

# decision 7

import os
import sys
from pathlib import Path
from typing import Any, get_args

from tfhub_blocks.compute.step.step_policies import policy
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.step_messages import send_message
from tfhub_blocks.records.environment.environment_drift import (
    DEFAULT_POLICY,
    FILES_VARIABLE,
    POLICY_VARIABLE,
    Drift,
    Policy,
    drift_from,
    read_step_lock,
    with_tampered_files,
)

DRIVER_FILE = Path("/proc/driver/nvidia/version")
_NAMED = 3


def check_environment(step_name: str) -> dict[str, Any]:
    """Compare the environment with the lock in the step's code snapshot; return the differences.

    The result is part of the lineage. The policy (``TFHUB_BLOCKS_ENVIRONMENT_POLICY``) decides
    about a difference: record it, print a warning as well, or refuse to run. Distributions that
    the lock does not list count as differences only if the policy is to refuse.

    Raises:
        BlocksError: The policy is to refuse, and a difference exists or the lock is missing; or
            the policy is unknown.
    """
    asked = policy(step_name, POLICY_VARIABLE, get_args(Policy), DEFAULT_POLICY)
    lock = read_step_lock()
    if lock is None:
        if asked == "refuse":
            raise BlocksError(
                step_name,
                "environment",
                "the step's code snapshot contains no environment lock",
                "the lock of the environment that component.py names",
                "Name a defined environment in component.py; `tfhub-blocks env check` lists the "
                "faults",
            )
        return {"environment": None}
    drift = drift_from(lock)
    if os.environ.get(FILES_VARIABLE) == "1":
        drift = with_tampered_files(drift, lock)
    differences = drift.differences(extra_counts=asked == "refuse")
    if differences and asked != "record":
        _report(step_name, drift, differences, asked)
    return drift.as_dict()


def _report(step_name: str, drift: Drift, differences: list[str], asked: str) -> None:
    named = ", ".join(differences[:_NAMED])
    if len(differences) > _NAMED:
        named += f", and {len(differences) - _NAMED} more"
    problem = f"the environment differs from {drift.environment}, which the step requires: {named}"
    if asked == "refuse":
        raise BlocksError(
            step_name,
            "environment",
            problem,
            "exactly the locked packages",
            f"Run the step in the image of {drift.environment}, and install nothing by hand",
        )
    send_message("warning", problem)


def accelerator_facts() -> dict[str, Any]:
    """Return the build, threads, CUDA, cuDNN, GPUs and driver that TensorFlow uses.

    ``threads`` are those within and those between operations; 0 means the number of cores. The
    result is empty if this process has not imported TensorFlow.
    """
    tf: Any = sys.modules.get("tensorflow")
    if tf is None:
        return {}
    build = tf.sysconfig.get_build_info()
    details = tf.config.experimental.get_device_details
    gpus = [details(gpu).get("device_name", "") for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "tensorflow": {
            "version": tf.__version__,
            "build": f"{tf.version.GIT_VERSION}, {tf.version.COMPILER_VERSION}",
            "threads": [
                tf.config.threading.get_intra_op_parallelism_threads(),
                tf.config.threading.get_inter_op_parallelism_threads(),
            ],
            "cuda": build.get("cuda_version"),
            "cudnn": build.get("cudnn_version"),
            "gpus": gpus,
            "driver": _driver(),
        }
    }


def _driver() -> str | None:
    """Return the first line of the NVIDIA driver's version file, or None."""
    try:
        return DRIVER_FILE.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
