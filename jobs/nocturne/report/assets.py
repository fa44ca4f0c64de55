"""The page's script (Vega, Vega-Lite, Vega-Embed and the code that draws charts) and style."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from nocturne.host import cache

__all__ = ["digest", "script", "style"]

_HERE = Path(__file__).parent
_VEGA = "vl-convert-python"
_EXPORT = "window.vegaEmbed = vegaEmbed;"


@functools.cache
def script() -> str:
    """The page's complete JavaScript; it loads nothing."""
    # In a function, since the bundle's top level would define hundreds of globals.
    bundle = f"(function(){{{cache.text(_bundle_name(), _bundle)}}})();"
    own = (_HERE / "page.js").read_text(encoding="utf-8")
    return f"{bundle}\n{own}".replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _bundle() -> str:
    """Vega as one script. Bundling takes a second or two, and is the same for every night."""
    import vl_convert

    return str(vl_convert.javascript_bundle(_EXPORT))


def _bundle_name() -> str:
    return f"vega-{version(_VEGA)}-{hashlib.sha256(_EXPORT.encode()).hexdigest()[:8]}.js"


@functools.cache
def style() -> str:
    """The page's style sheet."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


@functools.cache
def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
