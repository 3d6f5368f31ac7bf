"""Where runs are published: a folder, or any store that fsspec knows, read and written as flat names."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError, InfrastructureError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")
_RENAMING = frozenset({"file", "local", "sftp", "ssh"})
"""Where a file under writing can be seen half written, and renaming it over another is one step. On object stores an
object appears when it is complete, and renaming would be a copy."""
_DRAFT = re.compile(r"\.[^/]+\.[0-9a-f]{12}\.part")


class Place:
    """One folder of a file system or bucket; names are relative to it, with ``/`` between folders."""

    def __init__(self, url: str) -> None:
        """Open it; nothing is read or written yet.

        Raises:
            ConfigurationError: no such kind of place, or the package for it is not installed.
        """
        import fsspec

        self.shown = without_password(url)
        """The URL as it may be printed: a password in it is left out."""
        target = url if _URL.match(url) else str(Path(url).expanduser().absolute())
        try:
            self._system, self._root = fsspec.core.url_to_fs(target)
        except ImportError as error:
            raise ConfigurationError(
                f"{self.shown}: {str(error).rstrip('.')}; install it (pip install {_package(target)}), then the same "
                "command goes on"
            ) from error
        except (ValueError, TypeError, OSError) as error:
            raise ConfigurationError(f"{self.shown} is no place to publish to: {error}") from error
        self._root = self._root.rstrip("/")
        protocol = self._system.protocol
        self._renames = bool({protocol} & _RENAMING if isinstance(protocol, str) else set(protocol) & _RENAMING)
        self._is_local = getattr(self._system, "local_file", False) is True

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; ``None`` elsewhere."""
        return Path(self._root or "/") if self._is_local else None

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted; none when it does not exist yet.

        Raises:
            InfrastructureError: it cannot be listed.
        """
        with self._reached("listed"):
            # What another process has written since must be seen: some stores keep what they listed before.
            self._system.invalidate_cache()
            try:
                listed = self._system.ls(self._root or "/", detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(
            name
            for entry in listed
            if entry.get("type") == "directory"
            and (name := entry["name"].rstrip("/").rpartition("/")[2])
            and not name.startswith(".")
        )

    def read(self, names: Sequence[str], *, limit: int) -> dict[str, bytes]:
        """The first ``limit`` bytes of each file that is there.

        Raises:
            InfrastructureError: one is there and cannot be read.
        """
        wanted = [name for name in names if not self._is_local or Path(self._path(name)).is_file()]
        if not wanted:
            return {}
        found: dict[str, bytes] = {}
        with self._reached("read"):
            self._system.invalidate_cache()
            if getattr(self._system, "async_impl", False):
                paths = [self._path(name) for name in wanted]
                contents = self._system.cat_ranges(paths, [0] * len(paths), [limit] * len(paths), on_error="return")
            else:
                contents = [self._read_one(name, limit) for name in wanted]
            for name, content in zip(wanted, contents, strict=True):
                if isinstance(content, bytes):
                    found[name] = content
                elif not isinstance(content, FileNotFoundError | None):
                    raise content
        return found

    def write(self, files: Mapping[str, bytes | Path]) -> None:
        """Write files in their order; a reader sees each one whole, the old one or the new one.

        Where files can be renamed, all are written under other names first and renamed together.

        Raises:
            InfrastructureError: one cannot be written.
        """
        drafts: dict[str, str] = {}
        try:
            with self._reached("written"):
                for name, content in files.items():
                    target = self._path(name)
                    if self._renames:
                        parent, _, last = target.rpartition("/")
                        self._system.makedirs(parent, exist_ok=True)
                        drafts[target] = f"{parent}/.{last}.{secrets.token_hex(6)}.part"
                    self._put(drafts.get(target, target), content)
                for target in list(drafts):
                    self._system.mv(drafts[target], target)
                    del drafts[target]
        finally:
            for draft in drafts.values():
                with contextlib.suppress(OSError):
                    self._system.rm_file(draft)

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; one that is not there is no error.

        Raises:
            InfrastructureError: one cannot be removed.
        """
        with self._reached("changed"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    # Not `rm`, which takes a star in a name for all names.
                    self._system.rm_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, those under writing left out; none when it does not exist.

        Raises:
            InfrastructureError: it cannot be listed.
        """
        with self._reached("listed"):
            self._system.invalidate_cache()
            try:
                listed = self._system.ls(self._path(folder), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        found = [entry["name"].rpartition("/")[2] for entry in listed if entry.get("type") == "file"]
        return sorted(name for name in found if not _DRAFT.fullmatch(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, path: str, content: bytes | Path) -> None:
        if isinstance(content, bytes):
            self._system.pipe_file(path, content)
        else:
            self._system.put_file(str(content), path)

    def _read_one(self, name: str, limit: int) -> bytes | None:
        try:
            with self._system.open(self._path(name), "rb") as file:
                return bytes(file.read(limit))
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        try:
            yield
        except NotImplementedError as error:
            raise ConfigurationError(f"{self.shown} cannot be {what}: this kind of place is read only") from error
        except (OSError, ValueError, PermissionError) as error:
            raise InfrastructureError(
                f"{self.shown} cannot be {what}: {_reason(error)}; what is there already is unharmed, and the same "
                "command goes on"
            ) from error
        except Exception as error:  # every store has errors of its own: botocore's are no OSError
            if type(error).__module__.partition(".")[0] in {"harness", "builtins"}:
                raise
            raise InfrastructureError(f"{self.shown} cannot be {what}: {_reason(error)}") from error


def without_password(url: str) -> str:
    """The URL without user, password and query, any of which may hold a secret."""
    if not _URL.match(url):
        return url
    return re.sub(r"://[^/@]*@", "://", url).partition("?")[0]


def _reason(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return re.sub(r"://[^/@\s]*@", "://", str(said)).splitlines()[0][:300]


def _package(url: str) -> str:
    """The package that brings a kind of place."""
    from fsspec.registry import known_implementations

    protocol = re.split("::|://", url)[0]
    entry: dict[str, Any] = known_implementations.get(protocol, {})
    module = str(entry.get("class", protocol)).partition(".")[0]
    return {"fsspec": {"sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol"}.get(protocol, protocol)}.get(
        module, module
    )
