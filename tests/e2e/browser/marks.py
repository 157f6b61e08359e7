"""The marks, commands and sidebar of an open notebook, as a person sees and uses them; and cells to try them on."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import TimeoutError as TooLate

LOAD = "%load_ext awaitly_nb"
RAW = "%%awaitly raw\nimport time\ntime.sleep(1.5)\nraw = [1, 2, 3]"
TOTAL = "%%awaitly total\ntotal = sum(raw)\ntotal"
KEYLESS = "%%awaitly held\nheld = lock.locked()"
BROKEN = "%%awaitly broken\n1 / 0"


class Page:
    """The marks of an open notebook."""

    def __init__(self, lab):
        self.lab = lab
        self.page = lab.page

    def states(self):
        """Return the state that each code cell is marked with."""
        return self.page.evaluate(
            "() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => cell.dataset.awaitly)"
        )

    def expect(self, *states, timeout_ms=60_000):
        """Wait until the cells have these marks."""
        try:
            self.page.wait_for_function(
                """states => JSON.stringify(states) === JSON.stringify(
                    [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => cell.dataset.awaitly))""",
                arg=list(states),
                timeout=timeout_ms,
            )
        except Exception as exc:
            raise AssertionError(f"not {states}, but {self.states()}") from exc

    def mark(self, number):
        """Return the mark of one code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".awn-mark")

    def write(self, number, source):
        """Replace a cell's text, as typing does."""
        self.page.evaluate(
            """([number, source]) => window.jupyterapp.shell.currentWidget.content.widgets[number]
                .model.sharedModel.setSource(source)""",
            [number, source],
        )

    def prompts(self):
        return self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()

    def select(self, number):
        self.page.evaluate(
            "number => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = number; }", number
        )

    def sidebar(self):
        """Show the sidebar, and return it once the panel is there."""
        self.palette("Show the awaitly sidebar")
        self.page.locator(".awn-side .awn-panel .awn-keys").wait_for()
        return self.page.locator(".awn-side")

    def palette(self, words, *, cell=None):
        """Choose a command in the palette by its words."""
        box = self.page.locator("#modal-command-palette input")
        for attempt in range(5):
            if cell is not None:
                self.focus(cell)
            if attempt == 0:
                self.page.keyboard.press("Control+Shift+C")
            else:  # a key that falls into the moment in which a cell ends reaches no one; it is JupyterLab's, not ours
                self.page.evaluate("window.jupyterapp.commands.execute('apputils:activate-command-palette')")
            with suppress(TooLate):
                box.wait_for(timeout=5_000)
                break
        box.fill(words)
        # What Enter chooses: until the list is filtered, that is another command.
        self.page.locator("#modal-command-palette .lm-CommandPalette-item.lm-mod-active", has_text=words).wait_for()
        box.press("Enter")

    def focus(self, number):
        """Click beside a cell, so that keys are commands."""
        self.page.locator(".jp-CodeCell").nth(number).locator(".jp-InputPrompt").click()

    def press(self, number, keys):
        """Press keys on a cell."""
        self.focus(number)
        self.page.keyboard.press(keys)

    def menu(self, number, words):
        """Choose in the menu of a cell."""
        self.page.locator(".jp-CodeCell").nth(number).locator(".jp-InputPrompt").click(button="right")
        self.page.locator(".lm-Menu-item", has_text=words).click()

    def main_menu(self, name, words):
        """Choose in a menu of the bar."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.locator(".lm-Menu-item", has_text=words).click()

    def in_toolbar(self, number, command):
        """Click a button in the toolbar of a cell."""
        self.focus(number)
        self.page.locator(f".jp-CodeCell.jp-mod-active .jp-cell-toolbar [data-command='awaitly-nb:{command}']").click()

    def ran(self, before, numbers):
        """Wait until exactly these cells have a prompt other than `before`."""
        self.page.wait_for_function(
            """([before, numbers]) => {
                const prompts = document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt");
                const now = [...prompts].map(one => one.innerText);
                const ran = now.flatMap((text, i) => (text !== before[i] && !text.includes("*") ? [i] : []));
                return JSON.stringify(ran) === JSON.stringify(numbers);
            }""",
            arg=[before, numbers],
        )
