"""Which file becomes which, folder by folder: what is held is one folder's names."""

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leechcodec.errors import LqError
from leechcodec.formats.files import told_apart
from leechcodec.formats.storage import is_url, join, local_path, storage_of

_SUFFIXES = "png apng jpg jpeg jpe jfif mpo webp avif heic heif hif jxl jp2 tif tiff bmp ppm pgm pnm gif tga"
PHOTOGRAPHS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split(" "))
"""What encode takes from a folder; a file that is named is always tried."""
SHARD = ".tar"
NUMBER = re.compile(r"%0?\d*d")
"""The place of a shard's number in its name, as in printf: photos-%06d.tar."""


def is_shards(path: str | None) -> bool:
    """Whether a path names a shard, or shards by a pattern."""
    return path is not None and path.lower().endswith(SHARD)


def is_numbered(name: str) -> bool:
    """Whether shards may be named so: with the place of one number and no other percent sign."""
    return name.count("%") == 1 and NUMBER.search(name) is not None


@dataclass(frozen=True)
class File:
    """A file: its folder as it was given, its name, and the folder that its output is for.

    refused: why there is nothing to read: of a folder that cannot be listed, which is named so.
    """

    folder: str
    name: str
    place: str
    refused: str = ""

    @property
    def path(self) -> str:
        return join(self.folder, self.name)


@dataclass(frozen=True)
class Job:
    """A file and what it becomes. output: its name in the file's place, none of a file that was refused."""

    file: File
    output: str

    @property
    def target(self) -> str:
        return join(self.file.place, self.output)


@dataclass(frozen=True)
class Names:
    """sources: files, folders and patterns, or URLs of files and folders. output: a folder, made where it is missing,
    that keeps the names below each folder given; None writes beside each file. suffix: of the outputs. taken: suffixes
    taken from folders. keep_extension: a.jpg becomes a.jpg.lq; what would become one output in one folder, a.jpg and
    a.png, does so in any case.

    Raises LqError where the output is a file.
    """

    sources: tuple[str, ...]
    output: str | None
    suffix: str
    taken: Collection[str]
    recursive: bool = False
    keep_extension: bool = False

    def __post_init__(self) -> None:
        output = self.output
        if output == "-":
            raise LqError("many files do not go to standard output; give a folder with -o")
        if output is None or is_url(output) or Path(output).is_dir():
            return
        if Path(output).exists():
            raise LqError(f"{output}: not a folder")
        if Path(output).suffix.lower() in {self.suffix, *PHOTOGRAPHS}:
            raise LqError(f"{output}: the name of one file; many files need a folder")

    def jobs(self) -> Iterator[Job]:
        """Every job, in order. Raises LqError where there are none, or where two inputs would become one output."""
        found = False
        for files in self._groups():
            for job in self._named(files):
                found = True
                yield job
        if not found:
            deeper = "" if self.recursive else " (--recursive looks deeper)"
            raise LqError(f"{', '.join(self.sources)}: no files to work on{deeper}")

    def count(self) -> int:
        """How many jobs there are, or nearly."""
        return sum(len(files) for files in self._groups())

    def _groups(self) -> Iterator[list[File]]:
        """Files whose outputs may be in one folder: of one folder, or of all sources where there are several."""
        if len(self.sources) == 1 and storage_of(self.sources[0]).is_folder(self.sources[0]):
            yield from self._of_folder(self.sources[0])
            return
        files, seen, folders = [], set(), _Spellings()
        for source in self.sources:
            for file in self._of_source(source):
                own = folders[file.folder], file.name  # not where a link leads to: its output has the link's name
                if own not in seen:
                    seen.add(own)
                    files.append(file)
        yield files

    def _of_source(self, source: str) -> Iterator[File]:
        for path in expanded(source):
            if storage_of(path).is_folder(path):
                for files in self._of_folder(path):
                    yield from files
            else:
                folder, name = split(path)
                yield File(folder, name, folder if self.output is None else self.output)

    def _of_folder(self, folder: str) -> Iterator[list[File]]:
        """The files of each folder; at last each of the folders that cannot be listed."""
        refused: list[tuple[str, OSError]] = []
        listed = storage_of(folder).folders(folder, self.taken, self.recursive, lambda *which: refused.append(which))
        for below, names in listed:
            yield [File(*self._places(folder, below, name)) for name in names]
        for below, error in refused:
            places = self._places(folder, *os.path.split(below))
            yield [File(*places, error.strerror or str(error))]

    def _places(self, folder: str, below: str, name: str) -> tuple[str, str, str]:
        """Of a file below a folder: its own folder, its name, and the folder of its output."""
        inside = join(folder, below)
        return inside, name, inside if self.output is None else join(self.output, below)

    def _named(self, files: list[File]) -> Iterator[Job]:
        """Full names are told apart within a folder, so a file whose output is another's too gets that."""
        yield from (Job(file, "") for file in files if file.refused)
        files, places = [file for file in files if not file.refused], _Spellings()
        short, full = (
            [(places[file.place], self._output(file.name, keep)) for file in files]
            for keep in (self.keep_extension, True)
        )
        outputs = told_apart(short, full)
        counts = Counter(outputs)
        if len(counts) < len(files):
            twice = next(output for output, count in counts.items() if count > 1)
            one, other, *_ = (file.path for file, output in zip(files, outputs) if output == twice)
            raise LqError(f"{one} and {other} would both become {join(*twice)}")
        yield from (Job(file, name) for file, (_, name) in zip(files, outputs))

    def _output(self, name: str, keep: bool) -> str:
        return (name if keep else os.path.splitext(name)[0]) + self.suffix


@dataclass(frozen=True)
class Single:
    """One file and the file that it becomes."""

    source: str
    output: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def jobs(self) -> Iterator[Job]:
        """The one."""
        place, name = split(self.output)
        yield Job(File(*split(self.source), place), name)

    def count(self) -> int:
        return 1


def split(path: str) -> tuple[str, str]:
    """Folder and name of a path or a URL."""
    if not is_url(path):
        return os.path.split(path)
    folder, _, name = path.rpartition("/")
    return folder, name


def expanded(source: str) -> list[str]:
    """The paths that a pattern stands for; of anything else itself."""
    pattern = not is_url(source) and glob.has_magic(source) and not os.path.exists(source)
    return (sorted(glob.glob(source, recursive=True)) if pattern else []) or [source]


def is_one_by_url(sources: Sequence[str], output: str | None) -> bool:
    """Whether the command line names one file and the name of its output, one of the two a URL."""
    if len(sources) != 1 or not output or not (is_url(sources[0]) or is_url(output)):
        return False
    if not os.path.splitext(split(output)[1])[1]:
        return False
    return not any(storage_of(path).is_folder(path) for path in (sources[0], output))


def real(path: str) -> str:
    """One spelling for a path: a, ./a, a link to it and its file:// URL are the same place. Another URL has one."""
    path = local_path(path)
    return path if is_url(path) else os.path.realpath(path)


class _Spellings(dict[str, str]):
    """:func:`real` of folders, each looked up once."""

    def __missing__(self, folder: str) -> str:
        self[folder] = real(folder)
        return self[folder]


def is_single(sources: Sequence[str]) -> bool:
    """Whether the command line names one file of this machine, and not a folder or a pattern."""
    if len(sources) != 1 or not sources[0]:
        return len(sources) == 1
    path = sources[0]
    return not is_url(path) and not os.path.isdir(path) and (os.path.exists(path) or not glob.has_magic(path))
