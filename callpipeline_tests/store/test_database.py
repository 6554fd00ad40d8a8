from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from callpipeline.failures import NotConfigured
from callpipeline.store.database import SqliteFile
from callpipeline_tests.store.conftest import Start

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY)"
MORE = f"{SCHEMA}; CREATE TABLE IF NOT EXISTS others (name TEXT)"


def names(file: SqliteFile) -> list[str]:
    with file.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY 1")]


def add(file: SqliteFile, name: str) -> None:
    with file.changing() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "things.sqlite"


def test_a_change_that_fails_leaves_nothing(path: Path) -> None:
    file = SqliteFile(path, SCHEMA)
    add(file, "a")
    with pytest.raises(sqlite3.IntegrityError), file.changing() as connection:
        connection.executemany("INSERT INTO things VALUES (?)", [("b",), ("a",)])
    assert names(file) == ["a"]


def test_a_child_that_was_forked_with_an_open_file_writes_through_its_own(path: Path) -> None:
    file = SqliteFile(path, SCHEMA)
    add(file, "parent")
    child = os.fork()
    if child == 0:
        try:
            add(file, "child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    add(file, "parent again")
    assert names(file) == ["child", "parent", "parent again"]


def test_a_higher_version_adds_its_tables_and_a_lower_one_refuses(path: Path) -> None:
    old = SqliteFile(path, SCHEMA)
    add(old, "kept")
    old.close()
    new = SqliteFile(path, MORE, version=2)
    assert names(new) == ["kept"]
    with new.changing() as connection:
        connection.execute("INSERT INTO others VALUES ('x')")
    with pytest.raises(NotConfigured, match="newer callpipeline"):
        names(SqliteFile(path, SCHEMA))


def test_a_file_from_before_there_were_versions_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute(SCHEMA)
        connection.execute("INSERT INTO things VALUES ('kept')")
    connection.close()
    assert names(SqliteFile(path, SCHEMA)) == ["kept"]


def test_a_damaged_file_says_what_to_do_with_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(NotConfigured, match=r"things\.sqlite is damaged.*Bring it to the bin"):
        names(SqliteFile(path, SCHEMA, if_damaged="Bring it to the bin."))


ADDER = """
import sys
from pathlib import Path
from callpipeline.store.database import SqliteFile
file = SqliteFile(Path(sys.argv[1]), sys.argv[2])
for n in range(20):
    with file.changing() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (f"{sys.argv[3]} {n}",))
"""


def test_processes_that_make_the_file_together_all_get_their_rows_in(path: Path, start: Start) -> None:
    processes: list[subprocess.Popen[str]] = [start(ADDER, path, SCHEMA, str(n)) for n in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(names(SqliteFile(path, SCHEMA))) == 80
