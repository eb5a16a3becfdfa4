"""What the tests of inputs share: the command line with a tiny model, and what a file of its holds."""

import io

import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.formats.container import read_file
from leechcodec.formats.side_data import SideData

WITH_MODEL = ("encode", "decode", "tokenize", "detokenize", "view")


@pytest.fixture
def run(tiny_folder):
    """Invoke the command line; the exit code must be what is expected, and nothing unforeseen may show."""

    def invoke(*arguments, code=0, data=None):
        options = ["--model", str(tiny_folder)] if arguments[0] in WITH_MODEL else []
        result = CliRunner().invoke(main, [*map(str, arguments), *options], input=data)
        assert result.exit_code == code, (result.stderr, result.exception)
        assert "internal error" not in result.stderr
        return result

    return invoke


class Encoded:
    """header, extras: of the file made. alpha, chunks by their names. stderr: what the user was told."""

    def __init__(self, path, stderr):
        self.path, self.stderr = path, stderr
        self.header, chunks = read_file(path.read_bytes())
        self.chunks = {chunk.kind.name: chunk.payload for chunk in chunks}
        self.extras = SideData.of_chunks(chunks)
        self.size = self.header.width, self.header.height
        self.exif, self.xmp, self.icc = (self.chunks.get(name) for name in ("EXIF", "XMP", "ICC"))

    @property
    def alpha(self):
        return Image.open(io.BytesIO(self.extras.alpha)) if self.extras.alpha else None

    @property
    def warnings(self):
        return [line for line in self.stderr.splitlines() if "warning: " in line]


@pytest.fixture
def encoded(run, tmp_path):
    """Encode a file's bytes; every warning must be a line that names the file."""

    def encode(data, name="photo.png", *options):
        path = tmp_path / name
        path.write_bytes(data)
        result = run("encode", path, "-o", path.with_name(name + ".lq"), "-f", *options)
        found = Encoded(path.with_name(name + ".lq"), result.stderr)
        assert all(name in line for line in found.warnings)
        return found

    return encode
