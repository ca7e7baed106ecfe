"""The viewer's server: on this machine only, deaf to strangers and to rubbish, quiet."""

import contextlib
import socket
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra 'view' is not installed")

import msgspec
import viser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import physsim as ps
from physsim import InputError
from physsim.appearance.run import Run, RunBody
from physsim.viewer import server as local
from physsim.viewer.app import Viewer
from physsim.viewer.live import LiveSimulation
from physsim.viewer.server import HOST, free_port, start_server, stop_server
from physsim.viewer.subject import subject

PROTOCOL = f"viser-v{viser.__version__}"


@pytest.fixture
def served():
    server = start_server()
    yield server
    stop_server(server)


def client(port, origin=None):
    return connect(f"ws://{HOST}:{port}", subprotocols=[PROTOCOL], origin=origin, open_timeout=20, max_size=None)


def answers(port):
    """Whether the server greets a client."""
    with client(port, f"http://{HOST}:{port}") as page:
        return len(page.recv(timeout=20)) > 0


def test_nothing_but_this_machine_can_reach_it(served):
    port = served.get_port()
    assert served.get_host() == HOST == "127.0.0.1"
    # a server on all interfaces would answer at, and occupy, every address of the loopback network
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))


def test_a_tunnel_is_refused_to_a_client_that_asks(served, monkeypatch):
    opened = []
    monkeypatch.setattr(viser._viser, "ViserTunnel", lambda *a: opened.append(a))
    port = served.get_port()
    with client(port) as page:
        page.send(msgspec.msgpack.encode({"type": "ShareUrlRequest"}))
        page.recv(timeout=20)
    assert answers(port)
    assert served.request_share_url() is None
    assert opened == []


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_a_page_of_another_origin_is_turned_away(served, origin):
    with client(served.get_port(), origin) as page, pytest.raises(ConnectionClosed, match="only pages of this server"):
        while True:
            page.recv(timeout=20)
    assert answers(served.get_port())


RUBBISH = [
    b"",
    b"\x00\xff\x00\xff" * 1000,
    "a text instead of bytes",
    msgspec.msgpack.encode([1, 2, 3]),
    msgspec.msgpack.encode({"type": "NoSuchMessage"}),
    msgspec.msgpack.encode({"type": ["GuiUpdateMessage"]}),
    msgspec.msgpack.encode({"type": "GuiUpdateMessage", "uuid": "x", "updates": {"value": "rubbish"}}),
    msgspec.msgpack.encode({"type": "ViewerCameraMessage", "wxyz": "no", "position": None}),
    msgspec.msgpack.encode({"type": "SceneNodeDragMessage"}),
]


@pytest.mark.parametrize("sent", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_ends_its_own_connection_at_most_and_prints_nothing(served, sent, capfd):
    port = served.get_port()
    with client(port) as page:
        page.send(sent)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            while True:
                page.recv(timeout=1.0)
    assert answers(port)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_rubbish_without_any_protocol_does_not_end_it(served, capfd):
    port = served.get_port()
    for sent in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"\r\n" * 1000, b"x" * 100_000):
        with socket.create_connection((HOST, port), timeout=10) as raw:
            raw.sendall(sent)
    assert answers(port)
    assert "Traceback" not in "".join(capfd.readouterr())


def until(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_values_that_no_control_has_do_not_stop_the_viewer(sliding):
    with Viewer(sliding) as viewer:

        def send(handle, value):
            message = {"type": "GuiUpdateMessage", "uuid": handle._impl.uuid, "updates": {"value": value}}
            with client(viewer.server.get_port()) as page:
                page.send(msgspec.msgpack.encode(message))
                page.recv(timeout=20)

        send(viewer._mode, "teapot")
        send(viewer._speed, "fast")
        until(lambda: (viewer._mode.value, viewer._speed.value) == ("teapot", "fast"))
        viewer.play()
        until(lambda: viewer.frame > 2)
        send(viewer._slider, None)
        send(viewer._slider, 10**18)
        until(lambda: viewer.frame == len(sliding) - 1)
        viewer.go_to(3)
        assert viewer.frame == 3
        assert viewer._failure is None
        assert viewer._thread.is_alive()


def test_a_taken_port_is_said_where_it_was_asked_for_and_passed_over_where_not():
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {taken} is taken"):
            start_server(port=taken)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first = free_port()
        other.bind((HOST, first))
        other.listen()
        assert free_port() > first
    for port in (0, -1, 70_000):
        with pytest.raises(InputError, match=r"must lie in 1\.\.65535"):
            free_port(port)


def test_where_no_port_is_free_it_is_said(monkeypatch):
    monkeypatch.setattr(local, "TRIES", 0)
    with pytest.raises(InputError, match="no port from"):
        free_port()


def test_it_starts_and_ends_without_a_word(capfd):
    server = start_server()
    port = server.get_port()
    stop_server(server)
    assert "".join(capfd.readouterr()) == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, port), timeout=5)


def test_without_viser_the_remedy_is_said(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match=r"pip install 'physsim\[view\]'"):
        start_server()


def test_splats_that_cannot_be_bound_are_said_at_the_start(asset):
    far = replace(asset, splats=asset.splats.transformed(translation=(9.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="lie outside the body"):
        Viewer(subject(far))


def test_a_material_that_does_not_fit_is_said_on_the_page_and_does_not_end_it():
    mesh = ps.box_mesh((1, 1, 1), (1, 1, 1))
    run = Run.of_parts([0.0], [RunBody("block", mesh, ps.Shell(stretch=1.0, area_density=1.0))], [mesh.points[None]])
    with Viewer(run) as viewer:
        viewer._simulate.value = True
        viewer._toggle()
        until(lambda: viewer._simulate.disabled)
        until(lambda: "No simulation" in viewer._status.content)
        assert viewer.live is None
        assert viewer._thread.is_alive()


def test_a_recording_is_played_scrubbed_and_cannot_be_simulated_without_a_material(sliding):
    with Viewer(sliding) as viewer:
        viewer.go_to(12)
        assert np.array_equal(viewer.positions()[0], sliding.positions(12)[0])
        viewer.go_to(999)
        assert viewer.frame == len(sliding) - 1
        with pytest.raises(InputError, match="the material of 'block' is not recorded"):
            viewer.simulate()
        assert viewer._simulate.disabled
        viewer.play()  # from the end it begins anew
        assert viewer.frame == 0
        until(lambda: viewer.frame == len(sliding) - 1)


def test_what_ends_a_simulation_is_raised_to_who_waits(standing, monkeypatch):
    monkeypatch.setattr(LiveSimulation, "_advance", lambda *_: 1 / 0)
    with Viewer(standing) as viewer:
        viewer.simulate()
        with pytest.raises(ZeroDivisionError):
            viewer.wait()
