"""reap_endpoints: Delete the endpoints of the workspace that are past their end date."""

# decision 88

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step


@command_component(
    version="1.0.0",
    display_name="Reap endpoints",
    description="Delete each endpoint of this workspace that tfhub-blocks deployed and that is "
    "past its end date, and each failed deployment. Endpoints without an end date stay. The step "
    "needs an identity that may read and delete endpoints.",
    environment="azureml:tfhub-blocks-operations:d7dffee1feb5",
    tags={"role": "operations", "category": "operate"},
    is_deterministic=False,
)
def reap_endpoints(
    report: Output(type="uri_file", description="Each endpoint and what became of it, as JSON."),
    dry_run: Input(
        type="boolean", description="Report the endpoints to delete, and delete nothing."
    ) = False,
):
    """Delete what is past its end date, and write what became of each endpoint.

    This step is never reused from a cache, because its effect lies outside its outputs.
    """
    with step(reap_endpoints, locals()) as run:
        from tfhub_blocks.control.deployments.reaping import reap_in_job

        reap_in_job(run.path("report"), dry_run)
