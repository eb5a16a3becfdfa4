"""Which image becomes which sample of which shard: the sorted list of names alone decides, never who comes first."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from leechcodec.apps.batch.names import is_numbered
from leechcodec.errors import ConfigError, TokensError
from leechcodec.formats.files import files_below
from leechcodec.formats.locks import LockedError, lock

SHARD_SIZE = 1000
PART = re.compile(r"\d{9,}\.tar")
"""Name of a file in the folder of parts."""


@dataclass(frozen=True)
class Plan:
    """folder: of the images. sources: their paths below it, with forward slashes, sorted. pattern: path of the shards,
    their number in its name as in printf: tokens-%06d.tar. shard_size: images a shard.

    Beside the shards, with what stands before the number in their names: -manifest.json, -failed.jsonl and, while work
    is going on, the folder -parts.
    """

    folder: Path
    sources: tuple[str, ...]
    pattern: Path
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        name = self.pattern.name
        if not is_numbered(name) or self.pattern.suffix != ".tar":
            raise ConfigError(f"{self.pattern}: the name of shards needs their number, as in tokens-%06d.tar")
        if self.shard_size < 1:
            raise ConfigError(f"a shard needs at least one image, got {self.shard_size}")
        if not self.sources:
            raise ConfigError(f"{self.folder}: no images")

    @property
    def shards(self) -> int:
        return -(-len(self.sources) // self.shard_size)

    def members(self, shard: int) -> range:
        """Numbers of a shard's images."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, len(self.sources)))

    def shard_of(self, number: int) -> int:
        return number // self.shard_size

    def shard_path(self, shard: int) -> Path:
        return self.pattern.with_name(self.pattern.name % shard)

    @property
    def manifest(self) -> Path:
        return self._beside("-manifest.json")

    @property
    def failed(self) -> Path:
        return self._beside("-failed.jsonl")

    @property
    def parts(self) -> Path:
        return self._beside("-parts")

    def part_path(self, number: int) -> Path:
        return self.parts / f"{key_of(number)}.tar"

    def _beside(self, ending: str) -> Path:
        return self.pattern.with_name((self.pattern.name.partition("%")[0].rstrip("-_.") or "tokens") + ending)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the list of sources, in hexadecimal."""
        return hashlib.sha256(b"\n".join(map(os.fsencode, self.sources))).hexdigest()


def key_of(number: int) -> str:
    """A sample's key: its image's place in the list. Names would collide (a.png and a.jpg), and WebDataset ends a key
    at the first dot."""
    return f"{number:09}"


def find_images(folder: Path, suffixes: Collection[str], recursive: bool) -> tuple[str, ...]:
    """Paths below a folder, with forward slashes, of the files of some suffixes; in the order of their bytes."""
    found = files_below(folder, suffixes, recursive)
    return tuple(sorted((path.as_posix() for path in found), key=os.fsencode))


@contextlib.contextmanager
def claimed(plan: Plan, settings: dict[str, str | int | float]) -> Iterator[None]:
    """Hold a plan's output against other runs, as long as the context lasts; the manifest says what it is for.

    settings: all that decides the shards' bytes beside the list of images. Raises TokensError where the output was
    begun with others, where there is something without a manifest, and where another run is at work on it.
    """
    wanted = {**settings, "shards": plan.pattern.name, "shard_size": plan.shard_size, "images": len(plan.sources)}
    wanted["sources_sha256"] = plan.digest
    with open(plan.manifest, "a+b") as file:  # never replaced: the lock is on this very file
        try:
            lock(file.fileno(), f"{plan.pattern}: another run is at work on these shards")
        except LockedError as error:
            raise TokensError(str(error)) from None
        file.seek(0)
        text = file.read()
        if not text:  # it is new, or a run was killed before it did anything
            if stray := next(filter(Path.exists, [plan.parts, *map(plan.shard_path, range(plan.shards))]), None):
                plan.manifest.unlink()
                name = plan.manifest.name
                raise TokensError(f"{stray}: is there without its {name}; delete it, or name another output")
            text = (json.dumps(wanted, indent=2) + "\n").encode()
            file.write(text)
            file.flush()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise TokensError(f"{plan.manifest}: damaged; it should hold {json.dumps(wanted)}")
        if differences := [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]:
            what = "; ".join(f"{name} {wanted.get(name)}, there {found.get(name)}" for name in differences)
            raise TokensError(f"{plan.manifest}: begun otherwise, {what}; name another output")
        yield
