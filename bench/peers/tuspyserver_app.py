"""tuspyserver with its defaults, for comparison; the uploads go below the directory that BENCH_DIRECTORY names."""

from __future__ import annotations

import importlib
import os

from fastapi import FastAPI

tuspyserver = importlib.import_module("tuspyserver")

app = FastAPI()
app.include_router(tuspyserver.create_tus_router(prefix="files", files_dir=os.environ["BENCH_DIRECTORY"] + "/uploads"))
