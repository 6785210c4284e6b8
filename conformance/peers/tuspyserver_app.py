"""tuspyserver with its defaults: ``uvicorn tuspyserver_app:app``; uploads lie in the directory that DIRECTORY names."""

from __future__ import annotations

import importlib
import os

from fastapi import FastAPI

app = FastAPI()
tuspyserver = importlib.import_module("tuspyserver")
app.include_router(tuspyserver.create_tus_router(prefix="files", files_dir=os.environ["DIRECTORY"]))
