"""On PYTHONPATH of workers under test: films that end or hang a decoder, a full disk, a library that is not there.

A film is a trap by its last bytes; the other two are switched on by variables of the environment.
"""

import errno
import os
import re
import signal
import sys


class _Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ.get("TRAP_ABSENT", "").split(","):
            raise ImportError(f"{name} is not installed here")


def _springing(decode):
    def decode_bytes(content, **options):
        if content.endswith(b"ENDS THE DECODER"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if content.endswith(b"HANGS THE DECODER"):
            re.match(r"(a+)+$", "a" * 64 + "b")  # years, and Python's lock is held
        return decode(content, **options)

    return decode_bytes


def _full(write):
    def write_part(self, block, columns):
        from cxray.rundir import output_error

        raise output_error(self.path(block), OSError(errno.ENOSPC, "No space left on device"))

    return write_part


if os.environ.get("TRAP_ABSENT"):
    sys.meta_path.insert(0, _Absent())
else:
    from cxray.data import decode

    decode.decode_bytes = _springing(decode.decode_bytes)
    if os.environ.get("TRAP_FULL_DISK"):
        from cxray.cluster.parts import Parts

        Parts.write = _full(Parts.write)
