"""No command asks the network for anything."""

# Every way out of the machine, and every look-up of a name.
CLOSED = """
import socket

def refuse(*args, **options):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.gethostbyname = refuse
"""


def test_no_command_asks_the_network(server, tmp_path, iris):
    commands = [
        ["fit", iris, "-o", "run", "-s", "train.epochs=2"],
        ["score", iris, "-m", "run", "-o", "scores.csv"],
        ["sample", "--n", 5, "-m", "run", "-o", "samples.csv"],
        ["encode", iris, "-m", "run", "-o", "latents.csv"],
        ["decode", "latents.csv", "-m", "run"],
        ["show", "run"],
        ["transforms"],
        ["init", iris],
        ["config", "list"],
    ]
    for args in commands:
        done = server.run(*args, cwd=tmp_path, before=CLOSED)
        assert done.status == 0, (args, done.err)
