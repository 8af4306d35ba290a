/* Keeps a page true while it is open: asks for the parts that changed, as long as it is told to.
   Without this script the page has a link to reload it. */
"use strict";

(() => {
    const root = document.querySelector("[data-live]");
    if (!root || !window.htmx) return;

    const HIDDEN_SECONDS = 30; /* between two looks while nobody looks at the page */
    const WATCHED_SECONDS = 5; /* … and somebody waits to be told of its end (notify.js) */
    const LONGEST_SECONDS = 30; /* between two tries while the server does not answer */
    const KEPT_SECONDS = 2; /* until a part that was in use is looked at again */
    const word = document.createElement("p");
    word.className = "jc-live-word";
    word.setAttribute("role", "status");
    root.prepend(word);

    let stamp = "";
    let every = Number(root.dataset.every);
    let failures = 0;
    let timer = null;
    let isAsking = false;

    /* A part as the server last sent it, to tell whether it has changed. Scripts change parts too
       (moments in the reader's time zone), and every form has another token each time. */
    const sent = new Map();
    const asSent = (element) =>
        element.outerHTML.replace(/(name="(?:csrfmiddlewaretoken|nonce)" value=")[^"]*/g, "$1");
    for (const part of root.parentElement.querySelectorAll("[hx-swap-oob]"))
        sent.set(part.id, asSent(part));
    for (const part of document.querySelectorAll("[hx-swap-oob]"))
        if (!sent.has(part.id)) sent.set(part.id, asSent(part));

    const say = (...pieces) => {
        word.replaceChildren(...pieces);
        root.classList.toggle("jc-live-broken", pieces.length > 0);
    };
    const link = (text, href) => {
        const element = document.createElement("a");
        element.href = href;
        element.textContent = text;
        return element;
    };

    const plan = (seconds) => {
        clearTimeout(timer);
        timer = seconds > 0 ? setTimeout(ask, 1000 * seconds) : null;
    };
    const hidden = () => ("watched" in root.dataset ? WATCHED_SECONDS : HIDDEN_SECONDS);
    const next = () => plan(every > 0 && document.hidden ? hidden() : every);
    const end = (...pieces) => {
        every = 0;
        plan(0);
        say(...pieces);
    };

    const ask = () => {
        if (isAsking) return;
        isAsking = true;
        const address = new URL(root.dataset.live, location.href);
        address.searchParams.set("live", stamp);
        const options = { source: root, swap: "none" };
        /* What goes wrong is told by the events below as well. */
        window.htmx.ajax("GET", address.pathname + address.search, options).catch(() => {});
    };

    const failed = () => {
        failures += 1;
        say("The server does not answer; the page shows what was last known. Trying again…");
        plan(Math.min(LONGEST_SECONDS, 2 ** failures));
    };

    root.addEventListener("htmx:beforeSwap", (event) => {
        const { xhr } = event.detail;
        /* A page without a stamp is none of ours: the form to log in, or another one. */
        if (xhr.status === 200 && !xhr.getResponseHeader("X-Live-Stamp"))
            event.detail.shouldSwap = false;
    });

    root.addEventListener("htmx:afterRequest", (event) => {
        const { xhr } = event.detail;
        isAsking = false;
        if (xhr.status === 0 || xhr.status >= 500) {
            failed();
            return;
        }
        const fresh = xhr.getResponseHeader("X-Live-Stamp");
        const { login } = root.dataset;
        const here = location.pathname + location.search;
        const again = link("Load the page again", "");
        if (xhr.status === 404) end("This is gone. ", again);
        else if (xhr.status === 403) end("You may not see this any more.");
        else if (xhr.status >= 400) end(`The server refused the refresh (${xhr.status}). `, again);
        else if (!fresh && new URL(xhr.responseURL).pathname === login)
            end(
                "You are logged out. ",
                link("Log in again", `${login}?next=${encodeURIComponent(here)}`),
            );
        else if (!fresh) end("The server has another page here now. ", again);
        else {
            failures = 0;
            say();
            stamp = isKept ? "" : fresh;
            const told = xhr.getResponseHeader("X-Live-Every");
            if (told !== null) every = Number(told);
            if (isKept) every = Math.max(every, KEPT_SECONDS);
            isKept = false;
            next();
        }
    });

    /* Whether a part was left as it is, to be asked for again: the reader marks text in it, writes
       there, or holds a button down. */
    let isKept = false;
    const isInUse = (part) => {
        const marked = getSelection();
        const writes = document.activeElement?.matches("input, select, textarea");
        return (
            part.matches(":active") ||
            (marked && !marked.isCollapsed && marked.containsNode(part, true)) ||
            (writes && part.contains(document.activeElement))
        );
    };

    let focused = null;
    document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
        const part = event.detail.target;
        const fresh = event.detail.fragment.firstElementChild;
        const html = asSent(fresh);
        if (sent.get(part.id) === html) {
            event.detail.shouldSwap = false;
            return;
        }
        /* A script may take what is new into the part by itself (see lists.js). */
        const detail = { fresh, isLeft: false };
        const news = new CustomEvent("jc:news", { bubbles: true, cancelable: true, detail });
        if (!part.dispatchEvent(news)) {
            event.detail.shouldSwap = false;
            if (detail.isLeft) isKept = true;
            else sent.set(part.id, html);
            return;
        }
        if (isInUse(part)) {
            isKept = true;
            event.detail.shouldSwap = false;
            return;
        }
        sent.set(part.id, html);
        for (const old of part.querySelectorAll("details[id]")) {
            const same = fresh.querySelector(`details[id="${CSS.escape(old.id)}"]`);
            if (same) same.open = old.open;
        }
        const active = part.contains(document.activeElement) ? document.activeElement : null;
        focused = active && {
            part: part.id,
            tag: active.tagName,
            text: active.textContent,
            href: active.getAttribute("href"),
        };
    });

    document.body.addEventListener("htmx:oobAfterSwap", (event) => {
        const part = document.getElementById(event.detail.target.id);
        if (!part) return;
        part.dispatchEvent(new CustomEvent("jc:fresh", { bubbles: true }));
        if (focused?.part === part.id) {
            const { tag, text, href } = focused;
            const fresh = [...part.querySelectorAll(tag)];
            const same =
                fresh.find((one) => one.textContent === text) ||
                (href && fresh.find((one) => one.getAttribute("href") === href));
            if (same) same.focus({ preventScroll: true });
            focused = null;
        }
    });

    document.addEventListener("visibilitychange", () => {
        if (!every) return;
        if (document.hidden) next();
        else ask();
    });

    if (every) root.classList.add("jc-is-live");
    next();
})();
