"""Workflows made at random in the shapes of known ones, as traces that nobody has looked at while the planner was built.

python -m benchmark.traces.recipes FOLDER [--seed 1] [--count 2]     then: make bench-traces TRACES=FOLDER

Shapes, run times and sizes follow those of recorded workflows (WfCommons); how wide they are, and each number, is drawn anew.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

_MB = 1_000_000
_SPREAD = 0.25
"""Logarithmic spread of run times and sizes within a kind of step."""


class Maker:
    """Makes one workflow; files are named by who writes them, so that parents follow from what is read."""

    def __init__(self, seed: str) -> None:
        """Begin empty."""
        self.random = Random(seed)
        self.sizes: dict[str, int] = {}
        self._writers: dict[str, str] = {}
        self._tasks: list[dict[str, object]] = []
        self._times: list[dict[str, object]] = []

    def about(self, value: float, spread: float = _SPREAD) -> float:
        """Return a number near a value, never below nought."""
        return value * self.random.lognormvariate(0.0, spread)

    def some(self, least: int, most: int) -> int:
        """Return a number of things; small ones are as likely as ones twice as large."""
        return round(least * (most / least) ** self.random.random())

    def source(self, name: str, mb: float) -> str:
        """Return a file that lies far away at the start."""
        return self._file(name, mb)

    def _file(self, name: str, mb: float) -> str:
        self.sizes.setdefault(name, max(1, round(self.about(mb) * _MB)))
        return name

    def step(
        self, kind: str, run_s: float, reads: Sequence[str], writes: Sequence[float], *, after: Sequence[str] = ()
    ) -> list[str]:
        """Add a step that writes files of about so many megabytes; return them. `after`: it waits for who wrote these, too."""
        name = f"{kind}_{len(self._tasks):05d}"
        files = [self._file(f"{name}.{number}", mb) for number, mb in enumerate(writes)]
        before = dict.fromkeys(self._writers[one] for one in (*reads, *after) if one in self._writers)
        self._writers.update(dict.fromkeys(files, name))
        self._tasks.append(
            {"id": name, "name": name, "parents": list(before), "children": [], "inputFiles": list(reads), "outputFiles": files}
        )
        self._times.append({"id": name, "runtimeInSeconds": round(self.about(run_s), 3)})
        return files

    def document(self, name: str) -> dict[str, object]:
        """Return the workflow as a trace (WfFormat 1.5)."""
        files = [{"id": file, "sizeInBytes": size} for file, size in self.sizes.items()]
        specification = {"tasks": self._tasks, "files": files}
        return {
            "name": name,
            "schemaVersion": "1.5",
            "workflow": {"specification": specification, "execution": {"tasks": self._times}},
        }


def montage(make: Maker) -> None:
    """Images of three colours are projected, compared with their neighbours, corrected, and put together."""
    images, scale = make.some(6, 60), make.about(1.0, 1.0)
    header = make.source("region.hdr", 0.001)
    pictures: list[str] = []
    for colour in range(3):
        raw = [make.source(f"{colour}-{n}.fits", 2 * scale) for n in range(images)]
        flat = [make.step("mProject", 16 * scale, [one, header], [4 * scale, 4 * scale]) for one in raw]
        pairs = [(n, other) for n in range(images) for other in range(n + 1, min(images, n + 4))]
        fits = [file for n, other in pairs for file in make.step("mDiffFit", 0.3, [*flat[n], *flat[other], header], [0.0003])]
        model = make.step("mBgModel", 0.8, make.step("mConcatFit", 0.3, fits, [0.01]), [0.001])
        even = [make.step("mBackground", 0.6, [*one, *model], [4 * scale, 4 * scale]) for one in flat]
        table = make.step("mImgtbl", 0.2, [one[0] for one in even], [0.002])
        mosaic = make.step("mAdd", 1.0, [*(file for one in even for file in one), *table], [10 * scale, 10 * scale])
        make.step("mViewer", 1.0, mosaic[:1], [1 * scale])
        pictures += mosaic[:1]
    make.step("mViewer", 2.0, pictures, [2 * scale])


def epigenomics(make: Maker) -> None:
    """Lanes of reads are split, each part filtered, converted and mapped, and all are merged."""
    genome, tools = make.source("genome.bfa", 47), make.source("tools", 0.3)
    lanes: list[str] = []
    for lane in range(make.some(2, 6)):
        parts = make.some(15, 70)
        split = make.step("fastqSplit", 6, [make.source(f"lane{lane}.fastq", 6.5 * parts)], [6.5] * parts)
        mapped: list[str] = []
        for part in split:
            clean = make.step("filterContams", 2, [part], [6.4])
            sanger = make.step("sol2sanger", 5, [*clean, tools], [4.9])
            packed = make.step("fast2bfq", 1.5, [*sanger, tools], [1.1])
            mapped += make.step("map", 40, [*packed, tools, genome], [0.6])
        lanes += make.step("mapMerge", 5, [*mapped, tools], [0.45 * parts])
    whole = make.step("mapMerge", 9, [*lanes, tools], [40])
    make.step("pileup", 24, [*make.step("chr21", 12, [*whole, tools], [40]), genome, tools], [35])


def genome(make: Maker) -> None:
    """Chromosomes are read in parts that are merged and then compared for each population."""
    columns = make.source("columns.txt", 0.03)
    people = [make.source(f"population{n}", 0.03) for n in range(make.some(3, 7))]
    for chromosome in range(make.some(2, 12)):
        table = make.source(f"chr{chromosome}.vcf", make.about(2000, 0.6))
        notes = make.source(f"chr{chromosome}.annotation.vcf", make.about(700, 0.5))
        parts = [file for _ in range(make.some(8, 30)) for file in make.step("individuals", 65, [table, columns], [0.03])]
        merged = make.step("individuals_merge", 100, parts, [0.03])
        sifted = make.step("sifting", 4, [notes], [1.0])
        for one in people:
            make.step("mutation_overlap", 15, [*merged, *sifted, one, columns], [0.15])
            make.step("frequency", 120, [*merged, *sifted, one, columns], [0.3])


def seismology(make: Maker) -> None:
    """Many small signals are decomposed, and the results sifted."""
    found = [
        file
        for n in range(make.some(100, 900))
        for file in make.step("sG1IterDecon", 0.6, [make.source(f"signal{n}", 0.008)], [0.006])
    ]
    make.step("siftSTFByMisfit", 0.3, found, [0.3])


def blast(make: Maker) -> None:
    """A set of sequences is split, each part looked up in one large database."""
    database, tool = make.source("database", make.some(500, 6000)), make.source("tool", 8)
    parts = make.some(20, 200)
    split = make.step("split_fasta", 3, [make.source("sequences.fasta", 0.2)], [0.002] * parts)
    found = [make.step("blastall", make.about(600, 0.8), [part, database, tool], [0.006, 0.0001]) for part in split]
    make.step("cat_blast", 15, [one[0] for one in found], [0.5])
    make.step("cat", 0.1, [one[1] for one in found], [0.001])


def cycles(make: Maker) -> None:
    """Crops are simulated for many places and settings; nearly everything that is written is a result."""
    tool = make.source("cycles.tool", 1.0)
    for place in range(make.some(2, 8)):
        soil = [make.source(f"soil{place}", 0.05), make.source(f"weather{place}", 0.3)]
        ends: list[str] = []
        for _ in range(make.some(8, 32)):
            base = make.step("baseline_cycles", 46, [*soil, tool], [0.04, *[1.2] * 8])
            plain = make.step("cycles", 38, [*soil, tool, base[0]], [0.005, *[1.2] * 8])
            more = make.step("fertilizer_increase_cycles", 38, [*soil, tool, base[0]], [0.005, *[1.2] * 8])
            ends += make.step("output_parser", 0.1, [plain[0], more[0]], [0.01])
        make.step("plots", 60, make.step("summary", 0.2, ends, [0.1]), [2.0])


def srasearch(make: Maker) -> None:
    """Runs are unpacked into large files that are each aligned once; nearly nothing comes or goes."""
    index = make.step("bowtie2-build", 30, [make.source("reference.fna", 0.1)], [1.4] * 6)
    length_s, size = make.about(900, 0.5), make.about(600, 0.7)
    aligned: list[str] = []
    for _ in range(make.some(10, 50)):
        reads = make.step("fasterq-dump", length_s, [], [size, size])
        aligned += make.step("bowtie2", 45, [*reads, *index], [0.001, 0.0005])[:1]
    make.step("merge", 0.2, aligned, [0.01])


def soykb(make: Maker) -> None:
    """Samples are aligned with a large reference, cleaned, and searched for variants chromosome by chromosome."""
    reference = [make.source(f"reference.{n}", make.about(110, 0.8)) for n in range(8)]
    chromosomes = make.some(5, 24)
    calls: list[list[str]] = [[] for _ in range(chromosomes)]
    for sample in range(make.some(4, 16)):
        raw = make.source(f"sample{sample}.fastq", make.about(20, 1.0))
        bam = make.step("alignment_to_reference", 24, [raw, *reference], [make.about(5, 1.0)])
        for kind, run_s in (("sort_sam", 33), ("dedup", 30), ("add_replace", 28)):
            bam = make.step(kind, run_s, [bam[0], *reference[:1]], [make.about(5, 0.5), 0.01])
        targets = make.step("realign_target_creator", 110, [*bam, *reference], [0.01])
        fine = make.step("indel_realign", 100, [*bam, *targets, *reference], [make.about(5, 0.5), 0.01])
        for one in calls:
            one.extend(make.step("haplotype_caller", 120, [*fine, *reference], [make.about(1, 0.5), 0.01]))
    genotypes = [file for one in calls for file in make.step("genotype_gvcfs", 250, [*one, *reference], [0.5, 0.01])]
    combined = make.step("combine_variants", 17, [*genotypes, *reference], [make.about(5), 0.01])
    for kind in ("snp", "indel"):
        chosen = make.step(f"select_variants_{kind}", 130, [*combined, *reference], [3.0])
        make.step(f"filtering_{kind}", 60, [*chosen, *reference], [3.0, 0.01])


RECIPES: Final[dict[str, Callable[[Maker], None]]] = {
    "montage": montage,
    "epigenomics": epigenomics,
    "1000genome": genome,
    "seismology": seismology,
    "blast": blast,
    "cycles": cycles,
    "srasearch": srasearch,
    "soykb": soykb,
}


def write(folder: Path, seed: int, count: int) -> list[Path]:
    """Write so many workflows of each recipe; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for recipe, fill in RECIPES.items():
        for number in range(count):
            name = f"{recipe}-made-{seed}-{number}"
            maker = Maker(name)
            fill(maker)
            paths.append(folder / f"{name}.json.gz")
            paths[-1].write_bytes(gzip.compress(json.dumps(maker.document(name)).encode(), mtime=0))
    return paths


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the traces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1, help="workflows of each recipe")
    arguments = parser.parse_args()
    for path in write(arguments.folder, arguments.seed, arguments.count):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
