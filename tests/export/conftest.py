from tests.test_every_kind import root  # noqa: F401 - a fixture
