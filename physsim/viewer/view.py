"""The worker of `physsim view`: a run or an asset in the browser until Ctrl-C."""

import contextlib
import sys
import webbrowser

from physsim.viewer.subject import subject


def view(thing, *, port=None, browser=True, hold="auto"):
    """Show a run or an asset on a page that only this machine can open; returns at Ctrl-C.

    Args:
        thing: Run, Asset, or the folder of either.
        port: of http://127.0.0.1; None: the first free one from 8080 on.
        browser: whether the page is opened in the browser.
        hold: what of an asset stays in place while it is pulled at: its "bottom" or "top", "none", or "auto": the bottom of solids, the top
            of what hangs (sheets, nets), the first end of a rod. A run says itself what was held.

    Raises:
        InputError: something else, another `hold`, a damaged folder, viser is not installed, the port is taken.
    """
    from physsim.viewer.app import Viewer

    run = subject(thing, hold)
    with contextlib.suppress(KeyboardInterrupt), Viewer(run, port=port) as viewer:
        print(f"{viewer.url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        if browser:
            webbrowser.open(viewer.url)
        viewer.wait()


def main(*, path, port=None, browser=True, hold="auto"):
    """The command `physsim view`; see `view`.

    Returns:
        Exit code 0.
    """
    view(path, port=port, browser=browser, hold=hold)
    return 0
