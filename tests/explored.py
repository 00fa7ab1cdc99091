"""Pictures of the explorer for the documentation: `python -m tests.explored` takes them in a browser."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import fastlin as fl
from fastlin.plot.screen import SCHEMES
from tests import browser

PICTURES = Path(__file__).parents[1] / "fastlin" / "docs" / "static"
WIDTH, HEIGHT = 1400, 1180
# JavaScript: whether all is drawn in the colours of the scheme.
DRAWN = """
const page = window.Bokeh?.documents?.[0];
return Boolean(page?.is_idle) && page.get_model_by_name("loss")?.title.text_color === arguments[0];
"""


def main():
    """Take the pictures in both schemes."""
    spec = fl.Spec.load("rich-lazy").to_dict()
    spec["axes"]["seed"] = {"start": 0, "num": 20}
    with TemporaryDirectory() as folder, chdir(folder):
        fl.run_sweep(spec, "rich-lazy.zarr")
        explorer = fl.explore("rich-lazy.zarr")
        with browser.running(Path(folder)) as driver:
            browser.resize(driver, WIDTH, HEIGHT)
            for scheme, colours in SCHEMES.items():
                browser.prefer(driver, scheme)
                page = browser.Page(driver)
                page.open(explorer.address)
                page.wait(lambda ink=colours["ink"]: driver.execute_script(DRAWN, ink))
                target = PICTURES / f"explorer-{scheme}.png"
                driver.save_screenshot(str(target))
                print(target.name)
        explorer.close()


if __name__ == "__main__":
    main()
