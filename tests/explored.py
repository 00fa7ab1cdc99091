"""Pictures of the explorer for the documentation: `python -m tests.explored` takes them again in a browser."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import fastlin as fl
from tests import browser

PICTURES = Path(__file__).parents[1] / "fastlin" / "docs" / "static"
WIDTH, HEIGHT = 1400, 1180


def main():
    """Take the pictures in both schemes."""
    spec = fl.Spec.load("rich-lazy").to_dict()
    spec["axes"]["seed"] = {"start": 0, "num": 20}
    with TemporaryDirectory() as folder, chdir(folder):
        fl.run_sweep(spec, "rich-lazy.zarr")
        explorer = fl.explore("rich-lazy.zarr")
        with browser.running(Path(folder)) as driver:
            browser.resize(driver, WIDTH, HEIGHT)
            for scheme in ("light", "dark"):
                browser.prefer(driver, scheme)
                page = browser.Page(driver)
                page.open(explorer.address)
                page.wait(lambda: page.driver.execute_script("return Bokeh.documents[0]?.is_idle"))
                target = PICTURES / f"explorer-{scheme}.png"
                driver.save_screenshot(str(target))
                print(target.name)
        explorer.close()


if __name__ == "__main__":
    main()
