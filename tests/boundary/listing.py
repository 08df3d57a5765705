"""The list of the ways, as it stands in the docs."""

from importlib import import_module
from pathlib import Path

from ways import WAYS

DOCS = "docs/boundary.md"
# Ways that tests hold which are beside what they are about: file, test, and what somebody does.
ELSEWHERE = {
    "tests/control/lineage/test_verify.py": {
        "test_edited_file_far_back_is_found_from_everything_made_of_it": "edit what a step made",
        "test_swapped_folder_is_found_by_the_run_though_the_store_was_forged": "put another model "
        "in its place, and forge the store's record",
        "test_edited_parameter_is_found_by_the_run": "edit a parameter in a statement, and forge "
        "the store's record",
        "test_edited_code_beside_a_run_is_found": "edit the code that a run is said to have run",
        "test_replayed_evidence_is_found": "lay the evidence of another run beside a model",
        "test_evidence_replayed_with_its_report_is_found_where_it_was_registered": "do so with "
        "its report",
        "test_evidence_of_a_better_model_in_the_registry_is_found": "let the tag of a registered "
        "model name the evidence of a better one",
        "test_evidence_that_names_something_else_is_found": "write evidence anew that was measured "
        "on other data, by other code, or of another encoder",
        "test_evidence_written_anew_is_not_that_of_the_registry": "write it anew with better "
        "numbers",
        "test_edited_tag_is_found": "edit the tags of a registered model",
        "test_edited_parameter_is_found_by_the_registry": "edit the statement in a registered "
        "model",
    },
    "tests/control/lineage/test_champions.py": {
        "test_champion_that_was_swapped_after_the_evaluation_is_found": "put another model in the "
        "champion's place after the evaluation",
        "test_evidence_that_compares_with_another_champion_is_found": "let evidence compare with "
        "another champion than its step was given",
        "test_evidence_that_leaves_its_champion_out_is_found": "leave the champion out of evidence "
        "that lost against it",
        "test_champion_that_was_measured_on_other_data_is_found": "let the champion have been "
        "measured on other data",
        "test_step_that_makes_a_model_of_what_it_calls_a_champion_hides_nothing": "make a model of "
        "another one that is called a champion, so that nobody looks behind it",
    },
    "tests/compute/serving/test_connections.py": {
        "test_eleven_hundred_unfinished_connections_leave_it_healthy": "hold 1,100 connections "
        "of a server without finishing a request",
        "test_slow_client_loses_its_connection": "send headers, a body or chunks byte by byte",
        "test_client_that_does_not_read_loses_its_connection": "ask for answers and read none",
        "test_odd_request_gets_an_answer_and_no_fault": "send a server garbage",
        "test_repeated_lines_are_counted": "fill a server's log with the same line",
    },
    "tests/control/project/test_tracking_store.py": {
        "test_newer_schema_is_refused_with_both_versions": "use the database of a newer MLflow",
        "test_killed_creation_leaves_no_database_that_counts": "kill a run while it makes MLflow's "
        "database",
    },
    "tests/control/local/test_write_faults.py": {
        "test_failed_write_is_told_and_the_next_run_is_whole": "let the disk be full at some write",
    },
    "tests/control/test_checked_before_login.py": {
        "test_bad_request_is_told_before_the_login": "send a bad request where nobody is logged in",
    },
    "tests/control/releases/test_lock_command.py": {
        "test_run_that_the_tree_no_longer_makes_is_refused": "lock a run whose output was edited, "
        "or that the tree no longer makes",
        "test_failed_run_proves_nothing": "lock a run that failed",
    },
    "tests/control/project/test_committed_sources.py": {
        "test_command_runs_no_code_of_the_working_folder": "edit pipelines, steps and profiles in "
        "the working folder, where git is told to overlook it, and run any command of production",
        "test_bytecode_is_neither_read_nor_written": "put bytecode of another program beside a "
        "pipeline, a step or a module, ignored by git or committed",
        "test_profile_that_takes_locks_in_the_commit_alone_counts": "take `takes` out of the "
        "profile in the working folder alone",
    },
    "tests/control/repository/test_commit_copies.py": {
        "test_state_of_the_repository_does_not_change_the_copy": "let git replace objects, hide "
        "files, check out a part, or convert text",
        "test_settings_of_the_repository_run_nothing": "let settings of the repository run "
        "programs: monitors, hooks, filters, pagers, signatures, aliases, remotes",
        "test_settings_of_the_user_and_the_system_run_nothing": "do so by settings of the user or "
        "of the system",
        "test_program_named_git_in_the_working_folder_is_not_run": "put a program called git into "
        "the working folder",
        "test_object_that_a_partial_clone_lacks_is_not_fetched": "let git fetch an object that is "
        "missing by a program of the remote's address",
    },
    "tests/azureml/test_promote.py": {
        "test_evidence_of_other_data_lets_no_model_pass": "promote a model by what it reached on "
        "other data than the others were measured on",
    },
    "tests/azureml/test_release_submit.py": {
        "test_reference_without_a_known_content_is_not_locked": "lock data by @latest, by its "
        "address, or of which nobody knows the content",
        "test_replayed_release_makes_what_its_run_made": "lock a job whose outputs or statements "
        "were changed in storage, or that the tree no longer makes",
        "test_job_that_is_no_proof_is_told": "lock a job that did not end, or that nothing of ours "
        "sent",
    },
}
BEGIN, END = "<!-- The ways: UPDATE_GOLDENS=1 pytest tests/boundary -->", "<!-- End of the ways -->"

for file in sorted(Path(__file__).parent.glob("*_ways.py")):
    import_module(file.stem)


def listed(text: str) -> str:
    """The text of the page, with the list as it has to be."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{_ways()}\n{END}{after}"


def _ways() -> str:
    surfaces = dict.fromkeys(way.surface for way in WAYS.values())
    return "\n".join([*(_surface(title) for title in surfaces), _elsewhere()])


def _elsewhere() -> str:
    rows = [
        f"| {deed} | `{file}::{test}` |"
        for file, tests in ELSEWHERE.items()
        for test, deed in tests.items()
    ]
    head = ["### Held by tests elsewhere\n", "| somebody may | test |", "|---|---|"]
    return "\n".join([*head, *rows, ""])


def _surface(title: str) -> str:
    rows = [
        f"| {it.deed} | {it.told.replace('|', chr(92) + '|')} | `{it.name}` |"
        for it in WAYS.values()
        if it.surface == title
    ]
    return "\n".join(
        [f"### {title}\n", "| somebody may | what is told | case |", "|---|---|---|", *rows, ""]
    )
