"""One measurement: an image through one setting of a codec, by way of a real file.

This is what the worker processes of an evaluation run; a worker keeps its codecs and LPIPS between measurements.
"""

import hashlib
import os
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from leechcodec.lab.datasets import pixels_of
from leechcodec.lab.metrics import scores
from leechcodec.lab.peers.base import Peer, PeerOptions, Setting
from leechcodec.lab.peers.registry import adapter
from leechcodec.lab.results import ImageRow
from leechcodec.training.lpips_net import Lpips


@dataclass(frozen=True)
class Task:
    """What to measure. file: the compressed file's path from the results folder.

    previous: the row of an earlier measurement whose file is still there: then only the metrics are new.
    """

    codec: str
    options: PeerOptions
    setting: Setting
    image: Path
    folder: Path
    file: str
    lpips: Path | None
    previous: ImageRow | None = None


@dataclass(frozen=True)
class Measured:
    """A row and its file's SHA-256, or the reason why there is none."""

    row: ImageRow | None
    sha256: str | None
    failure: str | None = None


def measure(task: Task) -> Measured:
    """Encode to a file, decode from it, compare. What a codec raises becomes the failure's text."""
    try:
        return _measure(task)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # a peer's library may raise anything; the other images go on
        return Measured(None, None, " ".join(f"{type(error).__name__}: {error}".split()))


def _measure(task: Task) -> Measured:
    peer = _peer(task.codec, task.options)
    image = pixels_of(task.image)
    path = task.folder / task.file
    if task.previous is None:
        start = time.perf_counter()
        data = peer.encode(image, task.setting)
        encode_s = time.perf_counter() - start
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)  # one torn by an interruption fails its hash in the cache: no waiting for the disk
    else:
        encode_s = task.previous.encode_s
    data = path.read_bytes()
    start = time.perf_counter()
    decoded = peer.decode(data)
    decode_s = time.perf_counter() - start if task.previous is None else task.previous.decode_s
    found = scores(image, decoded, _lpips(task.lpips) if task.lpips else None)
    row = ImageRow(
        image=task.image.name,
        setting=task.setting.label,
        width=image.width,
        height=image.height,
        bytes=path.stat().st_size,
        bpp=8 * path.stat().st_size / (image.width * image.height),
        psnr=found.psnr,
        ms_ssim=found.ms_ssim,
        ssim=found.ssim,
        ssimulacra2=found.ssimulacra2,
        lpips=found.lpips,
        encode_s=encode_s,
        decode_s=decode_s,
        file=task.file,
    )
    return Measured(row, hashlib.sha256(data).hexdigest())


def start_worker(cores: tuple[int, ...], position, threads: int) -> None:
    """Begin a worker process: its own share of the cores, so that every codec's threads stay within it.

    position: a counter shared by the workers.
    """
    warnings.simplefilter("ignore")  # the parent has said what there is to say
    torch.set_num_threads(threads)
    with position.get_lock():
        number = position.value
        position.value += 1
    share = [core for index, core in enumerate(cores) if index // threads == number]
    if share and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)


@lru_cache(maxsize=16)
def _peer(codec: str, options: PeerOptions) -> Peer:
    """A codec ready to be timed; made once a process."""
    peer = adapter(codec, options)
    peer.prepare()
    return peer


@lru_cache(maxsize=1)
def _lpips(weights: Path) -> Lpips:
    return Lpips(weights)
