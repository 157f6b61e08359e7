"""moto's S3 as a program: `python s3_server.py PORT [ignores|refuses|falters]`. It keeps all in memory.

As `moto_server` starts it, but for one request at a time: moto looks whether a condition holds, and then writes, and
between the two another of its threads may write. S3 does both at once.

Of the services that speak like S3 some ignore conditions, and others refuse them; so does this one, if told to. One
that falters answers every other request with an error of its own. Who comes with the key `reader` may only read.
"""

import itertools
import os
import sys
import threading

os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "20"  # so that listings have several pages

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
at_once = threading.Lock()
port, conditions = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "honours"
CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
READING = ("GET", "HEAD")
ERROR = "<Error><Code>{}</Code><Message>as it was told to</Message></Error>"
turns = itertools.cycle([True, False])


def answer(environ, start_response):
    with at_once:
        if conditions == "refuses" and any(name in environ for name in CONDITIONS):
            return fail(environ, start_response, "501 Not Implemented", "NotImplemented")
        if "Credential=reader/" in environ.get("HTTP_AUTHORIZATION", "") and environ["REQUEST_METHOD"] not in READING:
            return fail(environ, start_response, "403 Forbidden", "AccessDenied")
        if conditions == "falters" and next(turns):
            return fail(environ, start_response, "500 Internal Server Error", "InternalError")
        if conditions == "ignores":
            environ = {name: value for name, value in environ.items() if name not in CONDITIONS}
        return list(moto(environ, start_response))


def fail(environ, start_response, status, code):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response(status, [("Content-Type", "application/xml")])
    return [ERROR.format(code).encode()]


run_simple("127.0.0.1", port, answer, threaded=True, request_handler=MotoRequestHandler)
