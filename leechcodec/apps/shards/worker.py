"""What a worker does, wherever it runs: one image file to its tokens."""

import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from leechcodec.apps.batch.tasks import Outcome, Task, outcome_of
from leechcodec.codec import api
from leechcodec.codec.model_store import load_model
from leechcodec.codec.token_files import describe, serialize_tokens
from leechcodec.formats.images import load_image
from leechcodec.formats.side_data import flattened
from leechcodec.threads import set_threads


@dataclass(frozen=True)
class Settings:
    """folder: of the images. model: a name, a folder, or None for the default. form: of the samples' tokens,
    safetensors, npz or npy. threads: that an image is computed with; another number may round otherwise, so it is not
    left to the machine."""

    folder: Path
    quality: float = 50.0
    effort: int = 1
    form: str = "safetensors"
    model: str | None = None
    threads: int = 1


class Worker:
    """Tokenizes images; the model is loaded once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        set_threads(settings.threads)
        load_model(settings.model)  # cached in the process

    def __call__(self, task: Task) -> Outcome:
        return outcome_of(task, self._tokenized)

    def _tokenized(self, task: Task) -> Outcome:
        settings = self._settings
        data = (settings.folder / task.source).read_bytes()
        file = io.BytesIO(data)
        file.name = task.source  # for messages
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # transparency on white, damaged EXIF: docs/tokens.md
            image = flattened(load_image(file))
        tokens = api.tokenize(image, quality=settings.quality, effort=settings.effort, model=settings.model)
        about = describe(tokens, model=settings.model)
        about |= {"source": task.source, "source_sha256": hashlib.sha256(data).hexdigest()}
        serialized = serialize_tokens(tokens, settings.form, model=settings.model)
        return Outcome(task.number, serialized, json.dumps(about).encode())
