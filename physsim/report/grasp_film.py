"""Pictures of a grasp: the gripper and the object from near by, and the whole robot in each phase."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.appearance.camera import Camera
from physsim.report.grasp_record import GraspRecord, LinkMesh
from physsim.report.render import LIGHT, Dots, Renderer, Solid
from physsim.report.video import write_video

OBJECT, CONTACT = "#d08a4e", "#e11d48"
ASIDE = np.radians(28.0)  # how far the camera stands aside, so that depth shows
FILM_SIZE = (960, 540)  # [pixel]
STILL_SIZE = (480, 360)
NEAR = 1.5  # times its size: how near a link must be to the object for the close pictures to follow it
FINEST = 0.0015  # cells that a link's points are merged in are at least this wide [m]


def write_film(path: str | PathLike[str], record: GraspRecord, fps: float = 30.0) -> Path:
    """Draw the gripper and the object, a picture a frame of the record.

    Args:
        path: .mp4 file
        record: what happened
        fps: frames a second

    Returns:
        What was written: the video, or a strip of stills where no encoder is found.
    """
    return write_video(path, close_frames(record), fps)


def close_frames(record: GraspRecord) -> Iterator[Image.Image]:
    """Pictures of gripper and object, one for each of the record's `frame_times`."""
    camera = close_camera(record)
    low, high, label = _stress_range(record)
    renderer = Renderer(camera, ground=record.ground, scalar_range=(low, high), scalar_label=label)
    for i, time in enumerate(record.frame_times):
        k = min(int(np.searchsorted(record.times, time)), len(record.times) - 1)
        forces = " and ".join(f"{force:.2f}" for force in record.finger_forces[k])
        note = f"{record.phase_at(time)}\nfingers press with {forces} N\nobject {round(1e3 * record.heights[k])} mm up"
        dots = [Dots(record.contact_points[i], CONTACT, radius=2.5)] if record.contact_points and len(record.contact_points[i]) else []
        yield renderer.frame(solids(record, i), dots, f"{record.robot}, {record.object_name}: {time:.2f} s", note)


def close_camera(record: GraspRecord) -> Camera:
    """From where gripper and object are seen from near by."""
    direction, (width, height) = viewing_direction(record), FILM_SIZE
    return Camera.around(_near_points(record), direction, width=width, height=height, margin=1.15, angle=24.0)


def phase_stills(record: GraspRecord, columns: int = 4) -> Image.Image:
    """One picture of the whole robot near the end of every phase, in rows."""
    wanted = [(name, end) for name, _, end in record.phases] or [("", record.frame_times[-1])]
    chosen = [(name, int(np.argmin(np.abs(record.frame_times - end)))) for name, end in wanted]
    shown = np.concatenate([_placed(record, link, i) for _, i in chosen for link in range(len(record.links))])
    points = np.concatenate([shown, record.object_points.reshape(-1, 3)])
    direction, (width, height) = (*viewing_direction(record)[:2], 0.35), STILL_SIZE
    camera = Camera.around(points, direction, width=width, height=height, margin=1.12)
    low, high, _ = _stress_range(record)
    renderer = Renderer(camera, ground=record.ground, scalar_range=(low, high))
    pictures = [renderer.frame(solids(record, i), caption=name, note=f"{record.frame_times[i]:.1f} s") for name, i in chosen]
    columns = min(columns, len(pictures))
    sheet = Image.new("RGB", (columns * STILL_SIZE[0], -(-len(pictures) // columns) * STILL_SIZE[1]), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * STILL_SIZE[0], number // columns * STILL_SIZE[1]))
    return sheet


def solids(record: GraspRecord, frame: int) -> list[Solid]:
    """Robot and object of one picture."""
    drawn = [Solid(_placed(record, i, frame), link.triangles, colour=link.colour, creases=False) for i, link in enumerate(record.links)]
    stress = None if record.object_stress is None else record.object_stress[frame]
    points, triangles = record.object_points[frame], record.object_triangles
    drawn.append(Solid(points, triangles, colour=OBJECT, scalar=stress, two_sided=record.two_sided, mesh_lines=True))
    return drawn


def viewing_direction(record: GraspRecord) -> np.ndarray:
    """From the scene to the camera: across the line between the two outermost gripper links, on the side away from the robot's foot."""
    numbers = _gripper_numbers(record)
    frame = len(record.frame_times) // 2
    centres = np.array([_placed(record, i, frame).mean(axis=0) for i in numbers])
    target = record.object_points[0].mean(axis=0)
    foot = _placed(record, 0, 0).mean(axis=0) if record.links else target
    away = target[:2] - foot[:2]
    away = away / np.linalg.norm(away) if np.linalg.norm(away) > 1e-6 else np.array([0.0, -1.0])
    spread = centres[:, None, :2] - centres[None, :, :2] if len(centres) else np.zeros((1, 1, 2))
    widest = spread.reshape(-1, 2)[np.argmax((spread**2).sum(axis=-1))]
    if np.linalg.norm(widest) < 1e-6:
        across = away
    else:
        across = np.array([-widest[1], widest[0]]) / np.linalg.norm(widest)
        across = across if across @ away >= 0 else -across
    cosine, sine = np.cos(ASIDE), np.sin(ASIDE)
    both = np.array([[cosine * across[0] - side * across[1], side * across[0] + cosine * across[1]] for side in (sine, -sine)])
    return np.array([*both[np.argmax(both @ LIGHT[:2])], 0.32])  # from the side that the light falls on


def coarse_link(name: str, points: np.ndarray, triangles: np.ndarray, colour: str = "#d7dce3", cells: int = 20) -> LinkMesh:
    """A link's mesh with points merged that lie in one cell of a grid, so that drawing it is quick.

    Args:
        name: of the link
        points: in the link's frame [m], shape [n, 3]
        triangles: outward, shape [t, 3]
        colour: such as ``#d7dce3``
        cells: of the grid along the link's longest side

    Returns:
        The mesh; triangles that became lines are gone.
    """
    points, triangles = np.asarray(points, dtype=float), np.asarray(triangles)
    width = max(np.ptp(points, axis=0).max() / cells, FINEST)
    _, cell = np.unique(np.floor(points / width).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    count = np.bincount(cell)
    merged = np.stack([np.bincount(cell, points[:, i]) / count for i in range(3)], axis=1)
    triangles = cell[triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    return LinkMesh(name, merged, triangles, colour)


def _placed(record: GraspRecord, link: int, frame: int) -> np.ndarray:
    """Points of a link in the world."""
    w, *v = record.link_quaternions[frame, link]
    points = record.links[link].points
    turned = points + 2.0 * np.cross(v, np.cross(v, points) + w * points)
    return turned + record.link_positions[frame, link]


def _gripper_numbers(record: GraspRecord) -> list[int]:
    return [i for i, link in enumerate(record.links) if link.name in record.gripper] or list(range(len(record.links)))


def _near_points(record: GraspRecord) -> np.ndarray:
    """What the close pictures must show: the object in all frames, the gripper's links while they are near it."""
    shown = [record.object_points.reshape(-1, 3)]
    for i in _gripper_numbers(record) if record.links else []:
        size = np.ptp(record.links[i].points, axis=0).max()
        for frame in np.unique(np.linspace(0, len(record.frame_times) - 1, 12).astype(int)):
            placed = _placed(record, i, frame)
            if np.linalg.norm(placed.mean(axis=0) - record.object_points[frame].mean(axis=0)) < NEAR * size:
                shown.append(placed)
    return np.concatenate(shown)


def _stress_range(record: GraspRecord) -> tuple[float, float, str]:
    """Ends and label of the colours."""
    if record.object_stress is None:
        return 0.0, 1.0, ""
    high = float(np.quantile(record.object_stress, 0.998))
    return 0.0, float(f"{high:.2g}") if high > 0.0 else 1.0, "von Mises stress [Pa]"
