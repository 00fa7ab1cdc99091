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
# JavaScript: the place of a diagram's frame in the window. In the frame are the cells or lines.
FRAME = """
const { left, top } = arguments[0].getBoundingClientRect();
const box = views.get(named[arguments[0].id][0]).frame.bbox;
return { left: left + box.left, right: left + box.right, top: top + box.top, bottom: top + box.bottom };
"""
# JavaScript: pictures of the diagrams that show.
PICTURES = """
const shown = [...document.querySelectorAll("#planes .diagram, #lines")].filter((node) => node.clientWidth);
return shown.map(({ id }) => views.get(named[id][0]).export("png").canvas.toDataURL());
"""
# JavaScript: the models of Bokeh with a name, as their attributes.
MODELS = """
return named[arguments[0]].map((model) => Object.fromEntries(arguments[1].map((key) => [key, model[key]])));
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
        """Return the addresses that were requested since the last call, without data in the page itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        addresses = [params["request"]["url"] for params in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def wait(self, condition):
        until(condition)

    def click(self, selector):
        self.find(selector).click()

    def download(self, selector, path):
        """Click an element that saves a file, and wait until the file is whole.

        Chromium makes an empty file of that name, writes the bytes into another one, and renames it.
        """
        behaviour = {"behavior": "allow", "downloadPath": str(path.parent)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
        self.click(selector)
        self.wait(lambda: path.exists() and path.stat().st_size > 0)

    def act(self, *places, press=True, touch=False):
        """Move a mouse or a finger to places in the window, and press it from the first to the last."""
        from selenium.webdriver.common.action_chains import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        kind = "touch" if touch else "mouse"
        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=20)
        pointer = actions.pointer_action
        for n, (x, y) in enumerate(places):
            pointer.move_to_location(round(x), round(y))
            if press and n == 0:
                pointer.pointer_down()
        if press:
            pointer.pointer_up()
        actions.perform()

    def contrast(self, selector):
        script = f"{COLOURS} return contrast(getComputedStyle(arguments[0]).color, behind(arguments[0]))"
        return self.driver.execute_script(script, self.find(selector))

    def contrast_with_page(self, colour):
        script = f"{COLOURS} return contrast(arguments[0], behind(document.body))"
        return self.driver.execute_script(script, colour)

    def luminance(self, selector):
        return self.driver.execute_script(
            f"{COLOURS} return luminance(behind(arguments[0]))", self.find(selector)
        )


class ReportPage(Page):
    """A report that is open in the browser."""

    def open(self, address):
        """Open a report, and wait until its diagrams are there, if it has any."""
        super().open(address)
        script = "return document.getElementById('diagrams').hidden || 'ready' in document.body.dataset"
        self.wait(lambda: self.driver.execute_script(script))

    def pictures(self):
        """Return the diagrams that show, as addresses with their pixels."""
        return self.driver.execute_script(PICTURES)

    def wait_for_pictures(self, differ):
        """Wait until all diagrams differ from earlier ones, and return them."""
        self.wait(lambda: all(new != old for new, old in zip(self.pictures(), differ, strict=True)))
        return self.pictures()

    def models(self, name, *attributes):
        """Return attributes of the models of Bokeh with a name."""
        return self.driver.execute_script(MODELS, name, attributes)

    def value(self, name, attribute):
        """Return an attribute of the only model of Bokeh with a name."""
        (model,) = self.models(name, attribute)
        return model[attribute]

    def colours(self):
        """Return the label of the colour bar."""
        return self.find("#bar").get_attribute("aria-label")

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

    def write(self, label, text):
        self.field(label).send_keys(text)

    def columns(self, name, index):
        """Return the columns of a source of Bokeh, of several with the same name."""
        return self.driver.execute_script("return named[arguments[0]][arguments[1]].data", name, index)

    def use_tool(self, kind):
        """Click the button of a tool of Bokeh."""
        script = """
        const buttons = views.get(named.tools[0]).tool_button_views;
        const { el } = buttons.find((view) => view.model.tool.name === arguments[0]);
        el.scrollIntoView({ block: "center" });
        const { left, top, width, height } = el.getBoundingClientRect();
        return [left + width / 2, top + height / 2];
        """
        self.act(self.driver.execute_script(script, kind))

    def wheel(self, selector, index):
        """Turn the wheel upwards over the middle of a diagram."""
        from selenium.webdriver.common.action_chains import ActionChains, ScrollOrigin

        x, y = self.frame(selector, index)(0.5, 0.5)
        origin = ScrollOrigin.from_viewport(round(x), round(y))
        ActionChains(self.driver).scroll_from_origin(origin, 0, -120).perform()

    def frame(self, selector, index=0):
        """Scroll to a diagram, and return a function from fractions of its frame to places in the window."""
        diagram = self.find(selector, index)
        self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", diagram)
        box = self.driver.execute_script(FRAME, diagram)
        return lambda across, up: (
            box["left"] + across * (box["right"] - box["left"]),
            box["bottom"] - up * (box["bottom"] - box["top"]),
        )

    def point(self, selector, index, across, up, touch=False, click=False):
        """Point at a diagram, at fractions of its frame, and return the lines of the tooltip."""
        self.driver.execute_script("tip.hidden = true")
        self.act(self.frame(selector, index)(across, up), press=touch or click, touch=touch)
        self.wait(lambda: self.find("#tip").text)
        return self.find("#tip").text.splitlines()

    def drag(self, selector, index, start, end):
        """Drag from one fraction of a diagram to another."""
        place = self.frame(selector, index)
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        self.act(place(*start), place(*middle), place(*end))
