"""Templates in, HTML out: the one place that knows Jinja, the icons and the addresses of static files."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from cloud_hub.web import advice, drawings, marks, numbers
from cloud_hub.web.page import Page

HERE = Path(__file__).parent
STATIC = HERE / "static"
ICONS = STATIC / "vendor" / "lucide"


class Renderer:
    """Renders templates; everything that comes from data is escaped."""

    def __init__(self, navigation: Iterable[Page]) -> None:
        self._icons = {path.stem: _inner(path.read_text()) for path in ICONS.glob("*.svg")}
        self._versions: dict[str, str] = {}
        self._jinja = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals.update(
            navigation=[page for page in navigation if page.in_navigation],
            icon=self.icon,
            asset=self.asset,
            verdicts=marks.VERDICTS,
            mark=marks.mark,
            chip=marks.chip,
            draw=drawings,
        )
        self._jinja.filters.update(
            count=numbers.count,
            rate=numbers.rate,
            share=numbers.share,
            ms=numbers.milliseconds,
            size=numbers.size,
            p_value=numbers.p_value,
            iso=numbers.iso,
            moment=numbers.moment,
            sentence=advice.sentence,
        )

    def text(self, template: str, values: Mapping[str, object]) -> str:
        """A rendered template."""
        return self._jinja.get_template(template).render(values)

    def page(self, template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
        """A rendered template as the answer to a browser."""
        return HTMLResponse(self.text(template, values), status)

    def icon(self, name: str) -> Markup:
        """A drawing beside a text that says the same; a screen reader passes over it."""
        return Markup(  # noqa: S704 — our own vendored files
            '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">' + self._icons[name] + "</svg>"
        )

    def asset(self, path: str) -> str:
        """The address of a static file, with its digest, so that a browser may keep it for ever."""
        if path not in self._versions:
            self._versions[path] = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
        return f"/static/{path}?v={self._versions[path]}"


def _inner(svg: str) -> str:
    return re.sub(r"^.*?<svg[^>]*>|</svg>\s*$", "", svg, flags=re.DOTALL).strip()
