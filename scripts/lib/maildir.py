"""Keeps each mail as a file of a Maildir (https://cr.yp.to/proto/maildir.html).

aiosmtpd's own handler flushes every mail to the disk. This mailbox stands in for a server outside the shop, and
must not take disk time from the databases that do have to flush.
"""

import itertools
import os
import time
from pathlib import Path


class Maildir:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.numbers = itertools.count()
        for part in ("tmp", "new", "cur"):
            (self.folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)

    @classmethod
    def from_cli(cls, parser, *args):
        if len(args) != 1:
            parser.error("name one folder for the mails")
        return cls(args[0])

    async def handle_DATA(self, server, session, envelope):
        name = f"{time.time_ns()}.{os.getpid()}_{next(self.numbers)}.mailbox"
        written = self.folder / "tmp" / name
        written.write_bytes(envelope.content.replace(b"\r\n", b"\n"))
        written.rename(self.folder / "new" / name)
        return "250 OK"
