"""A prefix of an S3 bucket as the location of a store, through obstore (extra `s3`)."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from html import unescape
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import S3Store
from zarr.abc.store import Store as ZarrStore
from zarr.storage import ObjectStore

from fastlin.sweeps.store.location import Entry, Identity, Location

READERS = 32  # requests to a bucket at a time
# A server that does not answer is tried again for some seconds, and then the run stops.
RETRIES, RETRY_SECONDS = 8, 30
METADATA = "169.254.169.254"  # the address that S3's clients ask for credentials if they are given none


@dataclass(frozen=True)
class S3Prefix(Location):
    """A prefix of an S3 bucket. Credentials, region and endpoint come from the AWS_ variables.

    S3 replaces objects as a whole and keeps them through a loss of power, so there is nothing to sync.
    """

    bucket: str = ""
    prefix: str = ""

    @property
    def _store(self) -> S3Store:
        return _connected(self.bucket, self.prefix)

    def _errors(self, key: str) -> AbstractContextManager[None]:
        return _as_os_errors(f"s3://{self.bucket}/{self.prefix}/{key}".rstrip("/"))

    @property
    def folder(self) -> None:
        """None: it is not on this machine."""
        return

    def make(self) -> None:
        """Do nothing: a bucket has no folders."""

    def identity(self) -> Identity:
        """Return the address: there are no inode numbers."""
        return Identity(f"s3://{self.bucket}/{self.prefix}", 0)

    def exists(self) -> bool:
        """Return whether there is any object below the prefix."""
        return next(self.entries(""), None) is not None

    def for_zarr(self) -> ZarrStore:
        """Return zarr's store for the prefix, read-only."""
        return ObjectStore(self._store, read_only=True)

    def read(self, key: str) -> bytes | None:
        """Get an object, or None where there is none."""
        content, _ = self._get(key)
        return content

    def _get(self, key: str) -> tuple[bytes | None, Any]:
        with self._errors(key):
            try:
                answer = obstore.get(self._store, key)
            except (FileNotFoundError, NotFoundError):
                return None, None
            return bytes(answer.bytes()), {"e_tag": answer.meta["e_tag"]}

    def read_many(self, keys: Iterable[str]) -> Iterator[bytes | None]:
        """Get many objects side by side."""
        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(self.read, keys)

    def write(self, key: str, *parts: Any) -> None:
        """Put an object."""
        with self._errors(key):
            obstore.put(self._store, key, b"".join(memoryview(part).cast("B") for part in parts))

    def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Put an object, on condition that the one at the key is still the one that was read."""
        now, version = self._get(key)
        if now != old:
            return False
        with self._errors(key):
            try:
                obstore.put(self._store, key, new, mode="create" if old is None else version)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self._errors(key), suppress(FileNotFoundError, NotFoundError):
            obstore.delete(self._store, key)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List the objects below a prefix."""
        with self._errors(prefix):
            for page in obstore.list(self._store, prefix or None):
                for item in page:
                    yield Entry(item["path"], item["size"], item["last_modified"].timestamp())


@cache
def _connected(bucket: str, prefix: str) -> S3Store:
    with _as_os_errors(f"s3://{bucket}/{prefix}"):
        return S3Store(
            bucket,
            prefix=prefix,
            client_options={"allow_http": True},
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )


@contextmanager
def _as_os_errors(address: str) -> Iterator[None]:
    """Turn errors of obstore into OSErrors, which all callers handle."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # the latter where there is no bucket
        raise OSError(errno.EIO, _reason(str(error)), address) from None


def _reason(text: str) -> str:
    """Return the reason of an error in one line: the answer of S3, or the server that does not answer."""
    message = re.search("<Message>(.*?)</Message>", text, re.DOTALL)
    if message:
        return " ".join(unescape(message[1]).split())
    first = text.strip().splitlines()[0]
    server = re.search(r"https?://[^/\s]+", first)
    reason = first.rpartition(" - ")[2] + (f" at {server[0]}" if server else "")
    return f"{reason}; is AWS_ACCESS_KEY_ID set?" if METADATA in reason else reason
