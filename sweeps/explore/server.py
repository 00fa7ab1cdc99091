"""The server of the page: on loopback alone, for those who know its address."""

from __future__ import annotations

import asyncio
import errno
import html
import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fastlin.errors import InputError
from fastlin.plot.screen import needing_bokeh
from fastlin.validation import check_int

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.tornado import BokehTornado

HOST = "127.0.0.1"
MAX_PORT = 65_535
# Pages of loopback at any port may connect, because a tunnel (`ssh -L`) may begin at another port.
ORIGINS = (f"{HOST}:*", "localhost:*")
FRAME_HEIGHT = 900  # pixels, in a notebook


def explore(store: str | Path | None = None, port: int | None = None) -> Explorer:
    """Open a page on which sliders choose a network, and its dynamics are computed live.

    The page shows the loss, the mode strengths, the kernel distance, the representational similarity matrices
    and the weights, and the lines of Python that make the same network.

    Parameters
    ----------
    store : str or Path, optional
        A store of a sweep. Its phase diagram is shown beside the network, and a click in it shows the very
        network behind a point.
    port : int, optional
        Of the server. By default a free one.

    Returns
    -------
    Explorer
        A notebook shows it as the page. Its `address` opens in any browser of this machine, and `close` ends
        the server. The server also ends with Python.

    Raises
    ------
    InputError
        If there is no such store, the port is taken, or Bokeh is not installed.

    Notes
    -----
    The server listens on 127.0.0.1 alone and answers only requests with the token in its address. The page
    loads nothing from elsewhere. If Python runs on another machine, as under JupyterHub, forward the port:
    ``ssh -L 5006:127.0.0.1:5006 machine`` with ``port=5006``.

    Examples
    --------
    >>> page = fl.explore("small.zarr")
    >>> page.address.startswith("http://127.0.0.1:")
    True
    >>> page.close()
    """
    return Explorer(store, port)


class Explorer:
    """A page that runs, see `explore`.

    Attributes
    ----------
    address : str
        Of the page, with its token.
    """

    def __init__(self, store: str | Path | None, port: int | None) -> None:
        listening = _listen(0 if port is None else check_int("port", port, 1, MAX_PORT))
        token = secrets.token_urlsafe(32)
        try:
            self._application = _application(token, store)
        except BaseException:
            listening.close()
            raise
        self.address = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
        self._ready, self._closed = threading.Event(), False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(listening,), name="fastlin-explore", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            self._closed = True
            raise self._fault

    def __repr__(self) -> str:
        return f"<Explorer at {self.address}{' (closed)' if self._closed else ''}>"

    def _repr_html_(self) -> str:
        """Return a frame with the page, for a notebook."""
        if self._closed:
            return f"<code>{html.escape(repr(self))}</code>"
        source = html.escape(self.address)
        return (
            f'<iframe src="{source}" style="width: 100%; height: {FRAME_HEIGHT}px; border: 0" '
            'allow="clipboard-write" title="fastlin explore"></iframe>'
        )

    def wait(self) -> None:
        """Wait until the server ends. Ctrl-C ends the wait."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # a wait without a limit does not hear Ctrl-C on Windows

    def close(self) -> None:
        """End the server. A second call does nothing."""
        if not self._closed:
            self._closed = True
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self, listening: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listening))
        except BaseException as error:  # of a server that could not start, which the constructor raises
            self._fault = error
            listening.close()
        finally:
            self._ready.set()

    async def _serve(self, listening: socket.socket) -> None:
        """Serve until `close` is called."""
        from bokeh.server.server import BaseServer
        from tornado.httpserver import HTTPServer
        from tornado.ioloop import IOLoop

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        http = HTTPServer(self._application)
        http.add_socket(listening)
        server = BaseServer(IOLoop.current(), self._application, http)
        server.start()
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await http.close_all_connections()


def _listen(port: int) -> socket.socket:
    """Return a socket that listens at a port of loopback, 0 for a free one.

    Raises
    ------
    InputError
        If it is taken, or needs rights.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        reasons = {errno.EADDRINUSE: "taken", errno.EACCES: "reserved for the system"}
        if error.errno not in reasons:
            raise
        reason = reasons[error.errno]
        raise InputError(f"port {port} is {reason}; choose another, or none for a free one") from None
    listening.setblocking(False)
    return listening


def _application(token: str, store: str | Path | None) -> BokehTornado:
    """Return the application. All of its addresses begin with the token, all others are refused."""
    with needing_bokeh("the explorer"):
        from bokeh.server.tornado import BokehTornado
    from tornado.web import HTTPError, RequestHandler

    from fastlin.sweeps.explore.diagram import open_diagram
    from fastlin.sweeps.explore.page import Page

    class Refusal(RequestHandler):
        def prepare(self) -> None:
            raise HTTPError(403)

    sweep = None if store is None else open_diagram(str(store))

    def fill(document: Document) -> None:
        Page(document, sweep)

    return BokehTornado(
        fill,
        prefix=token,
        extra_websocket_origins=ORIGINS,
        use_index=False,
        default_handler_class=Refusal,
    )
