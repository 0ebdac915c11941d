"""Copies files so that nothing is shared that a program could write to: as a clone of the
file system's where that can be had, else byte by byte.
"""

from __future__ import annotations

import errno
import fcntl
import os

# linux/fs.h: clones a file, so that both share their blocks until one is written to.
_FICLONE = 0x40049409
_CHUNK = 2**20  # bytes
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# What a file system says that cannot clone, or cannot copy in the kernel.
_UNSUPPORTED = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.ENOSYS,
        errno.EXDEV,
        errno.EINVAL,
        errno.EPERM,
        errno.EBADF,
    }
)
_SECTOR = 512  # bytes, the unit of st_blocks


class FileCopier:
    """Copies files between the same two file systems, and learns what these can do."""

    def __init__(self) -> None:
        self._clones = True
        self._copies_in_kernel = hasattr(os, "copy_file_range")
        # Permissions that new files get as they are asked for: the umask may take some.
        self._granted: dict[int, bool] = {}

    def copy(
        self,
        source: int,
        folder: int,
        name: str,
        status: os.stat_result,
        data: bytes | None = None,
    ) -> None:
        """Make the file `name` in the open `folder` from the open file `source`, with its
        permissions and times; from `data` if that is given.

        Raises FileExistsError if something of that name is there, OSError if the disk
        does not take the file.
        """
        mode = status.st_mode & 0o777
        file = os.open(name, _NEW_FILE, mode, dir_fd=folder)
        try:
            if data is not None:
                _write(file, data)
            elif status.st_size:
                self._fill(file, source, status)
            if not self._granted.get(mode):
                self._granted[mode] = os.fstat(file).st_mode & 0o777 == mode
                os.fchmod(file, mode)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(file)

    def _fill(self, file: int, source: int, status: os.stat_result) -> None:
        if self._clones:
            try:
                fcntl.ioctl(file, _FICLONE, source)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._clones = False
            else:
                return
        is_sparse = status.st_blocks * _SECTOR < status.st_size > _CHUNK
        if is_sparse and _copy_data(file, source, status.st_size):
            return
        if self._copies_in_kernel:
            try:
                _copy_in_kernel(file, source, status.st_size)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._copies_in_kernel = False
                os.ftruncate(file, 0)
                os.lseek(file, 0, os.SEEK_SET)
                os.lseek(source, 0, os.SEEK_SET)
            else:
                return
        _copy_range(file, source, status.st_size)


def _copy_in_kernel(file: int, source: int, size: int) -> None:
    remaining = size
    while remaining > 0:
        copied = os.copy_file_range(source, file, remaining)
        if not copied:  # somebody made it shorter meanwhile
            return
        remaining -= copied


def _copy_range(file: int, source: int, size: int) -> None:
    remaining = size
    while remaining > 0:
        data = os.read(source, min(_CHUNK, remaining))
        if not data:
            return
        _write(file, data)
        remaining -= len(data)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _copy_data(file: int, source: int, size: int) -> bool:
    """Copy a sparse file without its holes; False if the file system does not tell."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError:  # no data after this position
            break
        position = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(file, start, os.SEEK_SET)
        _copy_range(file, source, position - start)
    os.ftruncate(file, size)
    return True
