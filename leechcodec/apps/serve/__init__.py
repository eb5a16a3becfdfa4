"""A page on this machine: a photograph, the quality dial, and the same bytes spent by JPEG, WebP and AVIF.

settings.py   what is bounded, and who may ask
state.py      the pictures held in memory, the bounded line before the workers
work.py       what a worker does: read, code, view
peers.py      other codecs at equal size
guard.py      Host, Origin, token, and the headers of every answer
app.py        the routes; server.py, the process; assets/, the page

Needs the extra ``serve`` (starlette, uvicorn). Nothing is written to disk and nothing is fetched.
"""
