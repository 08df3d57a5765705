"""What is told of the machine that a step computes on."""

import json
import os
from dataclasses import replace

import pytest

from tfhub_blocks.records.environment import machine_facts as facts_module
from tfhub_blocks.records.environment.machine_facts import (
    MachineFacts,
    machine_facts,
    read_machine_facts,
)

X86 = """processor : 0
model name : Some CPU @ 2.00GHz
flags : fpu sse sse2 ht avx2 avx512f amx_tile hypervisor

processor : 1
model name : Another
"""
ARM = "processor : 0\nFeatures : fp asimd sve\nCPU part : 0xd40\n\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86, ("Some CPU @ 2.00GHz", "amx_tile avx2 avx512f sse sse2")),
        (ARM, ("0xd40", "asimd fp sve")),
    ],
)
def test_processor_is_told_with_its_vector_instructions(text, expected, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(facts_module, "CPU_FILE", tmp_path / "cpuinfo")
    facts = machine_facts()
    assert (facts.processor, facts.instructions) == expected


def test_system_that_does_not_tell_of_its_processor_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(facts_module, "CPU_FILE", tmp_path / "nothing")
    assert machine_facts().instructions == ""


def test_only_variables_that_choose_code_paths_are_told(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    variables = machine_facts().variables
    assert variables["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert variables["OMP_NUM_THREADS"] == "1"
    assert not variables.keys() & {"TF_CONFIG", "MLFLOW_TRACKING_TOKEN"}


def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine_facts().cores == 1
    finally:
        os.sched_setaffinity(0, before)


def test_facts_are_ready_for_a_statement():
    facts = machine_facts()
    record = json.loads(json.dumps(facts.as_record()))
    assert record == facts.as_record()
    assert read_machine_facts(record) == facts
    assert any("threads" in library for library in record["blas"])  # of numpy, which is loaded


def test_memory_is_that_of_the_kernel_or_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(facts_module, "MEMORY_FILE", tmp_path / "meminfo")
    assert "memory_gb" not in machine_facts().as_record()
    (tmp_path / "meminfo").write_text("MemTotal:       16384000 kB\nMemFree: 1 kB\n")
    assert machine_facts().memory_gb == 16.8


def test_facts_in_evidence_are_texts_of_the_machine_alone():
    facts = MachineFacts("x86_64", "Some CPU", "avx2 fma", 4, 16.8, {"OMP_NUM_THREADS": "1"}, ())
    texts = facts.as_texts()
    assert texts == {
        "type": "x86_64",
        "processor": "Some CPU",
        "instructions": "avx2 fma",
        "cores": "4",
        "memory_gb": "16.8",
    }
    evidence = {"runtime": "own", "compute_size": "Standard_D4", **texts}
    assert read_machine_facts(evidence) == replace(facts, variables=None, blas=None)


def test_records_with_fewer_facts_are_read():
    lineage = {"type": "x86_64", "processor": "Some CPU", "instructions": "avx2", "cores": 2}
    lineage |= {"variables": {}, "blas": ["openblas"]}
    read = read_machine_facts(lineage)
    assert (read.cores, read.memory_gb, read.blas) == (2, None, ("openblas",))
    assert read.as_record() == lineage
    evidence = {"runtime": "own", "cores": "2", "memory_gb": "8.2"}
    assert read_machine_facts(evidence) == MachineFacts(cores=2, memory_gb=8.2)
    assert read_machine_facts({"cores": "many", "blas": None}) == MachineFacts()
