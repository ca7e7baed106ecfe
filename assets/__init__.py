"""Small recordings and meshes that ship with physsim, each in a folder of its own with its licence and source."""

from importlib import resources
from pathlib import Path

from physsim.errors import InputError


def names() -> list[str]:
    """Names of the shipped assets, sorted."""
    root = Path(str(resources.files(__name__)))
    return sorted(entry.name for entry in root.iterdir() if (entry / "LICENSE").is_file())


def folder(name: str) -> Path:
    """Folder of one shipped asset.

    Args:
        name: the asset's name, for example ``"silicone_beam"``

    Returns:
        Path of the folder that holds its files, licence and README.

    Raises:
        InputError: there is no such asset; the message lists those there are.
    """
    known = names()
    if name not in known:
        raise InputError(f"asset {name!r} is unknown; choose one of {', '.join(known)}")
    return Path(str(resources.files(__name__))) / name
