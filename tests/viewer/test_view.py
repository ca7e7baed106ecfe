"""`physsim view` from outside: it serves until Ctrl-C, ends cleanly, and says in one line what it cannot show."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import physsim as ps
from physsim import cli
from physsim.appearance.run import Run
from physsim.viewer.subject import subject

pytest.importorskip("viser", reason="the extra 'view' is not installed")


def start(*words):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "physsim", "view", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_it_serves_a_page_until_ctrl_c_and_ends_without_a_traceback(sliding, tmp_path):
    process = start(str(sliding.save(tmp_path / "run")), "--no-browser")
    try:
        line = process.stderr.readline()
        while "127.0.0.1" not in line:  # Warp may have a word about CUDA before
            assert line, process.communicate()
            line = process.stderr.readline()
        url = line.split()[0]
        with urllib.request.urlopen(url, timeout=20) as page:
            assert b"<html" in page.read()[:500].lower()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5)


def told(capsys, *words):
    code = cli.main(words)
    said = capsys.readouterr()
    return code, said.err


@pytest.mark.parametrize(
    "make", [lambda p: None, lambda p: (p / "letter.txt").write_text("dear"), lambda p: (p / "run.json").write_text("{")]
)
def test_a_folder_that_holds_neither_takes_one_line_and_exit_code_2(capsys, tmp_path, make):
    make(tmp_path)
    code, err = told(capsys, "view", str(tmp_path), "--no-browser")
    assert (code, err.count("\n")) == (2, 1)
    assert str(tmp_path) in err


def test_a_taken_port_takes_one_line_and_exit_code_2(capsys, sliding, tmp_path):
    folder = sliding.save(tmp_path / "run")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, err = told(capsys, "view", str(folder), "--no-browser", "--port", str(port))
    assert (code, err.count("\n")) == (2, 1)
    assert f"port {port} is taken" in err


def test_the_page_is_opened_unless_it_is_not_wanted(monkeypatch, sliding, capsys):
    from physsim.viewer import view as worker
    from physsim.viewer.app import Viewer

    opened = []
    monkeypatch.setattr(worker.webbrowser, "open", opened.append)
    monkeypatch.setattr(Viewer, "wait", lambda self: time.sleep(0.1))
    ps.view(sliding, browser=False)
    assert opened == []
    ps.view(sliding)
    assert opened == [capsys.readouterr().err.split()[-4]]


def test_what_ends_the_drawing_is_raised_where_it_is_waited_for(sliding, monkeypatch):
    from physsim.viewer.app import Viewer

    def fails(self):
        raise RuntimeError("no more paint")

    monkeypatch.setattr(Viewer, "_draw", fails)
    with pytest.raises(RuntimeError, match="no more paint"), Viewer(sliding) as viewer:
        viewer.wait()


def test_the_results_of_a_command_are_found_in_their_folder(sliding, tmp_path):
    sliding.save(tmp_path / "run")
    assert len(subject(tmp_path)) == len(subject(tmp_path / "run")) == len(sliding)
    assert subject(sliding) is sliding
    with pytest.raises(ps.InputError, match="a Run, an Asset or the folder of either is needed, int"):
        subject(7)
    with pytest.raises(ps.InputError, match="no such folder"):
        subject(tmp_path / "nothing")
    assert isinstance(subject(str(tmp_path)), Run)
