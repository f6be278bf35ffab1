"""The web page at /, from memory."""

import hashlib
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, HTTPException, Request, Response

__all__ = ["router"]

INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str


def _read_files() -> dict[str, _File]:
    files = {}
    for path in (resources.files("clipn.serving") / "web").iterdir():
        suffix = path.name[path.name.rfind(".") :]
        if suffix in MEDIA_TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            files[path.name] = _File(content=content, media_type=MEDIA_TYPES[suffix], etag=etag)
    return files


_FILES = _read_files()

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/{name}", methods=["GET", "HEAD"])
async def get_file(request: Request, name: str = INDEX) -> Response:
    """A file of the page; browsers ask each time whether it has changed."""
    file = _FILES.get(name)
    if file is None:
        raise HTTPException(404)
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
