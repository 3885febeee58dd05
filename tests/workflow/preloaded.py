"""`python -m cae` in forks of one process that has imported everything: where many jobs do next to nothing, imports are
nearly all of their time.

python preloaded.py SOCKET    serves, in the folder that holds `cae`, until it is killed
"""

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback

# As cae/__main__.py: hands the job and its streams over, and ends as it ends.
CLIENT = """
import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({path!r})
    socket.send_fds(server, [json.dumps([sys.argv[1:], os.getcwd()]).encode()], [1, 2])
    sys.exit(server.recv(1)[0])
"""
LATE = (
    "lightning_fabric",
    "torchvision.transforms.v2",
    "segmentation_models_pytorch",
    "pycocotools.coco",
    "matplotlib.pyplot",
)


def serve(path: str) -> None:
    import cae

    for module in pkgutil.walk_packages(cae.__path__, "cae."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE:  # imported inside functions
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for forks
        while True:
            client, _ = server.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os._exit(work(client))
            client.close()


def work(client: socket.socket) -> int:
    from cae.cli import main

    told, streams, *_ = socket.recv_fds(client, 1 << 20, 2)
    arguments, folder = json.loads(told)
    for stream, mine in zip(streams, (1, 2)):
        os.dup2(stream, mine)
        os.close(stream)
    os.chdir(folder)
    status = 1
    try:
        main(arguments)
        status = 0
    except SystemExit as end:
        print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with contextlib.suppress(BrokenPipeError):
        client.send(bytes([status]))
    return status


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    serve(sys.argv[1])
