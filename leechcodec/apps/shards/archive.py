"""Tar files whose bytes depend on nothing but what is in them: no times, no users, members in order.

A sample is a fragment, the tar blocks of its files; a shard is the fragments of its samples and the end of the archive.
"""

import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from leechcodec.errors import TokensError
from leechcodec.formats.tars import whole

END = bytes(2 * tarfile.BLOCKSIZE)


def fragment(key: str, files: Mapping[str, bytes]) -> bytes:
    """The blocks of a sample's files. files: contents by the name's ending, "json" for KEY.json."""
    blocks = []
    for ending, data in sorted(files.items()):
        member = tarfile.TarInfo(f"{key}.{ending}")  # its defaults: mode 644, time 0, user 0
        member.size = len(data)
        blocks += [member.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(blocks)


def write_archive(path: Path, fragments: Iterable[bytes], temporary: Path) -> None:
    """Write a tar file whole or not at all: under a temporary name on the same file system, which is renamed."""
    with open(temporary, "wb") as file:
        for blocks in fragments:
            file.write(blocks)
        file.write(END)
        file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_index(path: Path) -> dict[str, tuple[int, int]]:
    """Where each sample of a shard lies: key -> (first byte, number of bytes).

    Raises TokensError for a file that is damaged, or not a shard.
    """
    found: dict[str, tuple[int, int]] = {}
    end = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in whole(archive):
                key, offset = member.name.partition(".")[0], member.offset
                first, _ = found.get(key, (offset, 0))
                if not member.isreg() or offset != end or (key in found and key != next(reversed(found))):
                    raise TokensError(f"{path}: member {member.name} is none of a shard's")
                end = member.offset_data + member.size + -member.size % tarfile.BLOCKSIZE
                found[key] = first, end - first
    except tarfile.TarError as error:
        raise TokensError(f"{path}: a damaged shard ({error}); delete it and it is written again") from None
    return found
