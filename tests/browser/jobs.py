"""The jobs of the site that the browser looks at; each test has its own."""

MODULE = '''
"""Jobs for the tests in a browser."""

import logging
import pathlib
import time

from jobcontrol.globals import current_app

HERE = pathlib.Path(__file__).resolve().parent
logger = logging.getLogger(__name__)


def wait_at(gate):
    """Wait until the test opens the gate."""
    while not (HERE / f"gate-{gate}").exists():
        time.sleep(0.05)


def number(value=1, times=1):
    """Return *value*, as often as asked.

    :param value: any number
    """
    logger.info("The number is %s", value)
    return value * times


def shelves(gate):
    """Count what lies on two shelves."""
    logger.debug("Opening the door")
    logger.info("Counting the shelves")
    current_app.report_progress(("Shelf A",), 3, 4, "Counting jars")
    current_app.report_progress(("Shelf B", "Left"), 0, 6)
    logger.warning("A jar is missing")
    wait_at(gate)
    current_app.report_progress(("Shelf A",), 4, 4, "All jars counted")
    current_app.report_progress(("Shelf B", "Left"), 6, 6)
    logger.info("All is counted")
    return {"jars": 4, "boxes": 6}


def tables(gate):
    """Lay four tables, with a rest."""
    current_app.report_progress(None, 1, 4, "Laying the first")
    wait_at(f"{gate}-half")
    current_app.report_progress(None, 3, 4, "Laying the third")
    wait_at(gate)


def plates():
    """Fail, and say it in two lines."""
    raise RuntimeError("the plates are broken\\ninto pieces")


def depths():
    """Report progress far below."""
    current_app.report_progress(tuple(f"Level {n}" for n in range(30)), 3, 10, "Digging")


def tree(gate):
    """Report 5,000 bars, of which those of one group move."""
    for n in range(5000):
        group = n // 100
        done = 10 if group < 20 else n % 10 if group == 20 else 0
        current_app.report_progress((f"Supplier {group}", f"File {n}"), done, 10)
    wait_at(gate)


def hold(value, gate):
    """Keep what it was given until the gate opens."""
    wait_at(gate)
    return value


def unless(gate):
    """Fail until the gate is open."""
    if not (HERE / f"gate-{gate}").exists():
        raise RuntimeError("the oven is cold")
    return gate


def broken(price):
    """Fail, with a cause."""
    basket = {"apple": price}
    logger.error("The basket is not full")
    try:
        return basket["pear"]
    except KeyError as error:
        raise ValueError("no pear in the basket") from error


def chatter(gate):
    """Log until the gate opens."""
    for number in range(40):
        logger.debug("Preparing %s", number)
    number = 0
    while not (HERE / f"gate-{gate}").exists():
        number += 1
        logger.info("Round %s", number)
        time.sleep(0.1)
    logger.warning("That was all")


def colours():
    """Write in colours, a long line, and an exception."""
    for codes in (range(30, 38), range(90, 98), range(40, 48), range(100, 108), range(1, 10)):
        print(" ".join(f"\\x1b[{code}mcode {code}\\x1b[0m" for code in codes))
    print("\\x1b[2K\\x1b[31m<b>red</b>\\x1b[0m")
    logger.warning("A long line: %s", "and on and on " * 40)
    try:
        {}["pear"]
    except KeyError:
        logger.exception("No pear")
    logger.critical("Nothing left")


def refuse_cleanup(build):
    """Fail until the test opens the gate."""
    logger.info("Cleaning up after build %s", build.id)
    if not (HERE / "gate-cleanup").exists():
        raise RuntimeError("the archive is locked")
'''

LONG_ID = "nightly_import_of_the_whole_customer_database_with_all_attachments"
UNBROKEN_ID = "x" * 200

CONFIG = (
    """
jobs:
  - id: shelves
    title: "Count the shelves"
    notes: |
      Counts **everything** on the shelves.
    function: flows:shelves
    args: [shelves]
    tags: [stock]

  - {id: chatter, title: "Talk and talk", function: "flows:chatter", args: [chatter]}
  - {id: rolling, title: "Talk on", function: "flows:chatter", args: [rolling]}
  - {id: restarted, title: "Talk to nobody", function: "flows:chatter", args: [restarted]}
  - {id: colours, title: "Write in colours", function: "flows:colours"}

  - {id: lamps, title: "Light the lamps", function: "flows:hold", args: [1, lamps], concurrency: 1}

  - id: tables
    title: "Lay the tables"
    function: flows:tables
    args: [tables]

  - {id: plates, title: "Drop the plates", function: "flows:plates"}

  - id: spoons
    title: "Polish the spoons"
    function: flows:hold
    args: [1, spoons]
    concurrency: 1

  - id: depths
    title: "Dig deep"
    function: flows:depths

  - id: tree
    title: "Read five thousand files"
    function: flows:tree
    args: [tree]

  - id: broken
    title: "Break a basket"
    function: flows:broken
    kwargs: {price: 42}
    tags: [stock]

  - id: greeting
    title: "Override me"
    function: flows:number
    args: [1]

  - id: source
    title: "A number to start from"
    function: flows:number
    args: [1]

  - id: double
    title: "Twice the number"
    function: flows:number
    args: [!retval source]
    kwargs: {times: 2}

  - id: triple
    title: "Thrice the double"
    function: flows:number
    kwargs: {value: !retval double, times: 3}

  - id: deploy
    title: "Deploy the number"
    function: flows:number
    args: [7]
    protect: true
    tags: [dangerous]

  - id: archive
    title: "Archive"
    function: flows:number
    cleanup: flows:refuse_cleanup

  - id: held
    title: "Held by another build"
    function: flows:number

  - id: holder
    title: "Hold a build"
    function: flows:hold
    args: [!retval held, holder]

  - id: endless
    title: "Never comes to an end"
    function: flows:hold
    args: [1, never_opened]

  - id: single
    title: "One at a time"
    function: flows:hold
    args: [1, single]
    concurrency: 1

  - id: night
    title: "Only at night"
    function: flows:number
    queue: night

  - id: plain
    title: "Without a script"
    function: flows:number

  - id: keys
    title: "By keyboard"
    function: flows:number

  - id: twice
    title: "Clicked in haste"
    function: flows:number

  - id: waiting
    title: "Wait for a source that was never built"
    function: flows:number
    args: [!retval never]

  - id: never
    title: "Never built"
    function: flows:number

  - id: ladders
    title: "Climb the ladders"
    function: flows:hold
    args: [1, ladders]
    tags: [climbing]

  - {id: stairs, title: "Climb the stairs", function: "flows:number", tags: [climbing]}
  - {id: rope, title: "Climb the rope", function: "flows:number", tags: [climbing]}

  - id: aisles
    title: "Count the aisles"
    function: flows:shelves
    args: [aisles]

  - id: timed
    title: "Comes by itself"
    function: flows:number
    schedule:
      - cron: "30 3 * * MON-FRI"
        timezone: Australia/Lord_Howe
        catch_up: last
        kwargs: {times: 2}
      - {every: 30s, overlap: queue}

  - id: 'odd/id "<b>&é'
    title: "<script>alert('title')</script> and a very long title that has to be broken, \\
      for it does not fit on a phone: supercalifragilisticexpialidocious_supercalifragilistic"
    function: flows:broken
    args: ["<img src=x onerror=alert(1)>"]
    tags: ["<i>tag</i>"]
"""
    + """
  - {id: stones, title: "Gather stones", function: "flows:number"}
  - {id: walls, title: "Build walls", function: "flows:number", args: [!retval stones]}
  - {id: roof, title: "Put a roof on", function: "flows:number", dependencies: [walls, stones]}

  - {id: bricks, title: "Form bricks", function: "flows:number"}
  - id: oven
    title: "Heat the oven"
    function: flows:unless
    args: [oven]
    dependencies: [bricks]
  - {id: tiles, title: "Dry tiles", function: "flows:number", dependencies: [bricks]}
  - {id: house, title: "Sell the house", function: "flows:number", dependencies: [oven, tiles]}

  - id: kiln
    title: "Fire the kiln"
    function: flows:unless
    args: [kiln]

  - {id: river, title: "Wait for the river", function: "flows:hold", args: [1, river]}
  - {id: mill, title: "Grind at the mill", function: "flows:number", dependencies: [river]}
  - {id: bread, title: "Bake bread", function: "flows:number", dependencies: [mill]}

  - {id: vault, title: "Open the vault", function: "flows:number", protect: true}
  - {id: coins, title: "Count the coins", function: "flows:number", dependencies: [vault]}

  - {id: hopeless, title: "Use the broken basket", function: "flows:number", dependencies: [broken]}
"""
    + f"""
  - id: {LONG_ID}
    function: flows:number

  - id: {UNBROKEN_ID}
    function: flows:number

  - id: needy
    title: "Needs jobs with long names"
    function: flows:number
    dependencies: [{LONG_ID}, never, {UNBROKEN_ID}, deploy]
"""
)
