"""The one script of the page: Vega, Vega-Lite and Vega-Embed, and how charts are drawn."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

__all__ = ["digest", "script", "style"]

_HERE = Path(__file__).parent


@cache
def script() -> str:
    """The page's JavaScript, whole: it loads nothing."""
    import vl_convert

    # In a function, since the bundle's top level would define hundreds of globals.
    bundle = f"(function(){{{vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;')}}})();"
    own = (_HERE / "page.js").read_text(encoding="utf-8")
    return f"{bundle}\n{own}".replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def style() -> str:
    """The page's style sheet."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
