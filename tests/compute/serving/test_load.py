"""A server under more load than it can carry, for long, and after it was killed."""

import signal

import psutil
import pytest
from open_load import offer, saturate
from serving_process import serving


def statuses(sent):
    return {each.status for each in sent}


def test_more_than_may_wait_is_shed_and_afterwards_all_is_answered(server, items):
    # The server of these tests lets 32 items wait.
    flood = saturate(server.port, items, connections=80, requests=800)
    assert statuses(flood) <= {200, 429, 503}
    assert 429 in statuses(flood)
    assert 200 in statuses(flood)
    refused = server.metric('tfhub_blocks_requests_total{route="/score",status="429"}')
    assert refused >= sum(each.status == 429 for each in flood)
    assert server.metric("tfhub_blocks_held_items") == 0
    assert statuses(saturate(server.port, items, connections=4, requests=40)) == {200}
    assert server.events("fault") == []


@pytest.mark.slow
def test_at_twice_its_capacity_it_sheds_and_breaks_nothing(colours_model, items):
    """How fast it answers meanwhile is measured by tests/benchmarks/bench_serving.py."""
    with serving(str(colours_model)) as server:
        saturate(server.port, items, connections=8, requests=500)
        sent = saturate(server.port, items, connections=8, requests=2000)
        capacity = 8 * len(sent) / sum(each.seconds for each in sent)
        beyond = offer(server.port, items, 2 * capacity, 30)
        assert {200} < statuses(beyond) <= {200, 429, 503}
        assert server.metric("tfhub_blocks_held_items") == 0
        assert statuses(saturate(server.port, items, connections=4, requests=500)) == {200}
        assert server.events("fault") == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_memory_is_flat_over_fifty_thousand_requests(colours_model, items):
    with serving(str(colours_model)) as server:
        saturate(server.port, items, connections=8, requests=2000)
        first = server.metric("process_resident_memory_bytes")
        sent = saturate(server.port, items, connections=8, requests=50_000)
        assert statuses(sent) == {200}
        grown = server.metric("process_resident_memory_bytes") - first
        assert grown < 20 * 2**20, f"{grown / 2**20:.1f} MiB more"


@pytest.mark.slow
def test_a_killed_server_is_back_at_the_cost_of_its_first_start(colours_model, items):
    read, needed = [], []
    for _ in range(3):
        with serving(str(colours_model)) as server:
            read.append(psutil.Process(server.process.pid).io_counters().read_chars)
            needed.append(server.metric("process_cpu_seconds_total"))
            assert server.score(items[0])[0] == 200
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
    # By bytes and by processor time: how long that takes depends on who else is at work.
    assert max(read[1:]) < 1.1 * read[0]
    assert max(needed[1:]) < 2 * needed[0]
