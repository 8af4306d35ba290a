/* The tree of progress bars: loads a folded branch when it is opened, unfolds and folds all, and
   counts on while the page is kept fresh. Without it, links do the first, and reloading the last. */
"use strict";

(() => {
    const OPENED_AT_MOST = 100; /* branches */
    const PATIENCE = 5000; /* ms in which a refresh that was under way may fold what was opened */
    const section = () => document.getElementById("progress");
    if (!section()) return;
    const live = () => document.querySelector("[data-live]");
    const folded = (details) => details.querySelector(":scope > .jc-unloaded");
    const key = (details) => details.id.replace(/^bar-/, "");

    /* The branches that are to be open beside those that the server opens by itself, and since
       when: a refresh is told of them. */
    const opened = new Map();
    let isAllOpen = false;
    const asked = new URLSearchParams(location.search).get("open") || "";
    for (const name of asked.split("."))
        if (name === "all") isAllOpen = true;
        else if (name) opened.set(name, 0);

    const names = () => [...(isAllOpen ? ["all"] : []), ...opened.keys()].join(".");
    const tell = () => {
        const root = live();
        if (!root) return;
        const address = new URL(root.dataset.live, location.href);
        if (names()) address.searchParams.set("open", names());
        else address.searchParams.delete("open");
        root.dataset.live = address.pathname + address.search;
    };

    /* --- loading --- */

    const fetchBranch = async (branch) => {
        const address = new URL(section().querySelector("[data-branches]").dataset.branches, location.href);
        address.searchParams.set("branch", branch);
        if (names()) address.searchParams.set("open", names());
        const answer = await fetch(address, { credentials: "same-origin" });
        if (answer.redirected) throw new Error("you are logged out");
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        const box = document.createElement("template");
        box.innerHTML = await answer.text();
        return box.content.querySelector("ul");
    };

    const loading = new Set();
    const load = async (id) => {
        if (loading.has(id)) return;
        loading.add(id);
        const place = () => folded(document.getElementById(id) || document.createElement("p"));
        const say = (text) => {
            const word = place()?.querySelector("[role=status]");
            if (word) word.textContent = text;
        };
        const later = setTimeout(say, 300, "Loading…");
        try {
            const list = await fetchBranch(id.replace(/^bar-/, ""));
            place()?.replaceWith(list);
        } catch (error) {
            say(`Not loaded: ${error.message}.`);
        } finally {
            clearTimeout(later);
            loading.delete(id);
        }
    };

    /* "toggle" does not bubble. It also comes for what the server sent open. */
    document.addEventListener("toggle", (event) => {
        const details = event.target;
        if (!section()?.contains(details)) return;
        if (details.open && folded(details)) {
            opened.delete(key(details));
            opened.set(key(details), performance.now());
            const [oldest] = opened.keys();
            if (opened.size > OPENED_AT_MOST) {
                opened.delete(oldest);
                const other = document.getElementById(`bar-${oldest}`);
                if (other) other.open = false;
            }
            tell();
            load(details.id);
        } else if (!details.open && opened.delete(key(details))) {
            tell();
        }
    }, true);

    /* The link in a folded branch is for those without scripts. */
    document.addEventListener("click", (event) => {
        const link = event.target.closest?.("a[data-branch]");
        if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        load(link.closest("details").id);
    });

    /* --- all at once --- */

    const sayOfTree = (text) => {
        const word = section().querySelector(".jc-tree-tools [role=status]");
        if (word) word.textContent = text;
    };

    const unfold = async () => {
        const list = section().querySelector("[data-root]");
        const root = document.getElementById(`bar-${list.dataset.root}`);
        const isComplete = !list.querySelector(".jc-unloaded");
        if (!isComplete) {
            isAllOpen = true;
            opened.clear();
            try {
                const fresh = await fetchBranch(list.dataset.root);
                root.querySelector(":scope > ul").replaceWith(fresh);
            } catch (error) {
                isAllOpen = false;
                sayOfTree(`Not unfolded: ${error.message}.`);
                return;
            }
            tell();
        }
        for (const details of section().querySelectorAll("details"))
            if (!folded(details)) details.open = true;
        sayOfTree(section().querySelector(".jc-unloaded") ? "As many as a page bears; the others are still folded." : "");
    };

    const fold = () => {
        const root = section().querySelector("[data-root]").dataset.root;
        isAllOpen = false;
        opened.clear();
        tell();
        for (const details of section().querySelectorAll("details"))
            if (key(details) !== root) details.open = false;
        sayOfTree("");
    };

    document.addEventListener("click", (event) => {
        const button = event.target.closest?.("button[data-tree]");
        if (button) (button.dataset.tree === "unfold" ? unfold : fold)();
    });
    const showButtons = () => {
        for (const button of section()?.querySelectorAll("button[data-tree]") || []) button.hidden = false;
    };
    showButtons();

    /* --- after a refresh --- */

    /* The text of a bar changes, so that its place is told by its id. */
    let focused = null;
    document.addEventListener("htmx:oobBeforeSwap", () => {
        focused = document.activeElement?.closest("#progress summary")?.parentElement.id ?? null;
    }, true);
    const focusAgain = (id) => {
        if (document.activeElement === document.body)
            document.getElementById(id)?.querySelector("summary").focus({ preventScroll: true });
    };

    document.addEventListener("jc:fresh", (event) => {
        if (event.target.id !== "progress") return;
        showButtons();
        if (focused) queueMicrotask(focusAgain.bind(null, focused));
        for (const details of section().querySelectorAll("details[open]")) {
            if (!folded(details)) continue;
            const since = opened.get(key(details));
            if (since !== undefined && performance.now() - since < PATIENCE) {
                load(details.id);
            } else {
                /* The server folded it: it is done, or there are too many bars. */
                details.open = false;
                if (opened.delete(key(details))) tell();
            }
        }
        count();
    });

    /* --- counting on --- */

    const spell = (seconds) => {
        const minutes = Math.floor(seconds / 60);
        if (seconds < 60) return `${seconds} s`;
        if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
        return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    };

    /* Since when an element is there: what it says was true then. */
    const seen = new WeakMap();
    const passed = (element) => {
        if (!seen.has(element)) seen.set(element, performance.now());
        return (performance.now() - seen.get(element)) / 1000;
    };

    const count = () => {
        if (!section()) return;
        const root = live();
        /* A page that is not asked for again can't know that nothing came. */
        const isFresh = root?.classList.contains("jc-is-live") && !root.classList.contains("jc-live-broken");
        for (const still of section().querySelectorAll("[data-silence]")) {
            const seconds = Math.round(Number(still.dataset.silence) + passed(still));
            if (!isFresh) continue;
            const isStill = seconds > Number(still.dataset.stillAfter);
            still.hidden = !isStill;
            still.textContent = `no update for ${spell(seconds)}`;
            const left = still.parentElement.querySelector("[data-left]");
            if (left) left.hidden = isStill;
        }
        for (const left of section().querySelectorAll("[data-left]")) {
            const seconds = Math.round(Number(left.dataset.left) - passed(left));
            if (!isFresh) continue;
            if (seconds > 0) left.textContent = `${spell(seconds)} left`;
            else left.hidden = true;
        }
    };
    count();
    setInterval(count, 1000);
})();
