"""What holds for all tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no pure test have a second chance.

    `make test` repeats a test that failed once (the closing line counts the repetitions, and each is listed): those of real
    processes, links and clocks may be late on a machine that is busy otherwise. One that asks nothing of the machine may not.
    """
    for item in items:
        if item.get_closest_marker("pure"):
            item.add_marker(pytest.mark.flaky(reruns=0))
