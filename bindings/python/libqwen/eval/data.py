"""Finds and reads the published files of data sets: in a folder, or in the archives as downloaded."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

__all__ = ["DataError", "DataFolder"]

#: Folders inside which archives and people put the files.
_WITHIN = ("", "data/", "main/")


class DataError(ValueError):
    """A data file is missing or not as published; the message says which and what is expected."""


class DataFolder:
    """A folder with data files or with archives of them (.zip, .tar, .tar.gz), or an archive."""

    def __init__(self, path: Union[str, "Path"], *, within: Sequence[str] = ()) -> None:
        """Opens the place; nothing is read yet.

        Args:
            path: a folder or an archive.
            within: subfolders to look in as well, for instance the data set's name.

        Raises:
            DataError: there is nothing at `path`.
        """
        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"{self.path}: there is no such folder or archive")
        self._prefixes = [*_WITHIN, *(f"{name}/{inner}" for name in within for inner in _WITHIN)]
        self._within = within
        self._archives: Optional[List[_Archive]] = None

    def find(self, *names: str) -> Optional[bytes]:
        """The content of the first file of these names (paths below the folder), or None.

        A name that ends in .gz is unpacked.
        """
        for name in names:
            for prefix in self._prefixes:
                content = self._read(prefix + name)
                if content is not None:
                    return gzip.decompress(content) if name.endswith(".gz") else content
        return None

    def read(self, *names: str) -> bytes:
        """As `find`.

        Raises:
            DataError: none of them is there.
        """
        content = self.find(*names)
        if content is None:
            raise DataError(f"{self.path}: has no {' or '.join(names)}, the file as published")
        return content

    def text(self, *names: str) -> str:
        """The text of a file, UTF-8 with or without a mark, line ends as LF. Raises as `read`."""
        try:
            text = self.read(*names).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{names[0]}: is not UTF-8: {error}") from error
        return text.replace("\r\n", "\n")

    def lines(self, *names: str) -> List[str]:
        """The lines of a text file without their ends; an empty last one does not count."""
        lines = self.text(*names).split("\n")
        return lines[:-1] if lines and not lines[-1] else lines

    def json_lines(self, *names: str, fields: Sequence[str] = ()) -> List[Dict[str, Any]]:
        """The objects of a file with one JSON object a line.

        Raises:
            DataError: a line is not an object or lacks one of `fields`; it says which.
        """
        found = []
        for number, line in enumerate(self.lines(*names), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise DataError(f"{names[0]}, line {number}: is not JSON: {error}") from error
            missing = [name for name in fields if not isinstance(value, dict) or name not in value]
            if missing or not isinstance(value, dict):
                raise DataError(f"{names[0]}, line {number}: has no {missing or 'members'}")
            found.append(value)
        return found

    def rows(self, *names: str, columns: Sequence[str], header: bool) -> List[Dict[str, str]]:
        """The rows of a CSV file as texts.

        Args:
            names: of the file.
            columns: names for a file without a header; with one, those that must be in it.
            header: whether the first row names the columns.

        Raises:
            DataError: a row has too few cells, or a column is missing.
        """
        table = list(csv.reader(io.StringIO(self.text(*names), newline="")))
        title = table.pop(0) if header and table else list(columns)
        missing = [name for name in columns if name not in title]
        if missing:
            raise DataError(f"{names[0]}: has no column {', '.join(missing)}")
        found = []
        for number, cells in enumerate(table, 2 if header else 1):
            if not any(cells):
                continue
            if len(cells) < len(title):
                raise DataError(f"{names[0]}, row {number}: {len(cells)} cells of {len(title)}")
            found.append(dict(zip(title, cells)))
        return found

    # ---- Where files are ---------------------------------------------------------------------

    def _read(self, name: str) -> Optional[bytes]:
        if self.path.is_dir():
            file = self.path / name
            if file.is_file():
                return file.read_bytes()
        for archive in self._opened():
            content = archive.read(name)
            if content is not None:
                return content
        return None

    def _opened(self) -> List["_Archive"]:
        if self._archives is None:
            if self.path.is_dir():
                kinds = ("*.zip", "*.tar", "*.tar.gz", "*.tgz")
                places = [self.path, *(self.path / name for name in self._within)]
                files = [
                    file for place in places for kind in kinds for file in sorted(place.glob(kind))
                ]
            else:
                files = [self.path]
            self._archives = [_Archive(file) for file in files]
        return self._archives


class _Archive:
    """A zip or tar file, read in place."""

    def __init__(self, path: Path) -> None:
        self._zip: Optional[zipfile.ZipFile] = None
        self._tar: Optional[tarfile.TarFile] = None
        try:
            if zipfile.is_zipfile(path):
                self._zip = zipfile.ZipFile(path)
                self._names = set(self._zip.namelist())
            else:
                self._tar = tarfile.open(path)
                self._names = {
                    name[2:] if name[:2] == "./" else name for name in self._tar.getnames()
                }
        except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is no archive that can be read: {error}") from error

    def read(self, name: str) -> Optional[bytes]:
        if name not in self._names:
            return None
        if self._zip is not None:
            return self._zip.read(name)
        assert self._tar is not None
        for stored in (name, "./" + name):
            try:
                file = self._tar.extractfile(stored)
            except KeyError:
                continue
            return file.read() if file else None
        return None
