"""A viser server that only this machine can reach: bound to 127.0.0.1, without tunnels, deaf to other pages and to rubbish."""

import contextlib
import io
import logging
import socket
from urllib.parse import urlsplit

from physsim.errors import InputError

HOST = "127.0.0.1"
PORT, TRIES = 8080, 100


def free_port(port=None):
    """A port of 127.0.0.1 that nothing listens on.

    Args:
        port: the one that is wanted; None: the first free one from 8080 on.

    Raises:
        InputError: the wanted one is taken or out of range, or none of a hundred is free.
    """
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"port = {port}: must lie in 1..65535")
    for tried in [port] if port is not None else range(PORT, PORT + TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, tried))
                return tried
    if port is not None:
        raise InputError(f"port {port} is taken, or may not be opened; give another one by --port, or none, to have a free one picked")
    raise InputError(f"no port from {PORT} to {PORT + TRIES - 1} is free; give one by --port")


def start_server(port=None, title="physsim"):
    """A running server, bound to 127.0.0.1.

    Args:
        port: None: the first free one from 8080 on.
        title: at the top of its panel.

    Raises:
        InputError: viser is not installed, or the port is taken.
    """
    try:
        import viser
    except ImportError:
        raise InputError("the viewer needs viser; install it by pip install 'physsim[view]'") from None

    class LocalServer(viser.ViserServer):
        """Refuses the tunnel to a public address that any of its clients may else ask for."""

        def request_share_url(self, verbose=True):
            return None

    port = free_port(port)
    # what a client sends wrongly is that client's affair: its connection ends, the server goes on, and nobody needs a traceback
    for name in ("websockets.server", "asyncio"):
        logging.getLogger(name).addFilter(_quiet)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a box with its address, whatever it is told
        server = LocalServer(host=HOST, port=port, label=title, verbose=False)
    if server.get_port() != port:  # another process was quicker
        taken = server.get_port()
        stop_server(server)
        raise InputError(f"port {port} was taken while the server started ({taken} would be free); try again")
    _refuse_strangers(server, port)
    server.gui.configure_theme(show_share_button=False, show_logo=False)
    return server


def stop_server(server):
    """End a server, in silence."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _quiet(record):
    """Whether a line of the log is worth printing: not those about a client that broke the rules."""
    return record.getMessage() not in ("connection handler failed", "opening handshake failed", "Task exception was never retrieved")


def _refuse_strangers(server, port):
    """End connections that a page of another origin opens: a browser lets any page speak to 127.0.0.1."""
    web = server._websock_server
    allowed = {f"{HOST}:{port}", f"localhost:{port}"}

    async def check(client):
        connection = web._live_connections[client.client_id]
        headers = connection.request.headers
        origin = headers.get("Origin")
        if headers.get("Host") not in allowed or (origin is not None and urlsplit(origin).netloc not in allowed):
            await connection.close(1008, "only pages of this server may connect")

    web._client_connect_cb.insert(0, check)
