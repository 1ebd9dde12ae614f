"""`wgan` in processes of its own, without the seconds of importing torch in each.

`program()` is an executable that behaves like `wgan`: exit code, output, signals. It passes its command on to a
server that has imported everything, and the server forks a process which executes the command. Not for tests of the
start itself, nor of SIGKILL: the executable passes on only signals that can be caught.
"""

import atexit
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
command = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(command).to_bytes(4, "little")], [0, 1, 2])
server.sendall(command)
process = int.from_bytes(server.recv(4), "little")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: os.kill(process, number))
code = server.recv(1)
sys.exit(code[0] if code else 137)  # without a code, the process was killed
"""


@functools.cache
def program() -> Path:
    """The executable. The first call starts the server, which ends with the process that called."""
    folder = Path(tempfile.mkdtemp())
    address, client = folder / "socket", folder / "wgan"
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.wgan_server", str(listener.fileno())],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )

    def end() -> None:
        server.communicate()  # closes its stdin
        shutil.rmtree(folder)

    atexit.register(end)
    return client


def serve(listener: socket.socket) -> None:
    """Forks a process for each command, until stdin is closed."""
    import torch._dynamo  # the first optimizer imports it
    import torch.utils.tensorboard  # noqa: F401

    import wgan_cli.training.loop  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends pytest, and so this process
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                _execute(connection)


def _execute(connection: socket.socket) -> None:
    """Executes one command in this process, and sends its exit code."""
    from wgan_cli.cli import main

    header, files, _, _ = socket.recv_fds(connection, 4, 3)
    length, content = int.from_bytes(header, "little"), b""
    while len(content) < length:
        content += connection.recv(length - len(content))
    arguments, folder, environment = json.loads(content)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ |= environment
    sys.argv = ["wgan", *arguments]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection.sendall(os.getpid().to_bytes(4, "little"))
    code = 1
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001  # as Python itself would print it
        traceback.print_exc()
    sys.stdout.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
