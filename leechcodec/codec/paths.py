"""Where released models lie: in the source tree's models/ folder, or inside the installed package."""

from pathlib import Path


def models_dir() -> Path:
    """The folder of released models, one subfolder each."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def installed_models() -> list[str]:
    """Names of the folders among them, sorted."""
    return sorted(path.name for path in models_dir().glob("*/") if path.is_dir())
