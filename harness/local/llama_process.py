"""The process behind a local model server: loads the weights, serves, and ends when its standard input closes.

Run as a script by ``harness.local.server``, never imported. Closing standard input is how it is stopped, and also what
happens when the parent is killed, so that no server outlives the command that started it.
"""

import json
import os
import sys
from typing import Any


def serve(options: dict[str, Any]) -> None:
    """Serve until standard input closes; prints one JSON line with the address when ready."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["gguf"]
    params.model_alias = {options["name"]}
    params.hostnames = [options["host"]]
    params.port = options["port"]
    params.n_parallel = options["parallel"]
    params.n_ctx = options["context"] * options["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    params.verbosity = 3 if options["verbose"] else 1
    # A server for programs alone: no web page, no page of other people's prompts, no answers to web pages, no
    # gigabytes of remembered prompts.
    params.ui = params.endpoint_slots = False
    params.cors_origins = ""
    params.cache_ram_mib = 0
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        # The log says why; a traceback would bury it.
        sys.exit(str(error))
    sys.stdout.write(json.dumps({"address": server.listening_address}) + "\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
    # The server's own threads would keep the process alive until their last token.
    os._exit(0)
