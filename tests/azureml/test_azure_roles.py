"""What roles permit, which roles commands need, and that the documentation says so."""

import inspect
import os

import pytest
from loopback import rules
from loopback.contract import ROOT
from loopback.rule_sources import BEHAVIOUR, RULES, assumed, table
from loopback.rules import _RULES

from tfhub_blocks.cli import GROUPS
from tfhub_blocks.commands.doctor import all_needs
from tfhub_blocks.control.doctor.role_tables import role_table
from tfhub_blocks.control.workspace.azure_roles import (
    ROLES,
    WRITE_BLOBS,
    missing_actions,
    permits,
    role_for,
    roles_for,
)

BEGIN, END = "<!-- UPDATE_GOLDENS=1 pytest tests/azureml/test_azure_roles.py -->", "<!-- End -->"
SERVICE = "Microsoft.MachineLearningServices/workspaces"


@pytest.mark.parametrize(("page", "made"), [("roles.md", None), ("testing-azure.md", table)])
def test_table_in_the_docs_is_current(page, made):
    path = ROOT / "docs" / page
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{BEGIN}\n")
    content = made() if made else role_table(all_needs())
    expected = f"{before}{BEGIN}\n{content}\n{END}{rest.partition(END)[2]}"
    if os.environ.get("UPDATE_GOLDENS") == "1":
        path.write_text(expected, encoding="utf-8")
    assert text == expected or os.environ.get("UPDATE_GOLDENS") == "1"


def test_no_command_module_is_left_out():
    declared = [it for group in GROUPS for it in getattr(group, "NEEDS", ())]
    assert list(all_needs()) == declared
    asks = [group for group in GROUPS if "add_workspace(" in inspect.getsource(group)]
    assert [group.__name__ for group in asks if not hasattr(group, "NEEDS")] == []


def test_each_need_is_met_by_the_roles_of_the_table():
    by_name = {role.name: role for role in ROLES}
    for needs in all_needs():
        for actions, is_data in ((needs.full_actions, False), (needs.blob_actions, True)):
            held = [p for name in roles_for(actions, is_data) for p in by_name[name].permissions]
            assert missing_actions(held, actions, is_data) == [], needs.command
            assert "Contributor" not in roles_for(actions, is_data), needs.command


@pytest.mark.parametrize(
    ("action", "role"),
    [
        (f"{SERVICE}/jobs/write", "AzureML Data Scientist"),
        (f"{SERVICE}/computes/write", "AzureML Compute Operator"),
        ("Microsoft.MachineLearningServices/locations/usages/read", "Reader"),
        ("Microsoft.MachineLearningServices/workspaces/write", "Contributor"),
        ("Microsoft.Nothing/at/all", "Contributor"),
        ("Microsoft.Authorization/roleAssignments/write", ""),
    ],
)
def test_first_role_that_permits_an_action(action, role):
    assert role_for([action]) == role


def test_exceptions_of_one_role_do_not_take_from_another():
    scientist, operator = (
        next(role for role in ROLES if role.name == f"AzureML {name}").permissions
        for name in ("Data Scientist", "Compute Operator")
    )
    action = f"{SERVICE}/computes/write"
    assert not permits(scientist, action)
    assert permits([*scientist, *operator], action.upper())
    assert role_for(WRITE_BLOBS, is_data=True) == "Storage Blob Data Contributor"
    assert missing_actions(operator, WRITE_BLOBS, is_data=True) == list(WRITE_BLOBS)


def test_each_rule_of_the_loopback_cites_its_source():
    own = {
        name
        for name, it in inspect.getmembers(rules)
        if (inspect.isfunction(it) or inspect.isclass(it)) and it.__module__ == rules.__name__
    }
    helpers = {"check", "_strings"}
    assert own - helpers == set(RULES)
    assert {rule.__name__ for rule in _RULES.values()} <= set(RULES)
    assert all(it.source and it.rule for it in (*RULES.values(), *BEHAVIOUR.values()))


def test_list_of_what_is_assumed(golden):
    golden("assumed", "".join(f"{name}\n" for name in assumed()))
