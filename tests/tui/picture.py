"""The picture in README, taken of the dashboard itself: `python -m tests.tui.picture`."""

import asyncio
import re
from pathlib import Path

from tests.tui.watching import SAMPLE, file_source, watching

PICTURE = Path(__file__).parents[2] / "docs" / "dashboard.svg"
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


async def take() -> None:
    """Reads the last critical event among warnings and worse, beside what there is."""
    async with watching(file_source(SAMPLE), size=(156, 36)) as dashboard:
        await dashboard.press("ampersand")
        dashboard.screen.prompt.input.value = "--level warning"
        await dashboard.press("enter", "E")
        while dashboard.selected.kind != "workflow_step_failed":
            await dashboard.press("E")
        await dashboard.press("enter")
        picture = dashboard.pilot.app.export_screenshot(title="madsci-events tui")
    # A picture loads nothing from elsewhere: whatever monospaced font there is will do.
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(_FONT_FACE.sub("", picture).replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas"))


if __name__ == "__main__":
    asyncio.run(take())
