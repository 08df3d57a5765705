"""Steps whose outputs are mounts of Azure's data runtime, as in jobs of Azure ML."""

import json

import pytest
from mounted_steps import CASES, contents

# The others write by the same code.
QUICK = {"snapshot_data", "train_head"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[] if case.name in QUICK else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_step_writes_on_a_mount_what_it_writes_on_a_disk(
    case, mounts, on_disk, step_commands, tmp_path
):
    expected = contents(on_disk(case))
    folder = mounts.mount(case.name)

    (done,), changes = mounts.run(step_commands(case, folder))

    assert done.status == 0, done.stderr
    written = mounts.copy(case.name, tmp_path / "copied")
    assert contents(written) == expected
    print(f"{case.name}: {len(expected)} files, {changes} changes in storage")
    mounts.unmount(folder)


def test_two_workers_share_an_extraction_through_mounts_of_their_own(
    mounts, on_disk, step_commands, tmp_path
):
    case = next(each for each in CASES if each.name == "extract_features")
    expected = contents(on_disk(case))
    nodes = [mounts.mount("shared") for _ in range(2)]
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    commands = [
        step_commands(
            case,
            node,
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index, node in enumerate(nodes)
    ]

    done, _ = mounts.run(*commands)

    assert [each.status for each in done] == [0, 0], [each.stderr for each in done]
    assert contents(mounts.copy("shared", tmp_path / "copied")) == expected
