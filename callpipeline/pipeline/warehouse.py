"""The warehouse of a workbench, brought up to date with its results, its catalogue, its ledger and its graph.

Roll-ups start when the catalogue changed. A paid call alone does not change it, but what it is for does in the end:
its recording becomes done or failed. Until then ``callpipeline costs`` and every export know of it.
"""

from __future__ import annotations

from callpipeline.graph import store as graphs
from callpipeline.limits.books import open_books
from callpipeline.pipeline.workbench import Workbench
from callpipeline.store import warehouse
from callpipeline.store.warehouse_graph import TABLES, GraphFiles


def refresh_warehouse(bench: Workbench) -> warehouse.WarehouseDelta:
    """Bring the warehouse up to date; see ``store.warehouse.refresh``.

    Raises:
        Busy: another process was at it all that time.
        DatabaseUnavailable: the ledger is in Postgres, which does not answer now.
    """
    root = bench.settings.store
    now = graphs.current(root)
    graph = None
    if now is not None and graphs.is_whole(root, now):
        tables = {name: graphs.table_path(root, now.version, name) for name in TABLES}
        graph = GraphFiles(now.version, tables)
    with open_books(bench.settings) as books:
        return warehouse.refresh(root, bench.catalog, calls=books, graph=graph)
