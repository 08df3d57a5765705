"""Steps that are killed while they write to a mount, and run again on the same outputs."""

import math

import pytest
from mounted_steps import CASES, contents

KILLS = 7


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_killed_step_ends_in_the_same_bits_on_the_same_outputs(
    case, mounts, on_disk, step_commands, tmp_path
):
    """The windows are the changes that storage sees, at equal distances from first to last."""
    expected = contents(on_disk(case))
    folder = mounts.mount(f"{case.name}/whole")
    (done,), changes = mounts.run(step_commands(case, folder))
    assert done.status == 0, done.stderr
    mounts.unmount(folder)
    windows = sorted({math.ceil(changes * (n + 1) / (KILLS + 1)) for n in range(KILLS)})

    killed = 0
    for number in windows:
        output = f"{case.name}/{number}"
        folder = mounts.mount(output)
        (done,), _ = mounts.run(step_commands(case, folder), kill_at=number)
        killed += done.status == -9
        if number % 2:  # The next attempt is on another node.
            mounts.unmount(folder, lose=True)
            folder = mounts.mount(output)
        (done,), _ = mounts.run(step_commands(case, folder))
        assert done.status == 0, (number, done.stderr)
        mounts.unmount(folder)
        assert contents(mounts.copy(output, tmp_path / str(number))) == expected, number
    assert killed >= len(windows) - 1
    print(f"{case.name}: killed {killed} times at the changes {windows}, of {changes}")
