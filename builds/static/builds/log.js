/* The log of a build: appends what comes while it runs, and remembers whether lines are wrapped.
   Without this script the page has links for both. */
"use strict";

(() => {
    /* A time is meant in the zone in which the page shows it: the reader's own. */
    const zone = document.querySelector(".jc-log-jump [name=zone]");
    if (zone) {
        zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
        zone.disabled = !zone.value;
    }
})();

(() => {
    const KEY = "jc-log-wrap";
    const part = document.querySelector(".jc-log-page, .jc-log-part");
    const toggle = part?.querySelector(".jc-log-wrap");
    if (!toggle) return;

    /* A browser may forbid to keep anything. */
    const kept = () => {
        try {
            return localStorage.getItem(KEY);
        } catch {
            return null;
        }
    };
    const keep = (value) => {
        try {
            localStorage.setItem(KEY, value);
        } catch {
            /* Then it lasts as long as the page. */
        }
    };
    const isWrapped = () => !part.classList.contains("jc-nowrap");
    const turn = () => {
        part.classList.toggle("jc-nowrap");
        [toggle.textContent, toggle.dataset.other] = [toggle.dataset.other, toggle.textContent];
    };

    /* What the address says comes before what was chosen once. */
    if (!new URLSearchParams(location.search).has("wrap") && kept() === "no" && isWrapped()) turn();
    toggle.addEventListener("click", (event) => {
        event.preventDefault();
        turn();
        keep(isWrapped() ? "yes" : "no");
        const address = new URL(location.href);
        address.searchParams.delete("wrap");
        history.replaceState(history.state, "", address);
    });
})();

(() => {
    const box = document.querySelector("[data-log-news]");
    if (!box) return;

    const FAST = 1; /* seconds between two looks while lines come */
    const SLOW = 5; /* … and while none come */
    const HIDDEN = 30; /* … and while nobody looks at the page */
    const LONGEST = 30; /* between two tries while the server does not answer */
    const PATIENCE = 20; /* for one answer */
    const COUNTING = 10; /* between two looks at how many lines of each level there are */
    const kept = Number(box.dataset.logKept || box.dataset.logMost); /* lines in the page */
    const rolls = Boolean(box.dataset.logKept); /* it shows the last lines, whatever the reader does */
    const list = box.querySelector(".jc-log");
    const foot = box.querySelector(".jc-log-foot");
    const word = box.querySelector(".jc-log-word");
    const button = box.querySelector(".jc-log-follow");

    let after = box.dataset.logAfter;
    let pause = FAST;
    let failures = 0;
    let timer = null;
    let isAsking = false;
    let isOver = false;
    let isFollowing = false;
    let unseen = 0;
    const numbers = [...document.querySelectorAll(".jc-levels .jc-number-of")];
    let counted = performance.now();
    let isStale = false; /* lines have come since the last counting */

    const link = (text, href) => {
        const element = document.createElement("a");
        element.href = href;
        element.textContent = text;
        return element;
    };
    const say = (kind, ...pieces) => {
        foot.hidden = false;
        foot.className = `jc-log-foot jc-log-${kind}`;
        if (word.textContent !== pieces.map((one) => one.textContent ?? one).join(""))
            word.replaceChildren(...pieces);
    };
    const here = () => location.pathname + location.search + location.hash;
    const end = (...pieces) => {
        isOver = true;
        clearTimeout(timer);
        say("ended", ...pieces);
        if (button) button.hidden = true;
    };

    /* --- Following: the newest line stays in sight --- */

    const bottom = () => document.documentElement.scrollHeight - window.innerHeight;
    let lastTop = window.scrollY;
    const toBottom = () => {
        window.scrollTo(0, bottom());
        lastTop = window.scrollY;
    };
    const show = () => {
        if (!button) return;
        button.textContent = isFollowing
            ? "Stop following"
            : unseen
              ? `Follow (${unseen} new)`
              : "Follow";
        button.setAttribute("aria-pressed", String(isFollowing));
    };
    const follow = (yes) => {
        isFollowing = yes;
        if (yes) {
            unseen = 0;
            toBottom();
        }
        show();
    };
    button?.addEventListener("click", () => {
        if (!isFollowing && isFull()) location.assign(endAddress());
        else follow(!isFollowing);
    });
    window.addEventListener(
        "scroll",
        () => {
            const top = window.scrollY;
            /* Lines that go at the top move the page too, but then it stays at its end. */
            if (isFollowing && top < lastTop && bottom() - top > 60) follow(false);
            lastTop = top;
        },
        { passive: true },
    );
    const endAddress = () => {
        const address = new URL(location.href);
        for (const name of ["after", "before", "from", "at", "zone"])
            address.searchParams.delete(name);
        address.searchParams.set("tail", "1");
        address.hash = "";
        return address.href;
    };
    const isFull = () => !rolls && !isFollowing && list.children.length >= kept;

    /* --- Asking for what is new --- */

    const plan = (seconds) => {
        clearTimeout(timer);
        if (!isOver) timer = setTimeout(ask, 1000 * seconds);
    };
    const address = () => {
        const asked = new URL(box.dataset.logNews, location.href);
        const now = new URLSearchParams(location.search);
        for (const name of rolls ? [] : ["level", "q"])
            if (now.get(name)) asked.searchParams.set(name, now.get(name));
        asked.searchParams.set("after", after);
        if (numbers.length && isStale && performance.now() > counted + 1000 * COUNTING)
            asked.searchParams.set("counts", "1");
        return asked;
    };
    const append = (html) => {
        const template = document.createElement("template");
        template.innerHTML = html;
        const fresh = [...template.content.querySelectorAll(".jc-log > li")];
        const mine = new DocumentFragment();
        /* A line that is there already was asked for twice. */
        for (const line of fresh)
            if (!line.id || !document.getElementById(line.id)) mine.append(line);
        const came = mine.children.length;
        const first = mine.firstElementChild;
        list.append(mine);
        box.querySelector(".jc-log-none")?.remove();
        for (let line = first; line; line = line.nextElementSibling)
            line.dispatchEvent(new CustomEvent("jc:fresh", { bubbles: true }));
        if (rolls || isFollowing)
            while (list.children.length > kept) list.firstElementChild.remove();
        if (isFollowing) toBottom();
        else unseen += came;
        show();
        return came;
    };
    const failed = () => {
        failures += 1;
        say("broken", "The server does not answer; new lines come when it is back. Trying again…");
        plan(Math.min(LONGEST, 2 ** (failures - 1)));
    };
    const count = (text) => {
        text.split(",").forEach((number, place) => {
            if (numbers[place]) numbers[place].textContent = number;
        });
        counted = performance.now();
        isStale = false;
    };
    const status = (name) => {
        const badge = document.querySelector(".jc-log-status .jc-badge");
        if (!badge || !name || badge.textContent === name) return;
        badge.textContent = name;
        badge.className = `jc-badge jc-${name.toLowerCase()}`;
    };

    const ask = async () => {
        if (isAsking || isOver) return;
        if (isFull()) {
            say("paused", `Paused: the page has ${kept} lines.`);
            return;
        }
        isAsking = true;
        try {
            const answer = await fetch(address(), {
                credentials: "same-origin",
                cache: "no-store",
                signal: AbortSignal.timeout(1000 * PATIENCE),
            });
            const html = answer.status === 200 ? await answer.text() : "";
            take(answer, html);
        } catch {
            failed();
        } finally {
            isAsking = false;
        }
    };
    const take = (answer, html) => {
        const last = answer.headers.get("X-Log-After");
        const { login } = box.dataset;
        if (answer.status >= 500) failed();
        else if (answer.status === 404) end("This build is gone.");
        else if (answer.status === 403) end("You may not see this any more.");
        else if (!answer.ok) end(`The server refused to send new lines (${answer.status}).`);
        else if (last === null && new URL(answer.url).pathname === login)
            end(
                "You are logged out. ",
                link("Log in again", `${login}?next=${encodeURIComponent(here())}`),
            );
        else if (last === null)
            end("The server has another page here now. ", link("Load the page again", ""));
        else {
            failures = 0;
            const before = after;
            after = last;
            const counts = answer.headers.get("X-Log-Counts");
            const came = html ? append(html) : 0;
            if (last !== before) isStale = true;
            if (counts) count(counts);
            pause = came ? FAST : Math.min(SLOW, pause * 1.5);
            status(answer.headers.get("X-Log-Status"));
            if (answer.headers.has("X-Log-Over")) {
                end("The build has ended; this is the end of its log.");
                if (isFollowing) toBottom();
                return;
            }
            say("live", isFollowing || rolls ? "Live" : "Live; new lines come below");
            plan(document.hidden ? HIDDEN : pause);
        }
    };

    document.addEventListener("visibilitychange", () => {
        if (isOver) return;
        if (document.hidden) plan(HIDDEN);
        else {
            pause = FAST;
            plan(0);
        }
    });

    for (const one of document.querySelectorAll(".jc-log-again")) one.hidden = true;
    say("live", "Live");
    if ("logFollows" in box.dataset && !location.hash) follow(true);
    else show();
    plan(FAST);
})();
