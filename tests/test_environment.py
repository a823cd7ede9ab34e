"""Places where a program is run: no terminal, closed or full streams, other locales, nowhere to write, few files."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import draw, draw_folder

MODEL = ("--model", "models/tiny")
SAMPLE = ("sample", "--n", "1", *MODEL)


@pytest.fixture(autouse=True)
def model(tiny_model):
    return tiny_model


def latentcli(*arguments, env=None, shell="", **options):
    """The command line in a process of its own; `shell` is what follows the command, such as a redirection."""
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    command = f"{sys.executable} -m latentcli {quoted} {shell}"
    result = subprocess.run(
        ["bash", "-c", command], env=os.environ | (env or {}), capture_output=True, check=False, **options
    )
    assert b"Traceback" not in result.stderr
    return result


def test_without_a_terminal_there_are_plain_lines():
    result = latentcli(*SAMPLE, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (0, b"samples-0.png\n")
    assert b"\x1b" not in result.stderr


@pytest.mark.parametrize(
    "command", [("--help",), ("--version",), ("models",), ("vectors", "list", "--json", *MODEL), SAMPLE]
)
@pytest.mark.parametrize("shell", ["> /dev/full", ">&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_a_full_or_closed_output_is_one_line_and_exit_code_1(command, shell):
    result = latentcli(*command, shell=shell)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) <= (3 if "2>&-" not in shell else 0)


def test_a_closed_error_stream_is_no_error():
    assert latentcli(*SAMPLE, shell="2>&-").returncode == 0


@pytest.mark.parametrize(
    "env",
    [
        {"NO_COLOR": "1"},
        {"TERM": "dumb"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "XDG_DATA_HOME": "/nonexistent"},
        {"HOME": "", "XDG_CACHE_HOME": "", "XDG_DATA_HOME": ""},
    ],
)
def test_samples_come_out_anywhere(env):
    result = latentcli(*SAMPLE, env=env)
    assert result.returncode == 0
    assert b"\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_a_folder_whose_name_is_no_text_can_be_trained_on(utf8, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x99\x82")
    draw_folder(folder, 12)
    env = {"LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    options = ("--epochs", "1", "--size", "16", "--latent-dim", "3", "--precision", "fp32", "--name", "m")
    command = [sys.executable, "-m", "latentcli", "train", folder, *options]
    result = subprocess.run(command, env=os.environ | env, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert Path("models/m/README.md").exists()
    assert Path("models/m/report.html").exists()
    assert latentcli("models", env=env).returncode == 0
    assert latentcli("report", "--model", "m", "--force", env=env).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path):
    tmp_path.chmod(0o555)
    result = latentcli(*SAMPLE)
    tmp_path.chmod(0o755)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


def test_32_open_files_are_enough(tmp_path):
    draw_folder(tmp_path / "d", 60)

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    assert latentcli("encode", "d", *MODEL, preexec_fn=few).returncode == 0
    assert latentcli("decode", "d.latents.safetensors", *MODEL, preexec_fn=few).returncode == 0


def test_files_have_the_mode_that_was_asked_for():
    assert latentcli(*SAMPLE, preexec_fn=lambda: os.umask(0o077)).returncode == 0
    assert stat.S_IMODE(os.stat("samples-0.png").st_mode) == 0o600


def test_a_clock_that_was_set_back_is_no_error(tmp_path):
    draw((40, 40), seed=1).save("a.png")
    for path in (Path("a.png"), Path("models/tiny/model.safetensors")):
        os.utime(path, (4e9, 4e9))  # in 2096
    assert latentcli("encode", "a.png", *MODEL).returncode == 0


def test_two_programs_in_one_folder(tmp_path):
    commands = [[sys.executable, "-m", "latentcli", "sample", "--n", "4", *MODEL] for _ in range(3)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    ended = [process.communicate() for process in running]
    assert all(process.returncode == 0 for process in running), ended
    assert all(Path(out.decode().strip()).stat().st_size > 100 for out, _ in ended)
