"""A picture of a session: for each workload one bar for each server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench.report import OURS, SINK, Sample, medians

OWN, OTHER = "#0b6e4f", "#9aa5b1"


def draw(samples: Sequence[Sample], to: Path) -> None:
    """Write the picture, as SVG or PNG by the name."""
    middle = [sample for sample in medians(samples) if sample.server != SINK]
    tasks = list(dict.fromkeys(sample.workload for sample in middle))
    figure = Figure(figsize=(11, 2.9 * ((len(tasks) + 1) // 2)), layout="constrained")
    for number, task in enumerate(tasks):
        own = sorted((sample for sample in middle if sample.workload == task), key=lambda sample: sample.rate)
        axes = figure.add_subplot((len(tasks) + 1) // 2, 2, number + 1)
        names, rates = [sample.server for sample in own], [sample.rate for sample in own]
        colours = [OWN if name.startswith(OURS) else OTHER for name in names]
        bars = axes.barh(names, rates, color=colours)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
        axes.set_title(f"{task} ({'MB/s' if own[0].unit == 'bytes' else 'requests/s'})", fontsize=10, loc="left")
        axes.margins(x=0.15)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_visible(False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(to, dpi=130, metadata={"Date": None} if to.suffix == ".svg" else None)
