/* Takes what is new into a list (see live.js): cells change where they stand, so that chosen rows,
   the keyboard's place and Django's script for actions stay as they are. Rows come and go while
   nobody is about to click on one; else a button says that there are new ones. */
"use strict";

(() => {
    const list = () => document.getElementById("list");
    if (!list()?.matches(".jc-list") || !document.querySelector("[data-live]")) return;

    /* Over the head of the list, so that it moves nothing. */
    const region = list().parentElement;
    const news = document.createElement("div");
    news.className = "jc-list-news";
    news.setAttribute("role", "status");
    const putNews = () => (list().querySelector(".results") || list().firstElementChild).before(news);
    putNews();

    const rowsOf = (root) =>
        new Map([...root.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
    const piecesOf = (root) => [...root.querySelectorAll(":scope > .jc-piece")];
    const htmlOf = (elements) => [...elements].map((one) => one.outerHTML);

    /* Cells and pieces as the server last sent them: scripts change them, too. */
    const sent = new Map();
    let sentPieces = [];
    const remember = (root) => {
        sent.clear();
        for (const [key, row] of rowsOf(root)) sent.set(key, htmlOf(row.children));
        sentPieces = htmlOf(piecesOf(root));
    };
    remember(list());

    /* Django's script looks for the boxes once; rows come and go. */
    const boxes = () => [...document.querySelectorAll("tr input.action-select")];
    const allBoxes = {
        forEach: (act) => boxes().forEach(act),
        get length() { return boxes().length; },
        [Symbol.iterator]: () => boxes()[Symbol.iterator](),
    };
    const start = window.Actions;
    if (start) window.Actions = () => start(allBoxes);
    const recount = () => {
        const counter = list().querySelector(".action-counter");
        if (!counter) return;
        counter.dataset.actionsIcnt = boxes().length;
        /* It counts anew when a page is shown again. */
        window.dispatchEvent(new Event("pageshow"));
    };

    const fresh = (element) =>
        element.dispatchEvent(new CustomEvent("jc:fresh", { bubbles: true }));
    const isInUse = (element) => {
        const marked = getSelection();
        return (
            element.matches(":active") ||
            (marked && !marked.isCollapsed && marked.containsNode(element, true))
        );
    };
    const replace = (old, next) => {
        const active = old.contains(document.activeElement) ? document.activeElement : null;
        old.replaceWith(next);
        if (active) {
            const same = [...next.querySelectorAll(active.tagName)];
            same.find((one) => one.textContent === active.textContent)?.focus();
        }
        fresh(next);
    };

    /* Put the elements in which `next` differs in place of `old`; return what is now shown. */
    const renew = (old, next, before, mayReplace) =>
        next.map((element, at) => {
            const html = element.outerHTML;
            if (html === before[at]) return html;
            if (isInUse(old[at]) || !mayReplace(old[at], element)) return before[at];
            replace(old[at], element);
            return html;
        });
    const always = () => true;
    /* Nothing comes above the rows, or goes there, while somebody is about to click on one. */
    const keepsPlace = (old, next) => !isHeld() || !old.childElementCount === !next.childElementCount;

    const isChosen = () =>
        boxes().some((box) => box.checked) ||
        [...list().querySelectorAll("input.select-across")].some((one) => one.value === "1");
    const isHeld = () =>
        isChosen() || region.matches(":hover") || !matchMedia("(hover: hover)").matches;

    /* The list as the server has it, while its rows may not move. */
    let waiting = null;
    let isPlaced = false; /* whether its rows are brought in one by one, or it as a whole */

    const tell = (next) => {
        const shown = rowsOf(list());
        const added = [...rowsOf(next).keys()].filter((key) => !shown.has(key)).length;
        const { one, many } = list().dataset;
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button";
        button.textContent = added
            ? `${added} new ${added === 1 ? one : many}: show`
            : "The list has changed: show";
        button.addEventListener("click", () => {
            show();
            list().querySelector("[data-row] a, [data-row] button")?.focus();
        });
        if (news.textContent !== button.textContent) news.replaceChildren(button);
    };
    const show = () => {
        const next = waiting;
        waiting = null;
        news.replaceChildren();
        if (isPlaced) {
            place(next);
            return;
        }
        remember(next);
        list().replaceWith(next);
        fresh(next);
    };
    const release = () => {
        if (waiting && !isHeld()) show();
    };
    region.addEventListener("pointerleave", release);
    region.addEventListener("change", release);

    /* Bring rows into the order of `next`, which has those that are new. */
    const place = (next) => {
        const shown = rowsOf(list());
        const coming = rowsOf(next);
        for (const [key, row] of shown) {
            if (coming.has(key)) continue;
            row.remove();
            sent.delete(key);
        }
        const body = list().querySelector("tbody");
        let at = body.firstElementChild;
        for (const [key, row] of coming) {
            const own = shown.get(key);
            if (own && own === at) {
                at = at.nextElementSibling;
                continue;
            }
            body.insertBefore(own || row, at);
            if (own) continue;
            sent.set(key, htmlOf(row.children));
            row.classList.add("jc-row-new");
            fresh(row);
        }
        recount();
    };

    const isTable = (root) => Boolean(root.querySelector("tbody [data-row]"));
    const columns = (root) => root.querySelectorAll("thead th").length;

    /* Say of rows that they are not on this page any more, while they may not go. */
    const dim = (shown, coming) => {
        for (const [key, row] of shown) {
            const isGone = !coming.has(key);
            row.classList.toggle("jc-row-left", isGone);
            if (isGone) row.title = "No longer on this page of the list";
            else row.removeAttribute("title");
        }
    };
    /* Bring what stands in both up to date; return whether something was left as it is. */
    const merge = (next, shown, coming) => {
        let isLeft = false;
        const take = (old, elements, before, mayReplace) => {
            const now = htmlOf(elements);
            const taken = renew(old, elements, before, mayReplace);
            if (taken.some((html, at) => html !== now[at])) isLeft = true;
            return taken;
        };
        for (const [key, row] of shown) {
            if (!coming.has(key)) continue;
            const cells = [...coming.get(key).children];
            sent.set(key, take([...row.children], cells, sent.get(key), always));
        }
        sentPieces = take(piecesOf(list()), piecesOf(next), sentPieces, keepsPlace);
        return isLeft;
    };

    document.addEventListener("jc:news", (event) => {
        const part = event.target;
        if (part !== list()) return;
        const next = event.detail.fresh.cloneNode(true);
        const shown = rowsOf(part);
        const coming = rowsOf(next);
        const order = (rows) => JSON.stringify([...rows.keys()]);
        const isMoved = shown.size > 0 && order(shown) !== order(coming);
        const mayNotMove = isMoved && isHeld();
        isPlaced = isTable(part) && isTable(next) && columns(part) === columns(next);
        waiting = null;
        if (isPlaced || mayNotMove) {
            event.preventDefault();
            dim(shown, coming);
            if (isPlaced) event.detail.isLeft = merge(next, shown, coming);
            if (isMoved) waiting = next;
        } else {
            remember(next);
        }
        if (mayNotMove) tell(next);
        else if (waiting) show();
        else news.replaceChildren();
    });

    /* After the whole was replaced by htmx, or by the button. */
    document.addEventListener("jc:fresh", (event) => {
        if (event.target !== list()) return;
        putNews();
        if (boxes().length && window.Actions) window.Actions();
    });
})();
