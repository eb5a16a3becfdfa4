"""Typed errors: whatever a file, an image, a model or a config can do wrong is an :class:`LqError`."""

TORCH_COMMAND = "pip install 'leechcodec[torch]'"
"""Installs what training, an effort above 1 and measuring need."""


class LqError(Exception):
    """Base of every error that leechcodec raises for its input. The message is one line: what, and where."""


class NotLqError(LqError):
    """The data is not an .lq file."""


class UnsupportedVersionError(LqError):
    """An .lq file of a format version, or with a mandatory chunk, that this release does not know."""


class UnknownModelError(LqError):
    """The file or tokens belong to a model that is not installed."""


class TruncatedError(LqError):
    """The file ends before it should."""


class CorruptError(LqError):
    """The file contradicts itself or fails a checksum."""


class TokensError(LqError):
    """Token indices, or a file or a shard of them, that are not what their image, quality and model ask for."""


class QuantizerError(LqError, ValueError):
    """Vectors, codes or indices that are none of a quantizer's: of another dimension, not finite, out of range."""


class TooLargeError(LqError):
    """The image is beyond the size limits."""


class ImageError(LqError):
    """An input image that cannot be read or is of an unsupported kind."""


class ModelError(LqError):
    """A model folder or checkpoint that cannot be loaded."""


class ConfigError(LqError):
    """A setting that does not exist or is out of range."""


class TargetError(LqError):
    """A size or PSNR that no quality reaches."""


class MissingPackageError(LqError):
    """An optional package is not installed; the message names the extra that brings it."""


class WorkerError(LqError):
    """Worker processes died, or could not be had. What was finished is kept."""
