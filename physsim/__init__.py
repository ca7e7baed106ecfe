"""physsim: differentiable soft-body physics, from a recording of a real thing to a material that predicts the next one.

Public names are loaded on first use, so that ``import physsim`` stays quick and pulls in neither torch nor any optional library.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "NeoHookean": "physsim.physics.materials",
    "Shell": "physsim.physics.materials",
    "Spring": "physsim.physics.materials",
    "Rod": "physsim.physics.materials",
    "Curve": "physsim.physics.rods",
    "TetMesh": "physsim.physics.mesh",
    "SpringNet": "physsim.physics.mesh",
    "box_mesh": "physsim.physics.mesh",
    "spring_net": "physsim.physics.mesh",
    "tetrahedralize": "physsim.physics.tetrahedralize",
    "mesh_quality": "physsim.physics.tetrahedralize",
    "TriMesh": "physsim.physics.sheets",
    "sheet_mesh": "physsim.physics.sheets",
    "smooth_basis": "physsim.physics.fields",
    "region_basis": "physsim.physics.fields",
    "Plane": "physsim.physics.shapes",
    "Sphere": "physsim.physics.shapes",
    "Box": "physsim.physics.shapes",
    "Capsule": "physsim.physics.shapes",
    "Cylinder": "physsim.physics.shapes",
    "load_mesh": "physsim.io.mesh",
    "load_surface": "physsim.io.mesh",
    "SurfaceMesh": "physsim.io.mesh",
    "read_table": "physsim.io.table",
    "ModelBuilder": "physsim.physics.builder",
    "Body": "physsim.physics.model",
    "Model": "physsim.physics.model",
    "State": "physsim.physics.model",
    "Control": "physsim.physics.model",
    "SolverImplicit": "physsim.physics.solvers.implicit",
    "SolverExplicit": "physsim.physics.solvers.explicit",
    "solve_equilibrium": "physsim.physics.solvers.static",
    "separate": "physsim.physics.contact.separation",
    "simulate": "physsim.physics.diff.torch_bridge",
    "identify": "physsim.real2sim.identify",
    "identify_field": "physsim.real2sim.identify",
    "identify_rest": "physsim.real2sim.identify",
    "Tracks": "physsim.real2sim.tracks",
    "CableRecording": "physsim.real2sim.cable",
    "fit_cable": "physsim.real2sim.cable",
    "predict_cable": "physsim.real2sim.cable",
    "Variable": "physsim.real2sim.least_squares",
    "SolverStatic": "physsim.physics.solvers",
    "StepReport": "physsim.physics.solvers",
    "Probe": "physsim.physics.probe",
    "von_mises": "physsim.physics.probe",
    "equilibrium": "physsim.physics.diff.torch_bridge",
    "Trajectory": "physsim.physics.diff.torch_bridge",
    "Run": "physsim.appearance.run",
    "view": "physsim.viewer.view",
    "Camera": "physsim.appearance.camera",
    "orbit": "physsim.appearance.camera",
    "Raster": "physsim.appearance.raster",
    "rasterize": "physsim.appearance.raster",
    "spherical_harmonics": "physsim.appearance.harmonics",
    "Asset": "physsim.appearance.asset",
    "Splats": "physsim.appearance.splats",
    "bind": "physsim.appearance.binding",
    "bake": "physsim.appearance.baking",
    "RigidBinding": "physsim.appearance.binding",
    "splats_from_mesh": "physsim.appearance.sources",
    "splats_from_points": "physsim.appearance.sources",
    "load_textured_surface": "physsim.io.textured",
    "load_point_cloud": "physsim.io.point_cloud",
    "Scene": "physsim.appearance.scene",
    "PosedSplats": "physsim.appearance.scene",
    "render": "physsim.appearance.scene",
    "Surface": "physsim.appearance.meshes",
    "render_surfaces": "physsim.appearance.meshes",
    "Light": "physsim.appearance.meshes",
    "robot_surfaces": "physsim.appearance.robot_surfaces",
    "textured_surfaces": "physsim.appearance.textured_surfaces",
    "placed_links": "physsim.appearance.robot_surfaces",
    "DepthNoise": "physsim.appearance.noise",
    "ColourNoise": "physsim.appearance.noise",
    "psnr": "physsim.appearance.metrics",
    "ssim": "physsim.appearance.metrics",
    "ms_ssim": "physsim.appearance.metrics",
    "iou": "physsim.appearance.metrics",
    "Lpips": "physsim.appearance.lpips",
    "ColorNetwork": "physsim.appearance.color",
    "green_strain": "physsim.appearance.color",
    "splat_colors": "physsim.appearance.color",
    "Frame": "physsim.appearance.frames",
    "read_frames": "physsim.appearance.frames",
    "FitOptions": "physsim.appearance.fit_options",
    "fit_appearance": "physsim.appearance.fit",
    "compare_frames": "physsim.appearance.fit_quality",
    "Capture": "physsim.capture.capture",
    "CaptureWriter": "physsim.capture.write",
    "check_capture": "physsim.capture.check",
    "Handle": "physsim.capture.capture",
    "Known": "physsim.capture.capture",
    "SeenTracks": "physsim.capture.capture",
    "SoftBody": "physsim.twin.body",
    "reconstruct": "physsim.twin.body",
    "TwinScene": "physsim.twin.scene",
    "identify_field_twin": "physsim.twin.field",
    "minimise_without_gradient": "physsim.twin.evolution",
    "identify_twin": "physsim.twin.identification",
    "predict_twin": "physsim.twin.identification",
    "RobotCoupling": "physsim.coupling",
    "add_links": "physsim.coupling",
    "TouchSensor": "physsim.touch",
    "contact_points": "physsim.physics.contact.readout",
    "PhyssimError": "physsim.errors",
    "InputError": "physsim.errors",
    "SolverError": "physsim.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str):
    """Load a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'physsim' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
