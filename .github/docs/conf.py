"""The documentation site: README, the notebooks with their outputs, these pages, and the docstrings.

`python -m tests docs` builds it in `build/docs`, and a warning is an error: a link that leads nowhere, a missing
picture, a docstring that cannot be read. Nothing is executed: the notebooks show what their last real run showed.
"""

import importlib.metadata

project = "awaitly_nb"
author = "The awaitly_nb founders"
project_copyright = "The awaitly_nb founders"
release = importlib.metadata.version("awaitly-nb")
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "index"
exclude_patterns = ["README.md"]  # `index.md` includes it
# The languages of the README's blocks; a magic is no Python, and the highlighter is not to complain.
highlight_language = "none"
default_role = "code"  # one backtick in a docstring

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "smartquotes"]
nb_execution_mode = "off"
# The widget of a live panel is nothing without its kernel; what is saved in its place is HTML.
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_output_stderr = "show"

autosummary_generate = False  # tables of names that link to their place on the page
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "awaitly_nb"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]
# No fonts and no scripts of others: the site makes no request but to itself.
html_theme_options = {"navigation_with_keys": True}


def setup(app):
    """Adapt the docstrings to the pages of the reference."""
    app.connect("autodoc-skip-member", _skip_repeated)
    app.connect("autodoc-process-docstring", _clear_of_module)


def _skip_repeated(app, what, name, value, skip, options):
    """Leave the errors that the root repeats to their own page."""
    is_error = isinstance(value, type) and issubclass(value, BaseException)
    return True if app.env.docname == "api/index" and is_error else None


def _clear_of_module(app, what, name, value, options, lines):
    """Leave out what a module's docstring tells the readers of its code; the pages begin with words of their own."""
    if what == "module":
        lines.clear()
