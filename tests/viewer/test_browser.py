"""The page in headless Chromium: bodies are where they should be, a drag moves them, nothing is wrong, nothing is fetched elsewhere."""

import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

import physsim as ps
from physsim.appearance.asset import Asset
from physsim.appearance.camera import Camera
from physsim.appearance.run import Run, RunBody
from physsim.appearance.sources import splats_from_mesh
from physsim.physics.frames import rotation_matrix
from physsim.viewer.app import Viewer
from physsim.viewer.subject import subject

pytest.importorskip("viser", reason="the extra 'view' is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (apt install chromium)")

SIZE = (1100, 560)
SOFT = 0.85  # share of common pixels that is asked of splats, whose rims are soft
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# viser's page says the first of its own handlers at every drag, the second where a pointer meets its splats, and goes on
KNOWN = ("Unable to preventDefault inside passive event listener", "THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN")


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield browser
        browser.close()


class Page:
    """A viewer's page: what it looks like, what it complains of, what it fetches."""

    def __init__(self, chromium, viewer):
        self.viewer, self.errors, self.asked = viewer, [], []
        self.page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" and not m.text.startswith(KNOWN) else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        viewer.server.scene.configure_default_lights(cast_shadow=False)  # shadows take seconds a picture without a graphics card
        self.page.goto(viewer.url)
        self.until(lambda: viewer.server.get_clients(), "the page never connected")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.page.close()

    def until(self, condition, complaint, seconds=60.0):
        """What a condition gives once it is true; the page's events are handled meanwhile."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"{complaint}; the page said {self.errors}"
            self.page.wait_for_timeout(100)
        return found

    def camera(self):
        """Where the page looks from."""
        (client,) = self.viewer.server.get_clients().values()
        seen = client.camera
        turn = rotation_matrix(seen.wxyz).T
        focal = 0.5 * SIZE[1] / np.tan(seen.fov / 2)
        return Camera(*SIZE, (focal, focal), rotation=turn, translation=-turn @ seen.position)

    def expected(self):
        """Pixels that the first body should cover, by its positions in this process, shape [h, w]."""
        skin, camera = self.viewer.stage.skins[0], self.camera()
        pixels, _ = camera.project(skin.points(self.viewer.positions()[0]))
        mask = Image.new("1", SIZE)
        pen = ImageDraw.Draw(mask)
        for corners in np.asarray(pixels)[skin.triangles].reshape(-1, 6).tolist():
            pen.polygon(corners, fill=1)
        return np.array(mask)

    def picture(self):
        """A screenshot, shape [h, w, 3]."""
        return np.array(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(int)

    def agrees(self, covered, least=0.93):
        """Whether the pixels that `covered` finds in a screenshot are those that the body should cover, where no panel lies over it."""
        expected = self.expected()
        clear = np.zeros_like(expected)
        clear[:, 330 : SIZE[0] - 340] = True
        if not expected[clear].sum() > 0.9 * expected.sum() > 1000:  # the page begins elsewhere and is then told its view
            return False
        seen = covered(self.picture()) & clear
        return (seen & expected).sum() / max((seen | (expected & clear)).sum(), 1) > least

    def drag(self, place, way):
        """Press at a position of the world [m], and move the pointer by so many pixels to the right; the button stays down."""
        (x, y) = np.asarray(self.camera().project(np.array([place]))[0])[0].tolist()
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for step in range(1, 9):
            self.page.mouse.move(x + way * step / 8, y)
            self.page.wait_for_timeout(30)

    def complaints(self):
        """Errors of the page's console, and addresses other than this machine's."""
        return self.errors + [url for url in self.asked if not url.startswith((self.viewer.url, f"blob:{self.viewer.url}", "data:"))]


def red(picture):
    """Pixels of the body's own colour in any light."""
    return (picture[..., 0] - picture[..., 2] > 40) & (picture[..., 0] - picture[..., 1] > 40)


def coloured(picture):
    """Pixels that are no shade of grey, as the floor and the background are."""
    return np.ptp(picture, axis=-1) > 25


def test_a_body_is_seen_where_it_is_and_follows_a_drag(chromium, standing):
    with Viewer(standing) as viewer, Page(chromium, viewer) as page:
        page.until(lambda: page.agrees(red), "the body is not where it should be")
        before = viewer.positions()[0].copy()
        page.drag([0.025, 0.0, 0.085], 70)
        page.until(lambda: (viewer.positions()[0] - before)[:, 0].max() > 0.008, "the drag moved nothing")
        page.until(lambda: page.agrees(red), "the moved body is not where it should be")
        viewer._mode.value = "strain"
        page.until(lambda: page.agrees(coloured), "the strained body is not where it should be")
        page.page.mouse.up()
        page.until(lambda: viewer.live.pulled is None, "the drag never ended")
        page.until(lambda: np.abs(viewer.positions()[0] - before).max() < 0.002, "the body never swung back")
        assert page.complaints() == []


def test_a_recording_is_scrubbed_by_its_slider_and_a_drag_of_it_moves_nothing(chromium, sliding):
    with Viewer(sliding) as viewer, Page(chromium, viewer) as page:
        page.until(lambda: page.agrees(red), "the body is not where it should be")
        assert page.page.get_by_text("No simulation: the material of 'block' is not recorded.").is_visible()
        page.page.get_by_role("slider").first.focus()
        for _ in range(10):
            page.page.keyboard.press("ArrowRight")
        page.until(lambda: viewer.frame == 10, "the slider moved nothing")
        page.until(lambda: page.agrees(red), "the body of the frame is not where it should be")
        page.drag(viewer.positions()[0].mean(axis=0), 40)
        page.page.mouse.up()
        assert viewer.live is None
        page.page.get_by_text("Play").click()
        page.until(lambda: viewer.frame == len(sliding) - 1, "it does not play to its end")
        assert page.complaints() == []


def test_a_name_from_a_file_is_no_script(chromium):
    mesh = ps.box_mesh((1, 1, 1), (1, 1, 1))
    name = "<img src='http://127.0.0.1:9/x.png'> ![x](http://127.0.0.1:9/y.png) {window.bad = 1} <script>window.bad = 1</script>"
    run = Run.of_parts([0.0], [RunBody(name, mesh)], [mesh.points[None]])
    with Viewer(run) as viewer, Page(chromium, viewer) as page:
        page.page.get_by_text("No simulation: the material of").wait_for(timeout=30_000)
        assert page.page.evaluate("window.bad") is None
        assert page.complaints() == []


def test_splats_are_seen_where_the_body_is_and_can_be_dragged(chromium, asset):
    with Viewer(subject(asset)) as viewer, Page(chromium, viewer) as page:
        page.until(lambda: page.agrees(coloured, SOFT), "the splats are not where the body is")
        picture, inside = page.picture(), page.expected()
        front = inside & (picture[..., 0] > picture[..., 1] + 60)
        side = inside & (picture[..., 1] > picture[..., 0] + 60)
        assert min(front.sum(), side.sum()) > 0.2 * inside.sum()  # red in front, green beside it
        assert np.nonzero(front)[1].mean() < np.nonzero(side)[1].mean()
        before = viewer.positions()[0].copy()
        page.drag([0.025, 0.0, 0.085], 70)
        page.until(lambda: (viewer.positions()[0] - before)[:, 0].max() > 0.008, "the drag moved nothing")
        page.until(lambda: page.agrees(coloured, SOFT), "the splats did not move with the body")
        assert page.complaints() == []


def test_splats_much_smaller_than_a_pixel_are_seen_from_near_and_far(chromium):
    curve = ps.Curve.straight((-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), 20)
    splats = splats_from_mesh(curve, 3000, radius=0.001, width=0.0007, colours=(0.9, 0.1, 0.1))
    rope = Asset("rope", curve, ps.Rod(young=1e6, radius=0.001, density=1100.0), splats)
    with Viewer(subject(rope)) as viewer, Page(chromium, viewer) as page:
        assert viewer._pixel > 2 * splats.scales.max()
        line = np.linspace([-0.45, 0.0, 0.0], [0.45, 0.0, 0.0], 60)

        def seen():
            right, down = np.asarray(page.camera().project(line)[0]).round().astype(int).T
            clear = (right > 330) & (right < SIZE[0] - 340)
            found, picture = [], red(page.picture())
            for x, y in zip(right[clear], down[clear], strict=True):
                found.append(picture[max(y - 2, 0) : y + 3, x - 2 : x + 3].any())
            return len(found) > 20 and np.mean(found) > 0.95

        page.until(seen, "the rope is not seen")
        (client,) = viewer.server.get_clients().values()
        client.camera.position = 4.0 * client.camera.position
        page.until(seen, "the rope is not seen from further away")
        assert page.complaints() == []
