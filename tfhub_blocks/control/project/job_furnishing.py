"""The settings that a job gets from a profile: compute, limits, identity, policies and tags."""

# decisions 18, 62 and 65

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.ai.ml import TensorFlowDistribution
from azure.ai.ml.entities import (
    JobResourceConfiguration,
    ManagedIdentityConfiguration,
    UserIdentityConfiguration,
)

import tfhub_blocks
from tfhub_blocks.control.project.instance_counts import instance_count, role_of
from tfhub_blocks.control.project.profiles import SERVERLESS, JobSettings, Profile
from tfhub_blocks.control.project.step_graph import Graph, Node, job_nodes
from tfhub_blocks.control.project.tags import PROFILE_TAG, TAG
from tfhub_blocks.control.project.withdrawal_files import withdrawn_variables
from tfhub_blocks.records.base.errors import BlocksError

VERSION_TAG = f"{TAG}version"
PIPELINE_TAG = f"{TAG}pipeline"


@dataclass(frozen=True)
class Furnishing:
    """The settings of one job: its pipeline, its profile with the job's settings, and its tags.

    ``reuse`` is False if every step must run, even if its output is cached.
    """

    pipeline: str
    profile: Profile
    settings: JobSettings
    reuse: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


def furnish_job(job: Any, graph: Graph, furnishing: Furnishing) -> None:
    """Set everything in a job that a profile decides, for the job and for each node.

    Raises:
        BlocksError: The profile lacks a role, or a step's number of nodes is invalid, or serverless
            compute lacks the client ID of its identity.
    """
    settings, profile = furnishing.settings, furnishing.profile
    job.settings.continue_on_step_failure = False
    job.settings.force_rerun = not furnishing.reuse
    job.experiment_name = settings.experiment or furnishing.pipeline
    job.display_name = furnishing.pipeline
    job.tags = {
        "owner": settings.owner,
        "cost_centre": settings.cost_centre,
        PROFILE_TAG: profile.name,
        PIPELINE_TAG: furnishing.pipeline,
        VERSION_TAG: tfhub_blocks.__version__,
        **furnishing.tags,
    }
    withdrawn = withdrawn_variables("submit")
    job_node = job_nodes(job)
    for name, node in graph.nodes.items():
        _furnish(job_node[name], node, profile, settings)
        if withdrawn:
            own = job_node[name].environment_variables or {}
            job_node[name].environment_variables = own | withdrawn


def _furnish(job_node: Any, node: Node, profile: Profile, settings: JobSettings) -> None:
    """Set a node's compute, limits and policies from its role in the profile."""
    role = role_of(node, profile)
    job_node.compute, count = role.compute, instance_count(node, profile)
    if role.compute == SERVERLESS or count > 1:
        # Not with set_resources, which also writes into the component (decision 0018).
        resources = copy.copy(job_node.resources) or JobResourceConfiguration()
        resources.instance_type = role.size or resources.instance_type
        resources.instance_count = count
        job_node.resources = resources
    if count > 1:
        job_node.distribution = TensorFlowDistribution(worker_count=count, parameter_server_count=0)
    if role.compute == SERVERLESS and settings.tier:
        job_node.set_queue_settings(job_tier=settings.tier)
    job_node.set_limits(timeout=node.timeout_s or role.timeout_s)
    if settings.identity:
        job_node.identity = _identity(node, role.compute == SERVERLESS, profile, settings)
    if profile.policies:
        own = dict(node.environment_variables)
        job_node.environment_variables = own | dict(profile.policies)


def _identity(node: Node, is_serverless: bool, profile: Profile, settings: JobSettings) -> Any:
    if settings.identity == "user":
        return UserIdentityConfiguration()
    if is_serverless and not settings.client_id:
        raise BlocksError(
            "profile",
            f"{profile.name} > job.client_id",
            f'step {node.name} runs on serverless compute with identity = "managed", and serverless'
            " compute has no identity of its own",
            "the client ID of a managed identity of the workspace",
            f"Set client_id in table [job] of {profile.path}; `az identity list --query"
            ' "[].clientId"` prints the client IDs',
        )
    # A cluster uses its own identity.
    return ManagedIdentityConfiguration(client_id=settings.client_id if is_serverless else None)
