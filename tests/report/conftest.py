"""What tests of figures share."""

import pytest

from frenchpress.report import figure


@pytest.fixture
def draws():
    """Draws on axes of 9 x 5 inches, and gives them."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[plot]'")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def on_axes(draw: figure.Draw):
        canvas = Figure((9, 5), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.subplots()
        draw(axes)
        canvas.draw_without_rendering()
        return axes

    return on_axes
