"""The log of a build as files: the raw text, exactly the lines that the filters leave."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping

from django.utils import timezone

from builds.models import Build, LogMessage
from builds.pages.log_parts import lines_of
from builds.pages.log_question import LogQuestion
from builds.presentation import log_line
from jobcontrol.utils import TracebackInfo

BATCH = 1_000  # lines read at a time


def stream_log(build: Build, query: Mapping[str, str], *, as_json: bool) -> Iterator[str]:
    """Yield the lines that the filters leave, as text or as JSON documents, a batch at a time."""
    asked = LogQuestion.read(query)
    messages = lines_of(build).filter(asked.walked(), asked.matches())
    write = _json_line if as_json else _text_line
    last = 0
    while batch := list(messages.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        yield "".join(write(message) for message in batch)


def _json_line(message: LogMessage) -> str:
    return json.dumps(log_line(message), ensure_ascii=False) + "\n"


def _text_line(message: LogMessage) -> str:
    # With its zone: a file is read elsewhere, where nothing else says whose time it is.
    local = timezone.localtime(message.created)
    created = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local:%z}"
    level = logging.getLevelName(message.level)
    line = f"{created} {level:<8} {message.logger}: {message.message}\n"
    if message.exception:
        line += TracebackInfo.from_json(message.exception).format()
    return line
