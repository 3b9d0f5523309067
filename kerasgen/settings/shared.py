"""Settings of several functions, each told once under a name."""

from __future__ import annotations

from typing import Annotated

from db_ingest.settings import Setting

TdbArray = Annotated[
    str, Setting("path or s3:// URI of the database", group="database", metavar="URI", path=True)
]  # fmt: skip
ModelPrefix = Annotated[
    str, Setting("P of the files written: P.keras, P.json, P.log.csv, P.state/", group="files", metavar="P")
]
LoadModel = Annotated[
    str, Setting("P.keras of a trained model; its bundle lies beside it", group="files", metavar="P.keras")
]
Title = Annotated[str, Setting("heading of plots and tables", group="files")]
Seed = Annotated[
    int, Setting("seed of everything random; the same seed gives the same result", unit="", group="running", least=0)
]
BatchSize = Annotated[int, Setting("number of samples per batch", unit="samples", group="running", least=1)]
Resume = Annotated[
    bool, Setting("go on with an interrupted training, from the batch it reached", group="running", may_change=True)
]
Overwrite = Annotated[bool, Setting("replace what an earlier run wrote", group="running", may_change=True)]
