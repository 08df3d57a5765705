"""What every step does first: see whether it runs in the environment that it is pinned to."""

import os
import sys
from pathlib import Path
from typing import Any, get_args

from tfhub_blocks.compute.step.step_policies import policy
from tfhub_blocks.records.base.errors import BlocksError
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
    """Facts for a lineage: how the environment differs from the lock that the step carries.

    By policy (``TFHUB_BLOCKS_ENVIRONMENT_POLICY``) a difference is recorded only, told in one
    line as well, or refused; distributions beside the lock count where differences are refused.

    Raises:
        BlocksError: The policy is to refuse, and there is a difference or no lock; or there is no
            such policy.
    """
    asked = policy(step_name, POLICY_VARIABLE, get_args(Policy), DEFAULT_POLICY)
    lock = read_step_lock()
    if lock is None:
        if asked == "refuse":
            raise BlocksError(
                step_name,
                "environment",
                "the step's snapshot carries no lock to compare with",
                "that of the environment which component.py names",
                "let it name one that is defined; see `tfhub-blocks env check`",
            )
        return {"environment": None}
    drift = drift_from(lock)
    if os.environ.get(FILES_VARIABLE) == "1":
        drift = with_tampered_files(drift, lock)
    differences = drift.differences(extra_counts=asked == "refuse")
    if differences and asked != "record":
        _tell(step_name, drift, differences, asked)
    return drift.as_dict()


def _tell(step_name: str, drift: Drift, differences: list[str], asked: str) -> None:
    named = ", ".join(differences[:_NAMED])
    if len(differences) > _NAMED:
        named += f", and {len(differences) - _NAMED} more"
    problem = f"this is not {drift.environment}, to which the step is pinned: {named}"
    if asked == "refuse":
        raise BlocksError(
            step_name,
            "environment",
            problem,
            "exactly what is locked",
            "run it in that environment's image, and install nothing by hand",
        )
    print(f"warning: {problem}", file=sys.stderr, flush=True)


def accelerator_facts() -> dict[str, Any]:
    """CUDA, cuDNN, GPUs and driver as TensorFlow sees them; nothing if no step imported it.

    And which build it is, with its threads within and between operations, 0 for as many as cores.
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
    """The first line of what the NVIDIA driver says of itself."""
    try:
        return DRIVER_FILE.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
