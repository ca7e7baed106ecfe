"""The one door for robots that come from URDF files."""

from collections.abc import Sequence
from os import PathLike

from physsim.io.description import Geometry, Joint, Link, Mimic, RobotDescription

__all__ = ["Geometry", "Joint", "Link", "Mimic", "RobotDescription", "load_urdf"]


def load_urdf(path: str | PathLike[str], package_folders: Sequence[str | PathLike[str]] = ()) -> RobotDescription:
    """Read a robot's description.

    Args:
        path: a .urdf file
        package_folders: folders in which the packages of `package://` names lie; meshes are read from below
            these and below the file's own folder

    Returns:
        The description, checked: a tree of finite numbers in SI units, with meshes read.

    Raises:
        InputError: the file or a mesh cannot be used; the message says why and what to do.
    """
    raise NotImplementedError
