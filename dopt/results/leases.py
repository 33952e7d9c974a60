"""The lock of an object store, which has none: an object that its holder renews while it lives."""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from dopt.errors import DoptError
from dopt.results.places import Lock, Place


log = logging.getLogger("dopt")

NAME = ".lock"

UNKNOWN: dict[str, Any] = {"holder": "another process", "token": "", "renewed": 0.0}
"""What a lock says that cannot be read."""

RENEWED = 15.0
"""Seconds from one renewal to the next, by a thread."""

EXPIRED = 120.0
"""Seconds without a renewal after which another process may take the lock over.

The clocks of two machines that write to one folder must agree better than that.
"""


class Lease(Lock):
    """The object `.lock`, with who holds it and when it was renewed; taken when it is made.

    A process that was asleep for so long that another took over is told so before it writes.

    Args:
        place: the folder.
        create: writes an object of a name, unless there is one.

    Raises:
        DoptError: another process holds it, or the store refuses.
    """

    def __init__(self, place: Place, create: Callable[[str, bytes], object]) -> None:
        self._place = place
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        found = self._read()
        if found is None:
            create(NAME, self._content())
        elif time.time() - found["renewed"] < EXPIRED:
            raise DoptError(self._refusal(found))
        else:
            log.warning(
                "%s was writing to %s and has not been heard of for more than %.0f s; its lock is "
                "taken over",
                *(found["holder"], place.where, EXPIRED),
            )
            self._put()
        found = self._read()  # another may have come between
        if found is None or found["token"] != self._token:
            raise DoptError(self._refusal(found or UNKNOWN))
        self._renewer = threading.Thread(target=self._renew, name="dopt lease", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """See `Lock`."""
        found = self._read()
        if found is None or found["token"] != self._token:
            raise DoptError(
                f"{(found or UNKNOWN)['holder']} has taken over {self._place.where}, because this "
                f"process did not renew its lock for {EXPIRED:g} s; what was written before is "
                "intact: start again when it has ended"
            )

    def release(self) -> None:
        """See `Lock`."""
        self._ended.set()
        self._renewer.join()
        try:
            if self._held():
                self._place.remove(NAME)
        except DoptError as error:
            log.warning("%s; others may write there in %.0f s", error, EXPIRED)

    def _renew(self) -> None:
        """Renews it until it is released; what that misses, `check` finds."""
        while not self._ended.wait(RENEWED):
            try:
                if self._held():
                    self._put()
            except DoptError as error:
                log.debug("the lock was not renewed: %s", error)

    def _held(self) -> bool:
        found = self._read()
        return found is not None and found["token"] == self._token

    def _refusal(self, found: dict[str, Any]) -> str:
        age = min(max(0.0, time.time() - found["renewed"]), EXPIRED)
        return (
            f"{found['holder']} is writing to {self._place.where}, and was last heard of {age:.0f} "
            "s ago; wait for it, stop it, or choose another folder; if it was killed, try again in "
            f"{EXPIRED - age + 1:.0f} s"
        )

    def _content(self) -> bytes:
        holder = f"process {os.getpid()} on {platform.node()}"
        return json.dumps({"holder": holder, "token": self._token, "renewed": time.time()}).encode()

    def _put(self) -> None:
        self._place.publish({NAME: lambda file: file.write(self._content())})

    def _read(self) -> dict[str, Any] | None:
        """What stands in the lock; None if there is none."""
        try:
            found = json.loads(self._place.read(NAME))
            return {name: found[name] for name in UNKNOWN}
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError):
            return UNKNOWN
