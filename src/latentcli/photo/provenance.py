"""What was done to a photo, written into its file: enough to tell that it was edited, and to do it again."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from latentcli import __version__
from latentcli.errors import FileFormatError
from latentcli.images import open_picture
from latentcli.photo.traits import done_to

_KEY = "latentcli"  # holds the version


@dataclass(frozen=True, slots=True)
class Provenance:
    """One edit. Names only, no folders: the file may be passed on."""

    model: str
    model_id: str
    vectors: tuple[dict[str, Any], ...]  # name, digest of the direction, and strength, sigma or to
    places: tuple[str, ...]  # as `--box` takes them
    original: str  # name of the photo's file
    original_sha256: str
    face: int = 1  # how the places were chosen, where they were not given
    every_face: bool = False
    align: bool = True
    given: bool = False
    rows: tuple[str, ...] = ()  # FROM:TO:COUNT of strips
    fps: float | None = None  # of an animation
    merge: str = "residual"
    detail: float = 0.5
    refine: bool = False
    compare: bool = False
    stay_typical: bool = False
    earlier: dict[str, Any] | None = None  # of the photo it was made from

    def text(self) -> str:
        """One line of ASCII JSON."""
        return json.dumps({_KEY: __version__, "edited": True} | asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything that was not written by `text`."""
        found = json.loads(text)
        if not isinstance(found, dict) or _KEY not in found:
            raise ValueError("no edit")
        known = {knob.name: found[knob.name] for knob in fields(cls) if knob.name in found}
        try:
            told = cls(**known | {name: tuple(known.get(name, ())) for name in ("vectors", "places", "rows")})
            told._check()
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error
        return told

    def _check(self) -> None:
        """Raises ValueError for values of another kind: the file may come from anybody."""
        kinds: dict[type, tuple[object, ...]] = {
            str: (self.model, self.model_id, self.original, self.original_sha256, self.merge, *self.places, *self.rows),
            bool: (self.every_face, self.align, self.given, self.refine, self.compare, self.stay_typical),
            int: (self.face,),
            dict: self.vectors,
            float: (float(self.detail), *([] if self.fps is None else [float(self.fps)])),
        }
        if not self.vectors or any(type(value) is not kind for kind, values in kinds.items() for value in values):
            raise ValueError("values of another kind")


def earlier(text: str | None) -> dict[str, Any] | None:
    """What was done to a photo before, as far as it can be read."""
    try:
        return asdict(Provenance.parse(text)) if text else None
    except (ValueError, RecursionError):
        return None


def read_provenance(path: Path) -> Provenance:
    """What was done to the photo in a file. Raises ImageError for no image, FileFormatError where nothing is told."""
    with open_picture(path) as picture:
        text = done_to(picture)
    if text is None:
        raise FileFormatError(f"{path} does not tell of an edit by latentcli; name a photo that `latentcli edit` wrote")
    try:
        return Provenance.parse(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} tells of an edit in a way that cannot be read; edit the photo again") from error
