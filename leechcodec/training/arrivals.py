"""Photographs that arrive in a folder while a run goes on.

    folders ── a look every few seconds ─▶ new files, as long as at the last look ─▶ decoded ─▶ taken by the loop

A run on a machine that is lent by the minute need not wait until all photographs are there. A thread looks and decodes;
a file is taken once its length has stood still between two looks, so that none is read half written.
"""

import queue
import sys
import threading
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from torch import Tensor

from leechcodec.concurrency import own_warnings
from leechcodec.errors import ConfigError
from leechcodec.training.data import decoded, image_files, is_validation

SECONDS = 5.0
"""Between two looks."""


class Arrivals:
    """Images that come after its making, to be used in a with block.

    sources: as a run's; of these the folders are looked at. validation_share, exclude: as for load_images; what is held
    out is not given. Raises ConfigError where no source is a folder.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        *,
        validation_share: float,
        exclude: Iterable[str] = (),
        seconds: float = SECONDS,
    ) -> None:
        self._folders = [Path(source) for source in sources if Path(source).is_dir()]
        if not self._folders:
            raise ConfigError("to watch for new images, --data needs a folder")
        self._validation_share, self._exclude, self._seconds = validation_share, set(exclude), seconds
        self._known = set(self._files())
        self._lengths: dict[Path, int] = {}
        self._ready: queue.SimpleQueue[Tensor] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def take(self) -> list[Tensor]:
        """Those that are ready and were not taken before, uint8 (3, H, W), without a wait."""
        images = []
        while not self._ready.empty():
            images.append(self._ready.get())
        return images

    def look(self) -> None:
        """Decode what has arrived since the last look."""
        for path in self._files():
            if path in self._known:
                continue
            try:
                length = path.stat().st_size
                if not length or self._lengths.get(path) != length:
                    self._lengths[path] = length
                    continue
                data = path.read_bytes()
            except OSError:  # gone, or not to be read yet
                continue
            self._known.add(path)
            if path.name in self._exclude or is_validation(path.name, self._validation_share):
                continue
            try:
                with own_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of metadata, which nobody learns from
                    self._ready.put(decoded((path, data))[1])
            except ConfigError as error:
                print(f"{error}: left out", file=sys.stderr, flush=True)

    def _files(self) -> list[Path]:
        return [path for folder in self._folders for path in image_files(folder)]

    def _look_on(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()
