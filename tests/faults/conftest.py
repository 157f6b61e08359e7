"""A shell, for what somebody sends to a kernel."""

from tests.unit.notebook.conftest import bare_shell as bare_shell
