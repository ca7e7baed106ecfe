"""Asset: a thing that can be simulated and drawn, and its folder on disk.

asset.json      what the asset holds, in words and numbers: units, the mesh's kind, the material as named numbers
mesh.npz        rest shape [m]; of a material, what is given per element
splats.ply      its look at rest, as 3D Gaussian splatting lays it out, latents and labels besides; where it has one
network.npz     arrays of its colour network, where it has one
twin.json       where it was fitted to a capture, the fit as `physsim.twin.twin_file` packs it; its arrays in twin.npz
"""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.appearance.splats import Splats
from physsim.errors import InputError
from physsim.io.arrays import arrays_under, load_arrays, save_arrays
from physsim.io.folders import UNITS, file_of, read_facts, replaced_folder
from physsim.physics import validation
from physsim.physics.archive import MESHES, pack_material, pack_mesh, unpack_material, unpack_mesh
from physsim.physics.materials import NeoHookean, Rod, Shell, Spring
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

FORMAT, VERSION, NAME = "physsim asset", 1, "asset.json"
TWIN_FORMAT, TWIN_VERSION, TWIN = "physsim twin", 1, "twin.json"
MAX_NAME = 200  # characters
_MATERIALS = {TetMesh: NeoHookean, TriMesh: Shell, SpringNet: Spring, Curve: Rod}


@dataclass(frozen=True, eq=False)
class Asset:
    """A body at rest: its shape, its stuff and its look.

    Args:
        name: of 1 to 200 printable characters.
        mesh: TetMesh, TriMesh, SpringNet or Curve.
        material: NeoHookean, Shell, Spring or Rod, as the mesh needs it; None: not known.
        splats: in the mesh's coordinates; None: no look of its own.
        network: arrays of a colour network by name; None: splats have their own colours alone.
        mass: of a SpringNet's particles [kg], one or [points]; None: not known.
        twin: what a fit of a capture left, (what JSON takes, arrays by name), for `physsim.twin.twin_file.twin_of`; carried along as it is.

    Raises:
        InputError: parts of other kinds, a material that does not belong to the mesh, splats without a splat or that `Splats.check`
            refuses, values that are not finite.
    """

    name: str
    mesh: object
    material: object = None
    splats: Splats | None = None
    network: dict | None = None
    mass: object = None
    twin: tuple[object, dict[str, np.ndarray]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise InputError(f"Asset.name: {str(self.name)[:40]!r}: a name of 1 to {MAX_NAME} printable characters is needed")
        validation.instance("Asset.mesh", self.mesh, tuple(MESHES))
        needed = _MATERIALS[type(self.mesh)]
        if self.material is not None:
            validation.instance("Asset.material", self.material, needed, f"for a {type(self.mesh).__name__}")
        if self.splats is not None and not len(validation.instance("Asset.splats", self.splats, Splats).check()):
            raise InputError("Asset.splats: there is none among them; give None for an asset without a look of its own")
        if self.network is not None:
            object.__setattr__(self, "network", _checked_network(self.network))
        if self.mass is not None:
            if not isinstance(self.mesh, SpringNet):
                raise InputError("Asset.mass: only a SpringNet takes one; elsewhere the material's density tells it")
            shape = () if validation.is_scalar("Asset.mass", self.mass) else (len(self.mesh.points),)
            object.__setattr__(self, "mass", validation.array("Asset.mass", self.mass, shape, lower=0.0, lower_open=True))
        if self.twin is not None and not (isinstance(self.twin, tuple) and len(self.twin) == 2 and isinstance(self.twin[1], dict)):
            raise InputError("Asset.twin: what physsim.twin.twin_file packs is needed; use its with_twin(asset, twin)")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the asset's folder; the same asset gives the same bytes.

        Args:
            path: folder to write; an old asset there is replaced whole, so that a kill leaves the old one or the new one.

        Returns:
            The path.

        Raises:
            InputError: something else is there, or it cannot be written.
        """
        with replaced_folder(path, NAME) as folder:
            self._write(folder)
        return Path(path)

    def _write(self, folder: Path) -> None:
        told, arrays = pack_mesh(self.mesh)
        arrays = {f"mesh/{name}": value for name, value in arrays.items()}
        facts = {"format": FORMAT, "version": VERSION, "units": UNITS, "name": self.name}
        facts["mesh"] = told | {"points": len(self.mesh.points)}
        if self.material is not None:
            facts["material"], parts = pack_material(self.material)
            arrays |= {f"material/{name}": value for name, value in parts.items()}
        if self.mass is not None:
            arrays["mass"] = self.mass
        save_arrays(folder / "mesh.npz", "asset mesh", arrays)
        if self.splats is not None:
            self.splats.save(folder / "splats.ply")
            facts["splats"] = _counts(self.splats)
        if self.network is not None:
            save_arrays(folder / "network.npz", "asset network", self.network)
            facts["network"] = {name: list(value.shape) for name, value in self.network.items()}
        if self.twin is not None:
            told = {"format": TWIN_FORMAT, "version": TWIN_VERSION, "units": UNITS, "twin": self.twin[0]}
            (folder / TWIN).write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            save_arrays(folder / "twin.npz", "asset twin", self.twin[1])
            facts["twin"] = {name: list(value.shape) for name, value in self.twin[1].items()}
        (folder / NAME).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Asset":
        """Read an asset's folder. Other files in it, such as a licence, are left alone.

        Raises:
            InputError: no such folder, a missing file, a file of another asset or of another kind, a link that leaves the folder, another
                version or other units, values that cannot be used.
        """
        facts = read_facts(path, NAME, FORMAT, VERSION)
        path = Path(path)
        arrays = load_arrays(file_of(path, "mesh.npz"), "asset mesh")
        mesh = unpack_mesh(f"{path / 'mesh.npz'}", facts.get("mesh"), arrays_under(arrays, "mesh/"))
        _same(path / "mesh.npz", {"points": facts["mesh"].get("points")}, {"points": len(mesh.points)})
        material = facts.get("material")
        if material is not None:
            material = unpack_material(f"{path / NAME}", material, arrays_under(arrays, "material/"))
        splats = network = None
        if facts.get("splats") is not None:
            splats = Splats.load(file_of(path, "splats.ply"))
            _same(path / "splats.ply", facts["splats"], _counts(splats))
        if facts.get("network") is not None:
            network = load_arrays(file_of(path, "network.npz"), "asset network")
            _same(path / "network.npz", facts["network"], {name: list(value.shape) for name, value in network.items()})
        twin = None
        if facts.get("twin") is not None:
            told, parts = read_facts(path, TWIN, TWIN_FORMAT, TWIN_VERSION), load_arrays(file_of(path, "twin.npz"), "asset twin")
            _same(path / "twin.npz", facts["twin"], {name: list(value.shape) for name, value in parts.items()})
            twin = told.get("twin"), parts
        try:
            return cls(facts.get("name"), mesh, material, splats, network, arrays.get("mass"), twin)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def add_to(self, builder: object, **options: object) -> object:
        """Add the asset to a ModelBuilder, by the method for its kind.

        Args:
            builder: ModelBuilder.
            options: what that method takes besides mesh and material: `name` (the asset's own), `velocity`, `pose`, `warp`, `mass`.

        Returns:
            Body.

        Raises:
            InputError: the asset has no material, or a net no mass; what the builder refuses.
        """
        if self.material is None:
            raise InputError(f"asset {self.name!r}: it has no material; make one by dataclasses.replace(asset, material=...)")
        options = {"name": self.name} | options
        if isinstance(self.mesh, SpringNet):
            mass = options.pop("mass", self.mass)
            if mass is None:
                raise InputError(f"asset {self.name!r}: the mass of its particles is not known; give mass=... [kg]")
            return builder.add_springs(self.mesh, self.material, mass, **options)
        add = {TetMesh: "add_soft_body", TriMesh: "add_cloth", Curve: "add_rod"}[type(self.mesh)]
        return getattr(builder, add)(self.mesh, self.material, **options)

    def bind(self, body: object = None, **options: object) -> object:
        """The asset's splats bound to a body that `add_to` made, or to its mesh alone.

        Args:
            body: Body; None: positions of the mesh's own points are given to `Binding.pose`.
            options: `outside` and `limit` of `physsim.appearance.binding.bind`.

        Raises:
            InputError: the asset has no splats, the body is of another mesh.
        """
        from physsim.appearance.binding import bind

        if self.splats is None:
            raise InputError(f"asset {self.name!r}: it has no splats; make some by physsim.appearance.sources")
        if body is not None and len(getattr(body, "points", ())) != len(self.mesh.points):
            raise InputError(f"asset {self.name!r}: the body is of another mesh; bind to one that add_to made")
        return bind(self.splats, self.mesh if body is None else body, **options)


def _counts(splats: Splats) -> dict[str, int]:
    return {"count": len(splats), "degree": splats.degree, "latents": splats.latents.shape[1]}


def _checked_network(network: object) -> dict[str, np.ndarray]:
    if not isinstance(network, dict) or not network:
        raise InputError("Asset.network: a dict from names to arrays is needed, such as a network's own `arrays()`")
    wrong = [name for name in network if not isinstance(name, str) or not name.isidentifier() or name == "file"]
    if wrong:
        raise InputError(f"Asset.network: {wrong[0]!r} cannot name an array; use letters, digits and _ (and not `file`)")
    out = {}
    for name, value in network.items():
        given = validation.given_array(f"Asset.network: {name}", value)
        checked = validation.array(f"Asset.network: {name}", given, (None,) * given.ndim)
        out[name] = checked.astype(given.dtype) if given.dtype.kind == "f" else checked
    return out


def _same(file: Path, told: object, found: dict) -> None:
    """Refuse a file that is not the one that asset.json speaks of."""
    if told != found:
        raise InputError(f"{file}: holds {found}, and {NAME} says {str(told)[:200]}; is the file of another asset?")
