"""How the screen looks, as text with what each piece looks like. To accept a change: REWRITE_GOLDEN=1 (and once more
with NO_COLOR_RUN=1), and look.
"""

import os
from pathlib import Path

import pytest
from textual.widget import Widget

from tests.tui.watching import SAMPLE, Watched, file_source, tagged, watching

FOLDER = Path(__file__).parent / "golden" / ("no_color" if "NO_COLOR_RUN" in os.environ else "color")


def check(name: str, dashboard: Watched) -> None:
    """Compares what stands on the screen, widget by widget, with the file of that name."""
    shown = [widget for widget in dashboard.screen.walk_children(Widget) if widget.display and not widget.children]
    drawn = [
        widget
        for widget in shown
        if widget.size and widget.region and type(widget).render_line is not Widget.render_line
    ]
    found = "\n".join(f"=== {type(widget).__name__}\n{tagged(widget)}" for widget in drawn)
    path = FOLDER / name
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


SIZES = {"wide": (200, 50), "usual": (120, 40), "small": (80, 24), "tiny": (60, 15)}


@pytest.mark.parametrize(("name", "size"), SIZES.items(), ids=SIZES)
async def test_following(name: str, size: tuple[int, int]) -> None:
    async with watching(file_source(SAMPLE), size=size) as dashboard:
        check(f"following_{name}.txt", dashboard)


@pytest.mark.parametrize(("name", "size"), SIZES.items(), ids=SIZES)
async def test_reading_the_last_error_among_errors(name: str, size: tuple[int, int]) -> None:
    async with watching(file_source(SAMPLE), size=size) as dashboard:
        await dashboard.press("exclamation_mark", "E", "enter")

        check(f"reading_{name}.txt", dashboard)
