"""Facts about the machine that a step runs on."""

from pathlib import Path

from tfhub_blocks.compute.tf.tensorflow_setup import core_count


def machine_facts() -> dict[str, str]:
    """Return the machine's cores, processor and memory, as the kernel reports them."""
    facts = {"cores": str(core_count())}
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        lines = processors.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        facts |= {"processor": names[0]} if names else {}
    memory = Path("/proc/meminfo")
    if memory.exists():
        kib = int(memory.read_text(encoding="ascii").split()[1])
        facts["memory_gb"] = f"{kib * 1024 / 1e9:.1f}"
    return facts
