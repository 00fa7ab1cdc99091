"""A headless Chromium that the tests drive, and actions on a page in it."""

import json
import shutil
from contextlib import contextmanager
from importlib.util import find_spec

from tests.fault_injection import until

PROGRAMS = ("chromium", "chromedriver")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
LOGS = {"browser": "ALL", "performance": "ALL"}

# JavaScript: the relative luminance of a colour, and the colour behind an element (WCAG 2).
COLOURS = """
const channels = (text) => {
  const ctx = document.createElement("canvas").getContext("2d");
  ctx.fillStyle = text;
  ctx.fillRect(0, 0, 1, 1);
  return [...ctx.getImageData(0, 0, 1, 1).data];
};
const luminance = (text) => {
  const parts = channels(text).slice(0, 3).map((c) => c / 255);
  const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (channels(colour)[3] === 255) return colour;
  }
  return "white";
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((p, q) => p - q);
  return (high + 0.05) / (low + 0.05);
};
"""
# JavaScript: the largest contrast to the background among the opaque grey pixels of a canvas.
DARKEST = """
const canvas = document.querySelector(arguments[0]);
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let best = 0;
const paper = behind(canvas);
const seen = new Set();
for (let i = 0; i < data.length; i += 4) {
  const [r, g, b, a] = data.slice(i, i + 4);
  if (a === 255 && Math.max(r, g, b) - Math.min(r, g, b) < 24) seen.add(`rgb(${r} ${g} ${b})`);
}
for (const colour of seen) best = Math.max(best, contrast(colour, paper));
return best;
"""


def missing():
    """Return the names of the required programs that are not installed, or an empty text."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return ", ".join(absent + ([] if find_spec("selenium") else ["selenium"]))


@contextmanager
def running(folder):
    """Yield a driver of a browser whose profile is a new folder below `folder`."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in (*OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", LOGS)
    driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver, width, height=900, ratio=1):
    """Set the width of the window in CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver, scheme):
    """Set the colour scheme that the user prefers: "light" or "dark"."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def download_to(driver, folder):
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})


class Page:
    """The page that is open in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address):
        self.driver.get("about:blank")
        self.faults(), self.requests()  # drop the entries of the page before
        self.driver.get(address)

    def find(self, selector, index=0):
        return self.driver.find_elements("css selector", selector)[index]

    def count(self, selector):
        return len(self.driver.find_elements("css selector", selector))

    def text(self, selector):
        return self.find(selector).text

    def faults(self):
        """Return the messages of the browser's log since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Return the addresses that were requested since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def wait(self, condition):
        until(condition)

    def pictures(self):
        script = "return [...document.querySelectorAll('#planes canvas, #lines')].map((c) => c.toDataURL())"
        return self.driver.execute_script(script)

    def colours(self):
        """Return the label of the colour bar."""
        return self.find("#bar").get_attribute("aria-label")

    def click(self, selector):
        self.find(selector).click()

    def press(self, selector, *arrows):
        self.find(selector).send_keys(*({"left": "\ue012", "right": "\ue014"}[arrow] for arrow in arrows))

    def field(self, label):
        name = self.driver.find_element("xpath", f"//label[starts-with(normalize-space(), '{label}')]")
        return self.driver.find_element("id", name.get_attribute("for"))

    def choose(self, label, option):
        from selenium.webdriver.support.select import Select

        Select(self.field(label)).select_by_visible_text(option)

    def tick(self, label):
        self.field(label).click()

    def point(self, selector, index, across, up, touch=False, click=False):
        """Point at a canvas, at fractions of its diagram, and return the lines of the tooltip."""
        from selenium.webdriver.common.action_chains import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        canvas = self.find(selector, index)
        self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", canvas)
        box = self.driver.execute_script("return arguments[0].box", canvas)
        size = canvas.size
        x = round(box["left"] + across * (box["right"] - box["left"]) - size["width"] / 2)
        y = round(box["bottom"] - up * (box["bottom"] - box["top"]) - size["height"] / 2)
        kind = "touch" if touch else "mouse"
        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=0)
        actions.pointer_action.move_to(canvas, x, y)
        if touch or click:
            actions.pointer_action.pointer_down().pointer_up()
        actions.perform()
        lines = self.find("#tip").text.splitlines()
        assert lines, "nothing appeared"
        return lines

    def contrast(self, selector):
        script = f"{COLOURS} return contrast(getComputedStyle(arguments[0]).color, behind(arguments[0]))"
        return self.driver.execute_script(script, self.find(selector))

    def contrast_of_canvas(self, selector):
        return self.driver.execute_script(COLOURS + DARKEST, selector)

    def luminance(self, selector):
        return self.driver.execute_script(
            f"{COLOURS} return luminance(behind(arguments[0]))", self.find(selector)
        )
