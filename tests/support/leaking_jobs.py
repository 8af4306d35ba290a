"""Jobs that show a secret wherever a job can show anything."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import urllib.parse
import warnings
from typing import Any

from jobcontrol.exceptions import SkipBuild
from jobcontrol.globals import current_app

logger = logging.getLogger(__name__)

SETTINGS: dict[str, str] = {}  # by name, set by the test: what can't stand in a file


class Connection:
    def __init__(self, secret):
        self.secret = secret

    def __repr__(self):
        return f"Connection({self.secret!r})"


def value(*it: Any) -> Any:
    return it[0] if len(it) == 1 else list(it)


def leak(secret, where):
    """Do everything with a secret that a job may do with it."""
    held = {"password": secret}
    opened = Connection(secret)
    logger.info("logging in with %s", secret)
    logger.info("held: %s, %r", held, opened)
    logger.info("as JSON: %s", json.dumps(json.dumps(held)))
    logging.getLogger(f"of.{secret}").info("a logger of that name")
    print("printed:", secret)
    print("no line end", secret, end="", file=sys.stderr)
    print("url: http://u:" + urllib.parse.quote(secret) + "@host/")
    print("form: " + urllib.parse.urlencode(held))
    for user in ("", "u", "us", "user:"):
        print(base64.b64encode((user + secret).encode()).decode())
    warnings.warn(f"warned of {secret}", UserWarning, stacklevel=1)
    current_app.report_progress((f"with {secret}",), 1, 2, f"using {secret}")
    current_app.report_progress((f"with {secret}", secret), 1, 2, f"using {secret}")
    name = urllib.parse.quote(secret, safe="")
    code = compile("log.info('from a file of that name')", f"/{name}.py", "exec")
    exec(code, {"log": logger})
    try:
        raise KeyError(secret)
    except KeyError as error:
        error.add_note(f"a note about {secret}")
        logger.exception("could not use %s", secret, stack_info=True)
    return _end(secret, where, held)


def _end(secret, where, held):
    if where == "raise":
        raise ValueError(f"wrong password {secret!r}")
    if where == "skip":
        raise SkipBuild(f"not with {secret}")
    if where == "return":
        return held
    if where == "unpicklable":
        return {secret: lambda: held}
    if where == "chain":
        try:
            raise KeyError(held)
        except KeyError as error:
            raise ConnectionError(secret) from error
    if where == "group":
        raise ExceptionGroup(secret, [ValueError(secret), TypeError(held)])
    if where == "class":
        raise type(f"Error{secret}", (Exception,), {})(held)
    if where == "threads":
        thread = threading.Thread(target=_end, args=(secret, "raise", held), name=f"of {secret}")
        thread.start()
        thread.join()
    return secret


def leak_setting(name):
    return leak(SETTINGS[name], "raise")


def nest(job_id, secret):
    inner = current_app.build_job(job_id)
    logger.info("inner ended with %s: %s", inner.exception, secret)
    raise RuntimeError(inner.exception, secret)


def leaking_repr(build):
    logger.info("shown: %s", build["retval"])
    return f"shown: {build['retval']}"


def failing_repr(build):
    raise ValueError(build["retval"])


def leaking_cleanup(build):
    print("cleaning", build["retval"])
    logger.info("held: %r", {"password": build["retval"]})


def failing_cleanup(build):
    held = build["retval"]
    print("cleaning", held)
    raise ValueError(f"kept with {held}")


def at_the_limits(token):
    """Put the secret wherever a text may be cut, with room for the note that says so."""
    token += "." * 100
    for limit in (200, 300, 500, 2_000):
        for before in range(90):
            text = "." * (limit - before) + token
            current_app.report_progress((text,), 1, 2, text)
            if limit <= 300:
                logging.getLogger(text).info("so named")
    for before in range(0, 90, 7):
        logger.info("." * (64 * 1024 - before) + token)
    for before in range(0, 90, 7):
        for limit in (16 * 1024, 64 * 1024):
            try:
                raise ValueError("." * (limit - before) + token)
            except ValueError:
                held = "." * (1024 - before) + token
                logger.exception("as logged %s", len(held))


def raise_at_the_limit(token, limit, before):
    token += "." * 100
    held = "." * (1024 - before) + token
    kind = type("." * (300 - before) + token, (Exception,), {})
    raise kind("." * (limit - before) + token, len(held))
