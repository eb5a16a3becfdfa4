"""One codec on one folder of images: the rows in the cache, the tasks for those that are not, and the results."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from leechcodec.formats.files import told_apart, write_atomic
from leechcodec.lab.cache import Entry, RowCache, fingerprint
from leechcodec.lab.datasets import Photograph, pixels_of
from leechcodec.lab.environment import has_metrics, library_versions, machine
from leechcodec.lab.errors import ResultsError
from leechcodec.lab.measure import Task
from leechcodec.lab.peers import process
from leechcodec.lab.peers.base import Peer, Setting
from leechcodec.lab.results import ImageRow, Process, Results, Skipped, means, read_json


class Plan:
    """The rows of one codec on one folder.

    output: the folder of its results. dataset: the images' folder. metrics: what the metrics depend on
    (environment.py). losses: image -> why it is left out, filled while measuring.
    """

    def __init__(
        self,
        peer: Peer,
        settings: Sequence[Setting],
        images: Sequence[Photograph],
        *,
        dataset: Path,
        output: Path,
        lpips: Path | None,
        metrics: str,
        fresh: bool,
    ):
        self.peer, self.settings, self.images = peer, settings, images
        self.dataset, self.output = dataset, output
        self.cache = RowCache(output, peer.key, fresh=fresh)
        self.rows: dict[tuple[str, str], ImageRow] = {}
        self._machines: dict[tuple[str, str], dict | None] = {}
        self.missing: list[tuple[str, Task]] = []
        self.losses: dict[str, str] = {}
        self.identity = {"codec": peer.key, "versions": peer.versions(), "model": peer.model()}
        self.identity["description"] = peer.description
        for image, stem in zip(images, _stems(images)):
            for setting in settings:
                file = f"files/{peer.key}/{setting.label}/{stem}{peer.extension}"
                key = fingerprint([self.identity, setting.label, setting.value, image.sha256, image.path.name, file])
                entry = self.cache.get(key)
                if entry and has_metrics(entry.metrics, metrics):
                    self._have(entry)
                    continue
                previous = entry.row if entry else None
                task = Task(peer.key, peer.options, setting, image.path, output, file, lpips, previous)
                self.missing.append((key, task))

    def add(self, entry: Entry) -> None:
        """Keep a row that was measured."""
        before = self.cache.entries.get(entry.key)
        if before and before.row.encode_s == entry.row.encode_s:  # metrics came later, the times are as they were
            entry = replace(entry, machine=before.machine)
        self.cache.put(entry)
        self._have(entry)

    def _have(self, entry: Entry) -> None:
        self.rows[entry.row.image, entry.row.setting] = entry.row
        self._machines[entry.row.image, entry.row.setting] = entry.machine

    def results(self, jobs: int, unreadable: Sequence[tuple[str, str]]) -> Results:
        """Means over the images that passed at every setting: a mean must not change its images along the curve."""
        rows = [
            replace(self.rows[image.path.name, setting.label], sha256=image.sha256)
            for image in self.images
            if image.path.name not in self.losses
            for setting in self.settings
        ]
        labels, points = means(rows)
        return Results(
            name=self.peer.name,
            codec=self.peer.key,
            description=self.peer.description,
            dataset=os.path.abspath(self.dataset),
            machine=self._machine(jobs),
            versions={**library_versions(), **self.peer.versions()},
            model=self.peer.model(),
            settings=labels,
            results=points,
            images=tuple(rows),
            skipped=tuple(Skipped(name, reason) for name, reason in [*unreadable, *self.losses.items()]),
        )

    def _machine(self, jobs: int) -> dict:
        """Where the times were taken; this machine, and a word of it, where that was not one place with one number of
        jobs."""
        found = list(self._machines.values())
        if not found:
            return machine(jobs)
        if all(each == found[0] for each in found):
            return found[0] or machine(jobs)
        return machine(jobs) | {"times": "of several runs, on other machines or with other jobs"}

    def process(self, fresh: bool) -> Process:
        """The first image that passed, at the middle of the dial, timed in processes of its own; kept in the cache."""
        image = next(image for image in self.images if image.path.name not in self.losses)
        setting = self.settings[len(self.settings) // 2]
        key = fingerprint([self.identity, setting.value, image.sha256, machine(1)])
        path = self.cache.path.with_suffix(".process.json")
        try:
            if not fresh and (kept := read_json(path))["key"] == key:
                return Process(**kept["process"])
        except (ResultsError, KeyError, TypeError):
            pass  # none yet, or of something else
        encode_s, decode_s = process.seconds(self.peer, setting, pixels_of(image.path))
        found = Process(image.path.name, setting.label, encode_s, decode_s)
        write_atomic(path, json.dumps({"key": key, "process": asdict(found)}).encode(), force=True)
        return found


def together(results: dict[str, Results], dataset: Path) -> Results:
    """The results of one codec on several kinds of images as one: every image under its kind's name."""
    rows = [
        replace(row, image=f"{kind}/{row.image}", file=f"{kind}/{row.file}")
        for kind, found in results.items()
        for row in found.images
    ]
    skipped = [Skipped(f"{kind}/{gap.image}", gap.reason) for kind, found in results.items() for gap in found.skipped]
    labels, points = means(rows)
    first = next(iter(results.values()))
    return replace(
        first,
        dataset=os.path.abspath(dataset),
        settings=labels,
        results=points,
        images=tuple(rows),
        skipped=tuple(skipped),
    )


def _stems(images: Sequence[Photograph]) -> list[str]:
    """A file name for each image: its stem, or its whole name where two would have the same."""
    return told_apart([image.path.stem for image in images], [image.path.name for image in images])
