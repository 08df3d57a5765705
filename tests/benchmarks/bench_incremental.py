"""What features cost when little is new, and when several workers share them.

4,000 JPEGs of 500 x 375 are extracted by EfficientNet-Lite0: all of them; all of them again with
the features of 99 % as earlier ones; and with the features of all, which is start-up alone. What
1 % costs beyond start-up is at most 3 % of what all cost beyond it. Then two workers and seven,
one after the other, give the same bytes as one. Exits with 1 if something of that is not so.

    python tests/benchmarks/bench_incremental.py [--images 4000]
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench_extraction import PROVENANCE, made, prepare, write_jpegs

from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.feature_output import write_extraction
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.formats import snapshots
from tfhub_blocks.records.formats.features import FEATURES, open_features
from tfhub_blocks.records.formats.snapshots import open_snapshot

MOST_SHARE = 0.03


def extracted(
    work: Path, snapshot: str, name: str, previous: str = "", workers: int = 1
) -> tuple[float, int]:
    """Seconds of an extraction, and how many items it computed."""
    started = time.perf_counter()
    encoder = load_encoder(work / "lite0", "bench")
    extraction = Extraction(
        open_snapshot(work / f"{snapshot}-snapshot", "bench"),
        encoder,
        InferenceOptions("openvino"),
        open_features(work / previous, "bench") if previous else None,
    )
    folder = begin_folder(work / name, PROVENANCE)
    for index in range(workers):
        share = Share(work / f"{name}.work", index, workers)
        plan = extraction.compute(share, lambda *_: None)
    write_extraction(extraction, plan, Share(share.work), folder, lambda *_: None)
    finish_folder(work / name, "features", FEATURES, PROVENANCE)
    return time.perf_counter() - started, len(plan.rows)


def shards(folder: Path) -> list[bytes]:
    """The bytes of features' shards."""
    return [path.read_bytes() for path in sorted((folder / "shards").iterdir())]


def main() -> int:
    """Measure and print; 0 if all is as it is asked to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    images = parser.parse_args().images
    use_one_thread_per_operation()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        prepare(work, images)
        write_jpegs(work / "fewer", images * 99 // 100)

        def fill(folder: Path) -> None:
            take_snapshot(work / "fewer", folder, SnapshotOptions(modality="image"), print_nothing)

        made(work / "fewer-snapshot", snapshots.SNAPSHOT, fill)
        extracted(work, "fewer", "earlier")
        whole_s, computed = extracted(work, "jpegs", "whole")
        start_up_s, none = extracted(work, "jpegs", "again", previous="whole")
        few_s, few = extracted(work, "jpegs", "few", previous="earlier")
        share = (few_s - start_up_s) / (whole_s - start_up_s)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{computed} items {whole_s:.1f} s, {none} items {start_up_s:.1f} s, {few} items "
            f"{few_s:.1f} s: {share:.1%} of the time beyond start-up (at most {MOST_SHARE:.0%}); "
            f"peak {peak_mib:.0f} MiB"
        )
        passed = share <= MOST_SHARE and shards(work / "few") == shards(work / "whole")
        for workers in (2, 7):
            extracted(work, "jpegs", f"by{workers}", workers=workers)
            same = shards(work / f"by{workers}") == shards(work / "whole")
            print(f"{workers} workers: {'the same bytes' if same else 'OTHER BYTES'} as one")
            passed &= same
    return 0 if passed else 1


def print_nothing(*_: int | None) -> None:
    """Nobody looks at the progress."""


if __name__ == "__main__":
    sys.exit(main())
