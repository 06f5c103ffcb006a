"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached through a socket in it, no port."""

import getpass
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PATHS = os.pathsep.join([os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
INITDB = shutil.which("initdb", path=PATHS)
WHY_NOT = "no PostgreSQL; an administrator runs: apt-get install postgresql"


class Postgres:
    """A server that forgets everything when it is closed."""

    def __init__(self) -> None:
        # It refuses to run as root, and its user must reach the folder.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="lineside-pg-"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._data = self._folder / "data"
        self._run("initdb", "-D", self._data, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c max_connections=60 -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._folder / "log", "-o", options, "start")
        self.url = f"postgresql+psycopg://{self._user or getpass.getuser()}@/postgres?host={self._folder}"

    def close(self) -> None:
        """Stop it and remove all it had."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        path = shutil.which(program, path=PATHS)
        assert path is not None, WHY_NOT
        command = [path, *map(str, arguments)]
        subprocess.run(command, check=True, user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL)
