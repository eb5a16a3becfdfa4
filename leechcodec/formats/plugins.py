"""Formats that other packages read for Pillow: HEIC and JPEG XL, loaded when such a file or name turns up."""

from importlib import import_module

from PIL import Image

from leechcodec.errors import ImageError
from leechcodec.formats.container import MAGIC

NAMES = {"HEIF": "HEIC", "JXL": "JPEG XL", "AVIF": "AVIF"}
PACKAGES = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin", "AVIF": "pillow-avif-plugin"}
SUFFIXES = {".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL"}
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2")
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""How a file of PostScript begins, which Pillow hands to Ghostscript."""
HEAD = 64
"""Bytes of a file that its kind is told from."""


def kind_of(head: bytes) -> str | None:
    """ "HEIF", "JXL" or "AVIF" of a file that begins so; None for any other."""
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if head[4:8] != b"ftyp":
        return None
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & set(HEIC_BRANDS) else None


def prepare(head: bytes) -> None:
    """Have Pillow read a file that begins so. Raises ImageError, which says what it is, where nothing can or should."""
    if head.startswith(MAGIC):
        raise ImageError("an .lq file already; leechcodec decode makes an image of it")
    if head.startswith(POSTSCRIPT):
        raise ImageError("PostScript (EPS) is not read: another program would have to be started")
    if kind := kind_of(head):
        register(kind)


def register(kind: str) -> None:
    """Have Pillow know a format. Raises ImageError, naming the package, where that is not installed."""
    Image.init()
    if kind in Image.OPEN:
        return
    try:
        if kind == "HEIF":
            import_module("pillow_heif").register_heif_opener()
        else:
            import_module({"JXL": "pillow_jxl", "AVIF": "pillow_avif"}[kind])
    except ImportError:
        raise ImageError(
            f"{NAMES[kind]} needs the package {PACKAGES[kind]}, which is not installed: pip install {PACKAGES[kind]}"
        ) from None
    except Exception as error:  # a package that does not fit this Pillow
        raise ImageError(f"{NAMES[kind]} cannot be read: {PACKAGES[kind]} does not load ({error})") from None


def register_suffix(suffix: str) -> None:
    """Have Pillow know the format of a name's suffix (".heic"). Raises what :func:`register` raises."""
    if kind := SUFFIXES.get(suffix.lower()):
        register(kind)
