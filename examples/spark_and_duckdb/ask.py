"""The same questions, in the same SQL, to DuckDB and to Spark, and to the store itself: python ask.py duckdb spark"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tachograph

# Only the files of that day are opened, and of these only the row groups in which such points can be.
POINTS = "SELECT count(*), max(step) FROM metrics WHERE date = DATE '{day}' AND name = 'loss'"
BEST = """
    SELECT id, params['learning_rate_init'], metrics['score_X_test'] FROM runs
    WHERE date = DATE '{day}' AND metrics['score_X_test'] IS NOT NULL ORDER BY metrics['score_X_test'] DESC, id LIMIT 1
"""
CURVE = """
    SELECT params['learning_rate_init'], step, count(*), avg(value)
    FROM metrics JOIN runs ON runs.id = metrics.run AND runs.date = metrics.date
    WHERE metrics.date = DATE '{day}' AND metrics.name = 'loss' GROUP BY 1, 2 ORDER BY 1, 2
"""
Rows = list[tuple[Any, ...]]


def duckdb(tables: Path) -> Callable[[str], Rows]:
    """What answers in DuckDB."""
    import duckdb

    for table in ("metrics", "runs"):
        duckdb.sql(
            f"CREATE VIEW {table} AS FROM read_parquet('{tables}/{table}/*/*.parquet', hive_partitioning = true)"
        )
    return lambda sql: duckdb.sql(sql).fetchall()


def spark(tables: Path) -> Callable[[str], Rows]:
    """What answers in Spark, with one thread and little memory. It ends with this program."""
    from pyspark.sql import SparkSession

    settings = {
        "driver.memory": "512m",
        "driver.host": "127.0.0.1",
        "sql.shuffle.partitions": "2",
        "ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in {**settings, "sql.session.timeZone": "UTC", "ui.showConsoleProgress": "false"}.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    for table in ("metrics", "runs"):
        session.read.parquet(f"{tables}/{table}").createOrReplaceTempView(table)
    return lambda sql: [tuple(row) for row in session.sql(sql).collect()]


def store(tables: Path) -> Callable[[str], Rows]:
    """What answers from the journals."""
    runs = tachograph.open_store(tables.parent).runs(experiment="digits", where="metrics.score_X_test is not null")

    def points() -> Rows:
        steps = [run.history("loss").steps for run in runs]
        return [(sum(map(len, steps)), int(max(map(max, steps))))]

    def best() -> Rows:
        run = min(runs, key=lambda run: (-run.metrics["score_X_test"], run.id))
        return [(run.id, str(run.params["learning_rate_init"]), run.metrics["score_X_test"])]

    def curve() -> Rows:
        rates = sorted({run.params["learning_rate_init"] for run in runs})
        found = []
        for rate in rates:
            curves = [run.history("loss").values for run in runs if run.params["learning_rate_init"] == rate]
            means = np.mean(curves, axis=0).tolist()
            found += [(str(rate), step, len(curves), mean) for step, mean in enumerate(means)]
        return found

    return lambda sql: {POINTS: points, BEST: best, CURVE: curve}[sql]()


def same(one: Rows, other: Rows) -> bool:
    """Whether two answers are equal, sums of floats but for the order of adding."""
    return len(one) == len(other) and all(
        a == b or (isinstance(a, float) and np.isclose(a, b, rtol=1e-12))
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


# What a plan says where files are left out because of their day, without a look into them.
LEFT_OUT = {"duckdb": "File Filters", "spark": "PartitionFilters: [isnotnull(date"}

if __name__ == "__main__":
    tables = tachograph.open_store().root / "tables"
    day = max(path.name for path in (tables / "runs").iterdir()).removeprefix("date=")
    expected = store(tables)
    for name in sys.argv[1:] or ["duckdb"]:
        answer = {"duckdb": duckdb, "spark": spark}[name](tables)
        for sql in (POINTS, BEST, CURVE):
            rows = answer(sql.format(day=day))
            print(name, *rows, sep="\n    ")
            if not same(rows, expected(sql)):
                sys.exit(f"the store says otherwise: {expected(sql)}")
        if LEFT_OUT[name] not in str(answer("EXPLAIN " + POINTS.format(day="2000-01-01"))):
            sys.exit(f"{name} looks into the files of all days")
    print("the store says the same")
