"""Files that tests and tools take apart."""

from leechcodec.formats.container import ChunkKind, read_file, write_file


def without(data: bytes, kind: ChunkKind = ChunkKind.FILTER) -> bytes:
    """A file without a chunk: without a post-filter it shows what its tokens decode to."""
    header, chunks = read_file(data)
    return write_file(header, [chunk for chunk in chunks if chunk.kind != kind])
