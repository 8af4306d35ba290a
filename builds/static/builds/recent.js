/* The strip of a job's page and the grid: one stop of the Tab key, and arrows from build to build.
   Without this script each build is a stop of its own. */
"use strict";

(() => {
    const SETS = "[data-roving]";
    const linksOf = (row) => [...row.querySelectorAll("a")]; /* the newest, on the right, first */
    const rowsOf = (set) =>
        set.matches("[data-roving-row]") ? [set] : [...set.querySelectorAll("[data-roving-row]")];

    /* Where the keyboard was last in each set, by address: a refresh puts others in their place. */
    let chosen = "";
    const choose = (set, link) => {
        for (const other of rowsOf(set).flatMap(linksOf)) other.tabIndex = other === link ? 0 : -1;
    };
    const settle = (root) => {
        const sets = root.matches?.(SETS) ? [root] : root.querySelectorAll(SETS);
        for (const set of sets) {
            const links = rowsOf(set).flatMap(linksOf);
            const link = links.find((one) => one.getAttribute("href") === chosen) || links[0];
            if (link) choose(set, link);
        }
    };

    const target = (rows, row, at, key) => {
        const links = linksOf(rows[row]);
        const beside = (other) => {
            const found = linksOf(rows[other]);
            return found[Math.min(at, found.length - 1)];
        };
        switch (key) {
            case "ArrowLeft": return links[at + 1];
            case "ArrowRight": return links[at - 1];
            case "ArrowUp": return row > 0 ? beside(row - 1) : null;
            case "ArrowDown": return row < rows.length - 1 ? beside(row + 1) : null;
            case "Home": return links.at(-1);
            case "End": return links[0];
            default: return null;
        }
    };

    document.addEventListener("keydown", (event) => {
        const set = event.target.closest?.(SETS);
        if (!set || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
        /* What covers something else can be put away. */
        if (event.key === "Escape") set.dataset.quiet = "";
        const rows = rowsOf(set);
        const row = rows.findIndex((one) => one.contains(event.target));
        if (row < 0) return;
        const at = linksOf(rows[row]).indexOf(event.target);
        const next = at < 0 ? null : target(rows, row, at, event.key);
        if (next) next.focus();
        if (next || /^(Arrow(Left|Right)|Home|End)$/.test(event.key)) event.preventDefault();
    });

    for (const kind of ["focusin", "mouseover"])
        document.addEventListener(kind, (event) => {
            const set = event.target.closest?.(SETS);
            const link = event.target.closest?.("[data-roving-row] a");
            if (!set || !link) return;
            delete set.dataset.quiet;
            if (kind === "mouseover") return;
            chosen = link.getAttribute("href");
            choose(set, link);
        });

    /* A reader who scrolled back to older builds stays there. */
    let scrolled = 0;
    const box = () => document.querySelector(".jc-strip-scroll");
    document.addEventListener("htmx:oobBeforeSwap", (event) => {
        if (event.detail.target.id === "strip") scrolled = box()?.scrollLeft ?? 0;
    }, true);
    document.addEventListener("jc:fresh", (event) => {
        settle(event.target);
        if (event.target.id === "strip" && box()) box().scrollLeft = scrolled;
    });

    /* Not at once: the script that refreshes parts has to see them as the server sent them. */
    document.addEventListener("DOMContentLoaded", () => {
        document.documentElement.classList.add("jc-has-keys");
        settle(document);
    });
})();
