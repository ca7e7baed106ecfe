"""Which file the name of a mesh in a URDF stands for; it never leaves the folders that are allowed."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from physsim.errors import InputError
from physsim.io.mesh import SURFACE_SUFFIXES

MAX_NAME = 1024  # characters


def allowed_folders(path: Path, package_folders: Sequence[str | PathLike[str]] = ()) -> list[Path]:
    """Folders that meshes may lie in: that of the URDF at `path`, then those that the caller allows.

    Raises:
        InputError: one of them is no folder.
    """
    if isinstance(package_folders, (str, PathLike)):
        package_folders = [package_folders]
    for folder in package_folders:
        if not isinstance(folder, (str, PathLike)) or not Path(folder).is_dir():
            raise InputError(f"package_folders: {folder!r} is no folder; name folders that are there")
    return [Path(path).parent.resolve(), *(Path(folder).resolve() for folder in package_folders)]


def mesh_file(where: str, name: str, folders: Sequence[Path]) -> Path:
    """The file that a mesh's name stands for.

    Args:
        where: what errors name
        name: `meshes/a.stl`, looked for beside the URDF, or `package://arm/meshes/a.stl`, looked for below every allowed folder, as
            `arm/meshes/a.stl`, and as `meshes/a.stl` in a folder that is called `arm`
        folders: as `allowed_folders` gives them, the URDF's own first

    Returns:
        Path of a regular file in one of the folders, symbolic links followed.

    Raises:
        InputError: the name is absolute or of another scheme, leaves the folders, or there is no such file of a known kind.
    """
    where = f"{where}: mesh {name[:80]!r}"
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(f"{where}: its file name has {len(name)} characters; 1 to {MAX_NAME} printable ones are read")
    scheme, _, rest = name.rpartition("://")
    relative = Path(rest)
    if scheme not in ("", "package", "model") or "\\" in name:
        raise InputError(f"{where}: only relative paths with / and package:// are read")
    if relative.is_absolute() or relative.drive:
        raise InputError(f"{where}: is absolute; copy the mesh beside the URDF and name it by a relative path")
    if relative.suffix.lower() not in SURFACE_SUFFIXES:
        raise InputError(f"{where}: ending {relative.suffix[:20]!r} is not read; convert it to one of {', '.join(SURFACE_SUFFIXES)}")
    candidates = [root / relative for root in (folders if scheme else folders[:1])]
    if scheme and len(relative.parts) > 1:
        candidates += [root / Path(*relative.parts[1:]) for root in folders if root.name == relative.parts[0]]
    left = False
    for candidate in candidates:
        try:
            file = candidate.resolve()
            there = file.is_file()
        except (OSError, RuntimeError, ValueError):  # a name too long for the system, or links in a circle
            continue
        inside = any(file.is_relative_to(folder) for folder in folders)
        if inside and there:
            return file
        left = left or not inside
    if left:
        raise InputError(f"{where}: leaves the URDF's folder; copy it there, or allow its folder by package_folders=[...]")
    tried = ", ".join(map(str, candidates))[:400]
    raise InputError(f"{where}: no such file (looked for {tried}); if it lies elsewhere, give package_folders=[...]")
