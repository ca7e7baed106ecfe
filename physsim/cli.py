"""The command ``physsim``: demo, convert, check, fit, compare, grasp, view, render, fit-appearance, warmup and bench.

Arguments are checked here, before anything heavy is imported. Each subcommand then imports its worker and hands over plain keyword
arguments; options that were not given are left out, so that a worker's own defaults hold. Wrong input ends in one line and exit code 2.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from physsim import __version__
from physsim.errors import InputError, PhyssimError

BAD_INPUT = 2
INTERRUPTED = 130

_EXAMPLES = """examples:
  physsim demo                                  fit a twin to a shipped capture, compare it, let a Panda grasp it
  physsim demo beam --out results               fit the real silicone beam, predict its second recording
  physsim check my-capture                      say what is wrong with a recording's folder before any work
  physsim fit my-capture --out my-twin          a body, its material with intervals, its look and a report
  physsim compare my-twin another-capture       what the twin predicts beside what was seen
  physsim convert recording.pkl --out capture   make a capture of a recording in another program's format
  physsim grasp --object plush --out results    a robot lifts, shakes and puts down a soft thing, by friction
  physsim view results                          look at it in the browser, and pull at it
  physsim render results --out film.mp4         the same as a film
  physsim fit-appearance pictures --asset toy --out toy2    make an asset look like pictures of it
  physsim warmup                                compile the kernels now, so that later runs start at once
  physsim bench --case cloth --json bench.json  time this machine
  physsim bench --peers --json bench.json       the same, next to MuJoCo, Taichi and PyBullet where installed
"""

_DEMO_EXAMPLES = """examples:
  physsim demo
  physsim demo twin --out results
  physsim demo beam --out results --young-start 5e4
  physsim demo beam --fit-seconds 1.5 --cells 8 2 2
  physsim demo beam --fit a.csv --heldout b.csv --experiment experiment.json
  physsim demo beam --fit lighter.csv --mass 0.05

writes report.json, report.html, twin.mp4 and grasp.mp4, or beam.mp4 (PNG strips where no video encoder is found), and run/, which
physsim view shows, to the folder given by --out; the twin's own folder, twin/, can be viewed, rendered, compared and grasped like any
asset. The grasp needs PyBullet: pip install 'physsim[robots]'
"""

_GRASP_EXAMPLES = """examples:
  physsim grasp
  physsim grasp --object plush --robot kuka --out results
  physsim grasp --object cloth --seconds 5
  physsim grasp --object my-asset               what physsim fit found, or any asset of a solid or a flat sheet

writes report.json, report.html, grasp.mp4 (a PNG strip where no video encoder is found) and run/, which physsim view shows, to the
folder given by --out; exit code 0 where the grasp held, 1 where it did not
"""

_VIEW_EXAMPLES = """examples:
  physsim view physsim-grasp
  physsim view my-asset --hold top
  physsim view my-run --port 8090 --no-browser

shows a folder that Run.save or Asset.save wrote, or the results of physsim grasp and physsim demo, at an address that only this
machine can open; Ctrl-C ends it
"""

_RENDER_EXAMPLES = """examples:
  physsim render physsim-grasp --out film.mp4
  physsim render my-asset --camera orbit --frames 120 --out turn.mp4
  physsim render my-run --show strain --camera front --size 1280 720 --out strain.mp4
  physsim render my-run --camera camera.json --frames 1 --out picture.png

a camera file is a JSON object as Camera.to_dict gives it (OpenCV's axes, from world to camera, pixels and metres):
  {"width": 640, "height": 480, "focal": [600, 600], "rotation": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "translation": [0, 0, 1]}
.png is one picture (the last frame where the run has several); a film's width and height are even
"""


_FIT_CAPTURE_EXAMPLES = """examples:
  physsim fit my-capture --out my-twin
  physsim fit my-capture --out my-twin --test another-capture
  physsim fit my-capture --out my-twin --kind sheet --cell-size 0.01 --stiffness parts
  physsim fit my-capture --out my-twin --fit young viscosity hold_stiffness --known poisson=0.45 density=1100
  physsim fit my-capture --out my-twin --fit young viscosity time_offset camera_pose --young-start 1e5 --seeds 3

writes the asset with report.json, report.html and run/, which physsim view shows, to the folder given by --out; what an interrupted run
found is kept beside it (OUT.partial) and gone on from. physsim check CAPTURE tells what is wrong with a capture; docs/capture.md
describes the folder
"""

_FIT_EXAMPLES = """examples:
  physsim fit-appearance pictures --asset toy --out toy2
  physsim fit-appearance pictures --asset toy --out toy2 --splats 10000 --iterations 6000 --degree 3 --exposure

cameras.json is a list with an entry for each picture:
  {"file": "a.png", "width": 640, "height": 480, "fx": 600, "fy": 600, "cx": 319.5, "cy": 239.5, "distortion": [],
   "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 1], "mask": "a_mask.png", "positions": "a.npz"}
from world to camera; distortion, mask and positions (npz with an array "positions" [m] of the mesh's points) may be missing

writes the asset with report.json and report.html to the folder given by --out; an interrupted run is gone on from
"""

_CONVERT_EXAMPLES = """examples:
  physsim convert data/different_types/single_lift_rope --out rope
  physsim convert DLO1/eval/100.pkl --from deform --mass 0.0485 --thickness 0.011 --out cable
  physsim convert clouds --rate 30 --scale 0.001 --kind sheet --out cloth

sources are cases of PhysTwin (a folder with final_data.pkl), marker pickles of DEFORM, folders with one .npy or .ply file of points a
frame (times.csv with a column `time`, or --rate), and CSV files like those of the shipped beam and starfish
"""

_COMPARE_EXAMPLES = """examples:
  physsim compare my-twin my-capture
  physsim compare my-twin another-recording --start 0.5 --out results

ASSET is a folder that physsim fit wrote. Of the capture that was fitted the held-out frames are predicted; of another recording of the same
thing the first frames tell how its motion begins, and all others are predicted. The table holds the errors beside those of predictors that
anybody could use without a simulation; report.json and report.html go to the folder given by --out
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"physsim: error: {message}; see '{self.prog} --help'\n")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive, finite number")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file that can be read")
    return path


def _existing_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder that can be read")
    return path


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} is no file or folder that can be read")
    return path


def _thing(text: str) -> str | Path:
    if text in ("cube", "plush", "cloth"):
        return text
    if not (Path(text) / "asset.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is neither cube, plush nor cloth, nor the folder of an asset")
    return Path(text)


def _output_folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} exists and is not a folder")
    return path


def _output_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is a folder, or its folder does not exist")
    return path


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "demo",
        help="fit a twin to a shipped capture and let a robot grasp it; or fit a beam's real recording",
        description="twin: fit a body's material and look to a small RGB-D capture that ships with physsim (made by MuJoCo), predict the "
        "frames held out, and let a Panda grasp the twin. beam: fit Young's modulus and damping to one real recording of a beam, by "
        "gradients, then predict another recording.",
        epilog=_DEMO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_demo)
    parser.add_argument("name", nargs="?", choices=["twin", "beam"], default="twin", help="which demo (default: twin)")
    parser.add_argument("--out", type=_output_folder, default=Path("physsim-demo"), metavar="DIR", help="folder for the results")
    parser.add_argument("--restart", action="store_true", help="of the twin: do not go on from what an interrupted demo left")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the table")
    parser = parser.add_argument_group("of the demo beam")
    parser.add_argument("--fit", type=_existing_file, metavar="CSV", help="recording to fit (default: the shipped recording a)")
    parser.add_argument("--heldout", type=_existing_file, metavar="CSV", help="recording to predict (default: the shipped recording b)")
    parser.add_argument("--experiment", type=_existing_file, metavar="JSON", help="facts of the experiment (default: the shipped ones)")
    parser.add_argument("--young-start", type=_positive, metavar="PA", help="Young's modulus that the fit starts from [Pa]")
    parser.add_argument("--fit-seconds", type=_positive, metavar="S", help="fit this long after the release [s], and judge what follows")
    parser.add_argument("--cells", type=_count, nargs=3, metavar=("NX", "NY", "NZ"), help="cells of the mesh along x, y, z")
    parser.add_argument("--mass", type=_positive, metavar="KG", help="mass of the weight [kg], instead of what the experiment file says")


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert",
        help="make a capture of a recording in another format",
        description="Write a recording of another program as a capture, the folder that physsim check and fit read. Options that a format "
        "has no use for are refused.",
        epilog=_CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    formats = ["phystwin", "deform", "clouds", "beam", "starfish"]
    parser.add_argument("source", type=_existing, metavar="SOURCE", help="file or folder")
    parser.add_argument("--out", type=_output_folder, required=True, metavar="CAPTURE", help="folder for the capture")
    parser.add_argument("--from", dest="source_format", choices=formats, help="format of the source (default: guessed)")
    parser.add_argument("--rate", type=_positive, metavar="HZ", help="frames a second, where the source does not say")
    parser.add_argument("--scale", type=_positive, metavar="X", help="factor on lengths; 0.001 for millimetres (default: 1)")
    parser.add_argument("--kind", choices=["solid", "sheet", "rod"], help="of the body, where known")
    parser.add_argument("--mass", type=_positive, metavar="KG", help="of the body [kg], where known")
    parser.add_argument("--thickness", type=_positive, metavar="M", help="diameter of a cable [m], where known")
    parser.add_argument("--hand-gap", type=_positive, metavar="M", help="controller points closer than this are of one hand [m]")
    parser.add_argument("--z-up", dest="reverse_z", action="store_false", help="of a PhysTwin case whose world z points up")
    parser.add_argument("--experiment", type=_existing_file, metavar="JSON", help="facts of a beam's recording (default: beside it)")
    parser.add_argument("--release", type=_positive, metavar="S", help="when a beam was let go [s]")
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    parser.set_defaults(run=_convert)


def _add_grasp(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "grasp",
        help="let a robot lift, shake and put down a soft thing",
        description="A robot reaches, closes, lifts 10 cm, holds, shakes (0.05 m at 2 Hz) and puts down a soft thing; the report says what "
        "its fingers felt.",
        epilog=_GRASP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--object",
        dest="object_name",
        type=_thing,
        metavar="cube|plush|cloth|ASSET",
        help="what is grasped, or an asset's folder (default: cube)",
    )
    parser.add_argument("--robot", choices=["panda", "kuka", "xarm"], help="which robot (default: panda)")
    parser.add_argument("--out", type=_output_folder, default=Path("physsim-grasp"), metavar="DIR", help="folder for the results")
    parser.add_argument("--hold", choices=["friction", "pin"], help="by friction, or by points pinned to the fingers (default: friction)")
    parser.add_argument("--seconds", type=_positive, metavar="S", help="how long it is held still [s] (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the numbers")
    parser.set_defaults(run=_grasp)


def _add_view(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "view",
        help="look at a run or an asset in the browser, and pull at it",
        description="Play and scrub a recorded run, or pull at points of a soft thing while it is simulated.",
        epilog=_VIEW_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("path", type=_existing_folder, metavar="ASSET_OR_RUN", help="folder")
    parser.add_argument("--port", type=_count, metavar="N", help="of http://127.0.0.1 (default: the first free one from 8080 on)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open the page")
    parser.add_argument("--hold", choices=["auto", "bottom", "top", "none"], help="what of an asset stays in place (default: auto)")
    parser.set_defaults(run=_view)


def _add_render(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "render",
        help="draw a run or an asset as a film or a picture",
        description="Draw splats, meshes or strain of a run through its time, or of an asset from all sides.",
        epilog=_RENDER_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("path", type=_existing_folder, metavar="ASSET_OR_RUN", help="folder")
    parser.add_argument("--out", type=_output_file, required=True, metavar="FILE", help=".mp4 for a film, .png for a picture")
    parser.add_argument("--camera", metavar="orbit|front|FILE.json", help="from where it is seen (default: the run's own, else orbit)")
    parser.add_argument("--size", type=_count, nargs=2, metavar=("W", "H"), help="of the pictures [pixel] (default: 960 540)")
    parser.add_argument("--frames", type=_count, metavar="N", help="how many pictures (default: 30 a second of a run, 120 of an asset)")
    parser.add_argument("--show", choices=["splats", "mesh", "strain"], help="(default: splats where there are some, else mesh)")
    parser.set_defaults(run=_render)


def _add_fit(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "fit",
        help="fit a twin to a recording: a body, its material and its look",
        description="Reconstruct the soft thing that a capture shows, fit its material to the frames for fitting and its look to their "
        "pictures, predict the frames held out, and write all of it as an asset with a report.",
        epilog=_FIT_CAPTURE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("capture", type=_existing_folder, metavar="CAPTURE", help="folder of the recording")
    parser.add_argument("--out", type=_output_folder, required=True, metavar="ASSET", help="folder for the asset")
    parser.add_argument("--kind", choices=["solid", "sheet", "rod"], help="of the body (default: the capture's, or as it looks)")
    parser.add_argument("--cell-size", type=_positive, metavar="M", help="of the mesh that is made [m] (default: from the body's size)")
    parser.add_argument("--stiffness", choices=["one", "parts", "field"], help="one for the body, parts that are found, or a smooth field")
    parser.add_argument("--test", type=_existing_folder, metavar="CAPTURE2", help="another recording of the same thing, to be predicted")
    parser.add_argument("--fit", nargs="+", metavar="NAME", help="what is fitted (default: what is not known of the body)")
    parser.add_argument("--known", nargs="+", metavar="NAME=VALUE", help="what is held fixed, in SI units")
    parser.add_argument("--young-start", type=_positive, metavar="PA", help="Young's modulus that the fit starts from [Pa]")
    parser.add_argument("--seeds", type=_count, metavar="N", help="fits from other starts, whose spread is told (default: 1)")
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--appearance", dest="appearance", action="store_true", help="fit a look to the colour frames (the default)")
    look.add_argument("--no-appearance", dest="appearance", action="store_false", help="fit none")
    parser.add_argument("--joint", action="store_true", help="let pixels refine the physics, once there is a look")
    parser.add_argument("--residual-correction", action="store_true", help="learn what the physics misses, as a step of its own")
    parser.add_argument("--seed", type=_whole, metavar="N", help="of everything that is drawn (default: 0)")
    parser.add_argument("--restart", action="store_true", help="do not go on from what an interrupted run left")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the tables")
    parser.set_defaults(run=_fit)


def _add_fit_appearance(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "fit-appearance",
        help="make an asset look like pictures of it",
        description="Fit the splats of an asset, and a network that makes their colour depend on strain where pictures show it deformed, "
        "to a folder of pictures with cameras.json (OpenCV) or transforms.json (NeRF). Every eighth picture is held out and judged.",
        epilog=_FIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("images", type=_existing_folder, metavar="IMAGES", help="folder of pictures")
    parser.add_argument("--asset", type=_existing_folder, required=True, metavar="ASSET", help="folder of the asset to begin with")
    parser.add_argument("--out", type=_output_folder, required=True, metavar="ASSET2", help="folder for the new asset")
    parser.add_argument("--splats", type=_count, metavar="N", help="at most (default: twice the asset's, 2000 where it has none)")
    parser.add_argument("--iterations", type=_count, metavar="N", help="(default: 1500)")
    parser.add_argument("--degree", type=int, choices=[0, 1, 2, 3], help="of the spherical harmonics (default: the asset's, at least 1)")
    parser.add_argument("--held-out", type=_whole, metavar="N", help="one picture in so many is held out; 0: none (default: 8)")
    parser.add_argument("--background", type=_share, nargs=3, metavar=("R", "G", "B"), help="behind pictures without mask (default: 0 0 0)")
    parser.add_argument("--exposure", action="store_true", help="give each picture a gain and an offset of its own")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--network", dest="network", action="store_true", help="fit a colour network even if nothing is deformed")
    network.add_argument("--no-network", dest="network", action="store_false", help="fit none, even if bodies are deformed")
    parser.add_argument("--lpips", type=_existing_file, nargs="+", metavar="FILE", help="weights for LPIPS")
    parser.add_argument("--seed", type=_whole, metavar="N", help="of everything that is drawn (default: 0)")
    parser.add_argument("--restart", action="store_true", help="do not go on from what an interrupted run left")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the numbers")
    parser.set_defaults(run=_fit_appearance)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="hold what a twin predicts beside what a capture shows",
        description="Predict the frames of a capture that a fitted asset has not seen, and judge them beside trivial predictors.",
        epilog=_COMPARE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("asset", type=_existing_folder, metavar="ASSET", help="folder that physsim fit wrote")
    parser.add_argument("capture", type=_existing_folder, metavar="CAPTURE", help="folder of the capture")
    parser.add_argument("--out", type=_output_folder, default=Path("physsim-compare"), metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--start", type=_positive, metavar="S", help="of another recording, how much tells how its motion begins [s] (default: 0.5)"
    )
    parser.add_argument("--replay", type=_existing_folder, metavar="CAPTURE", help="a recording to replay as one more predictor")
    parser.add_argument("--quiet", action="store_true", help="only the table")
    parser.set_defaults(run=_compare)


def _add_check(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "check",
        help="say what is wrong with a capture before any work",
        description="Read every frame of a capture's folder and list all that is wrong with it: file, frame and what to do; then what it "
        "holds. Exit code 0 where a fit can be made, 2 where it cannot.",
        epilog="examples:\n  physsim check my-capture\n\ndocs/capture.md describes the folder\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("path", type=_existing_folder, metavar="CAPTURE", help="folder that holds capture.json")
    parser.set_defaults(run=_check)


def _add_warmup(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "warmup",
        help="compile the kernels now",
        description="Compile the kernels into the cache, and say how long it took.",
        epilog="examples:\n  physsim warmup\n  physsim warmup --device cuda:0 --dtype float32\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--device", help="cpu, or a CUDA device such as cuda:0 (default: cpu)")
    parser.add_argument("--dtype", choices=["float32", "float64"], help="precision (default: float64)")
    parser.set_defaults(run=_warmup)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "bench",
        help="time this machine, alone or next to other engines",
        description="Time cloth, beams, gradients, touch, grasps and splats; print a table and write its rows as JSON.",
        epilog="examples:\n  physsim bench --json bench.json\n  physsim bench --case cloth --peers --json bench.json\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--case", metavar="NAME", help="only the cases whose name begins so")
    parser.add_argument("--peers", action="store_true", help="also run MuJoCo, Taichi and PyBullet where they are installed")
    parser.add_argument("--json", dest="json_path", type=_output_file, required=True, metavar="FILE", help="file for the rows")
    parser.set_defaults(run=_bench)


def _demo(name: str, **arguments: object) -> int | None:
    other = {"twin": ("fit", "heldout", "experiment", "young_start", "fit_seconds", "cells", "mass"), "beam": ("restart",)}[name]
    wrong = [option for option in other if option in arguments]
    if wrong:
        known = "beam" if name == "twin" else "twin"
        option = wrong[0].replace("_", "-")
        raise InputError(f"--{option} belongs to another demo: physsim demo {known} --{option} ...; see 'physsim demo --help'")
    return _worker({"twin": "physsim.twin.demo", "beam": "physsim.real2sim.beam"}[name])(**arguments)


def _convert(**arguments: object) -> int | None:
    return _worker("physsim.capture.convert")(**arguments)


def _grasp(**arguments: object) -> int | None:
    return _worker("physsim.grasp")(**arguments)


def _view(**arguments: object) -> int | None:
    return _worker("physsim.viewer.view")(**arguments)


def _render(**arguments: object) -> int | None:
    return _worker("physsim.viewer.film")(**arguments)


def _fit(**arguments: object) -> int | None:
    return _worker("physsim.twin.command")(**arguments)


def _fit_appearance(**arguments: object) -> int | None:
    return _worker("physsim.real2sim.appearance")(**arguments)


def _compare(**arguments: object) -> int | None:
    return _worker("physsim.twin.compare")(**arguments)


def _check(**arguments: object) -> int | None:
    return _worker("physsim.capture.command")(**arguments)


def _warmup(**arguments: object) -> int | None:
    return _worker("physsim.warmup")(**arguments)


def _bench(**arguments: object) -> int | None:
    return _worker("physsim.bench")(**arguments)


def _worker(module: str) -> Callable[..., int | None]:
    return import_module(module).main


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command ``physsim`` with all its subcommands."""
    parser = _Parser(
        prog="physsim",
        description="Differentiable soft-body physics: from a recording of a real thing to a material that predicts the next one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"physsim {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    capture = (_add_convert, _add_check, _add_fit, _add_compare)
    for add in (_add_demo, *capture, _add_grasp, _add_view, _add_render, _add_fit_appearance, _add_warmup, _add_bench):
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words after ``physsim``; those of this process if left out

    Returns:
        Exit code: 0 for success, 2 for input that cannot be used, 130 when interrupted.
    """
    given = vars(build_parser().parse_args(arguments))
    run = given.pop("run")
    del given["command"]
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        try:
            return run(**given) or 0
        except (PhyssimError, OSError) as error:
            _say("error", error)
            return BAD_INPUT
        except KeyboardInterrupt:
            print("physsim: interrupted", file=sys.stderr)
            return INTERRUPTED


def _say_warning(message: Warning | str, *_: object) -> None:
    """Takes the place of `warnings.showwarning`, which tells a file and a line that mean nothing to who types commands."""
    _say("warning", message)


def _say(kind: str, told: object) -> None:
    print(f"physsim: {kind}: {' '.join(str(told).split())}", file=sys.stderr)
