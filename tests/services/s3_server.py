"""moto's S3 as a program: `python s3_server.py PORT`.

As `moto_server` starts it, but for one request at a time: moto looks whether a condition holds, and then writes, and
between the two another of its threads may write. S3 does both at once. It keeps all in memory.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
at_once = threading.Lock()


def answer(environ, start_response):
    with at_once:
        return list(moto(environ, start_response))


run_simple("127.0.0.1", int(sys.argv[1]), answer, threaded=True, request_handler=MotoRequestHandler)
