"""The shipped suites of stores and states, on real servers."""

import shutil

import pytest

from awaitly_nb.testing.states import StateStoreSuite
from awaitly_nb.testing.stores import StoreSuite


class _OnServer(StoreSuite):
    name = ""

    @pytest.fixture
    def open_store(self, servers, table):
        server = servers(self.name)
        return lambda: server.open(table=table).records


class TestPostgresRecords(_OnServer):
    name = "postgres"


class TestMongoRecords(_OnServer):
    name = "mongo"
    if not shutil.which("mongod"):
        gaps = {
            "test_of_many_that_write_over_one_version_one_wins": "FerretDB reads a document, then writes it: two "
            "updates may both find the old version. MongoDB's are atomic; leases do not rest on it (see resume.leases)"
        }


class TestLibsqlRecords(_OnServer):
    name = "libsql"


class TestRedisRecords(_OnServer):
    name = "redis"


class TestS3Records(_OnServer):
    name = "s3"


class TestGcsRecords(_OnServer):
    name = "gcs"


# Azure's own client hands large bodies to aiohttp in the way that aiohttp warns of.
of_azure = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


@of_azure
class TestAzureRecords(_OnServer):
    name = "azure"


class _StatesOnServer(StateStoreSuite):
    name = ""

    @pytest.fixture
    def open_store(self, servers, table):
        server = servers(self.name)
        return lambda **options: server.open(table=table, **options)


class TestStatesInPostgres(_StatesOnServer):
    name = "postgres"


class TestStatesInMongo(_StatesOnServer):
    name = "mongo"


class TestStatesInLibsql(_StatesOnServer):
    name = "libsql"


class TestStatesInRedis(_StatesOnServer):
    name = "redis"


class TestStatesInS3(_StatesOnServer):
    name = "s3"


class TestStatesInGcs(_StatesOnServer):
    name = "gcs"


@of_azure
class TestStatesInAzure(_StatesOnServer):
    name = "azure"
