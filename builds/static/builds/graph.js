/* The picture of a graph: its size, moving about in it, looking for a job, folding groups, and
   the states of its jobs while the page is kept fresh. Without it, the picture has its full size
   or that of the page, links fold and unfold, and the form finds. */
"use strict";

(() => {
    const view = document.getElementById("graph");
    const picture = () => document.getElementById("graph-picture");
    if (!view || !picture()) return;
    const svg = () => view.querySelector(".jc-graph-svg");
    const live = document.querySelector("[data-live]");
    const named = (name) => view.querySelector(`[data-node="${CSS.escape(name)}"]`);

    /* --- size --- */

    const SMALLEST = 0.05;
    const LARGEST = 3;
    const READABLE = 0.55; /* below, texts are but grey lines: boxes stay, and the groups' names */
    const AT_FIRST = 0.8;
    const STEP = 1.25;
    let scale = 1;

    const natural = () => {
        const box = svg()?.viewBox.baseVal;
        return box ? { width: box.width, height: box.height } : { width: 1, height: 1 };
    };
    const apply = () => {
        const image = svg();
        if (!image) return;
        const { width, height } = natural();
        image.setAttribute("width", Math.round(width * scale));
        image.setAttribute("height", Math.round(height * scale));
        view.classList.toggle("jc-graph-far", scale < READABLE);
        view.dataset.scale = scale.toFixed(3);
    };
    /* Where the picture begins in the window: it stands in the middle where there is room. */
    const zoomTo = (wanted, x, y) => {
        const image = svg();
        if (!image) return;
        const frame = view.getBoundingClientRect();
        const atX = x ?? frame.left + view.clientWidth / 2;
        const atY = y ?? frame.top + view.clientHeight / 2;
        const before = image.getBoundingClientRect();
        const old = scale;
        scale = Math.min(LARGEST, Math.max(SMALLEST, wanted));
        apply();
        const now = image.getBoundingClientRect();
        view.scrollLeft += now.left + ((atX - before.left) * scale) / old - atX;
        view.scrollTop += now.top + ((atY - before.top) * scale) / old - atY;
    };
    /* A small picture gets no more room than it takes. */
    const LOWEST = 220;
    const takeRoom = () => {
        view.style.height = "";
        const wanted = Math.max(LOWEST, natural().height * scale + 24);
        if (wanted < view.clientHeight) view.style.height = `${wanted}px`;
    };
    const fit = () => {
        const { width, height } = natural();
        zoomTo(Math.min(1, (view.clientWidth - 4) / width, (view.clientHeight - 4) / height));
        view.scrollTo(0, 0);
    };
    const ZOOMS = {
        in: () => zoomTo(scale * STEP),
        out: () => zoomTo(scale / STEP),
        fit,
        full: () => zoomTo(1),
    };
    for (const button of document.querySelectorAll("button[data-zoom]")) {
        button.hidden = false;
        button.addEventListener("click", () => ZOOMS[button.dataset.zoom]());
    }
    for (const link of document.querySelectorAll(".jc-graph-zoom .jc-plain")) link.hidden = true;
    view.classList.add("jc-graph-moves");

    const KEYS = { "+": "in", "=": "in", "-": "out", 0: "full", f: "fit" };
    view.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
        event.preventDefault();
        ZOOMS[KEYS[event.key]]();
    });
    view.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        zoomTo(scale * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
    }, { passive: false });

    /* The mouse takes hold of the picture where there is no link; fingers scroll by themselves. */
    let held = null;
    view.addEventListener("pointerdown", (event) => {
        const isFree = event.button === 0 && event.pointerType === "mouse" && svg()?.contains(event.target);
        if (!isFree || event.target.closest("a")) return;
        held = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop };
        view.setPointerCapture(event.pointerId);
        view.classList.add("jc-graph-held");
    });
    view.addEventListener("pointermove", (event) => {
        if (!held) return;
        view.scrollTo(held.left + held.x - event.clientX, held.top + held.y - event.clientY);
    });
    for (const name of ["pointerup", "pointercancel"])
        view.addEventListener(name, () => {
            held = null;
            view.classList.remove("jc-graph-held");
        });

    const showInMiddle = (element) => {
        const box = element.getBoundingClientRect();
        const frame = view.getBoundingClientRect();
        view.scrollLeft += box.left + box.width / 2 - frame.left - view.clientWidth / 2;
        view.scrollTop += box.top + box.height / 2 - frame.top - view.clientHeight / 2;
    };

    /* --- what a job is tied to --- */

    const trace = (event) => {
        const node = event.target.closest?.("[data-node]");
        const name = node?.dataset.node;
        const image = svg();
        if (!image) return;
        for (const old of image.querySelectorAll(".jc-near")) old.classList.remove("jc-near");
        let isTied = false;
        for (const edge of name ? image.querySelectorAll(".jc-edge") : []) {
            const { tail, head } = edge.dataset;
            if (tail !== name && head !== name) continue;
            isTied = true;
            edge.classList.add("jc-near");
            named(tail === name ? head : tail)?.classList.add("jc-near");
        }
        image.classList.toggle("jc-traced", isTied);
    };
    view.addEventListener("pointerover", trace);
    view.addEventListener("pointerleave", trace);
    view.addEventListener("focusin", trace);
    view.addEventListener("focusout", trace);

    /* --- looking for a job --- */

    const search = document.getElementById("graph-search");
    const said = document.querySelector(".jc-graph-found");
    let found = [];
    let current = -1;
    let names = {};

    const look = () => {
        const image = svg();
        if (!search || !image) return;
        const wanted = search.value.trim().toLowerCase();
        const last = found[current]?.dataset.node;
        found = [];
        let jobs = 0;
        for (const node of image.querySelectorAll(".jc-node")) {
            const texts = node.dataset.name ? [node.dataset.name] : (names?.[node.dataset.node] ?? []);
            const hits = wanted ? texts.filter((one) => one.toLowerCase().includes(wanted)).length : 0;
            node.classList.toggle("jc-hit", hits > 0);
            node.classList.remove("jc-current");
            if (hits) found.push(node);
            jobs += hits;
        }
        image.classList.toggle("jc-searched", wanted !== "");
        current = found.findIndex((node) => node.dataset.node === last);
        found[current]?.classList.add("jc-current");
        said.textContent = "";
        if (wanted) said.textContent = jobs === 0 ? "none here" : place(jobs);
    };
    const place = (jobs) => {
        const where = current < 0 ? "" : `${current + 1} of `;
        const inGroups = jobs > found.length ? `, ${jobs} jobs` : "";
        return `${where}${found.length} found${inGroups}`;
    };
    const go = (step) => {
        if (!found.length) return;
        current = current < 0 ? (step > 0 ? 0 : found.length - 1) : (current + step + found.length) % found.length;
        look();
        if (scale < READABLE) zoomTo(1);
        showInMiddle(found[current]);
    };
    search?.addEventListener("input", () => {
        current = -1;
        look();
    });
    search?.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && search.value) {
            event.preventDefault();
            search.value = "";
            look();
        } else if (event.key === "Enter" && (found.length || "onlyHere" in search.dataset)) {
            event.preventDefault();
            go(event.shiftKey ? -1 : 1);
        }
    });

    /* --- states --- */

    const given = () => {
        const text = document.getElementById("graph-states")?.textContent;
        return text ? JSON.parse(text) : { states: {}, names: {} };
    };
    const put = (element, text) => {
        if (element && element.textContent !== text) element.textContent = text;
    };
    const overlay = () => {
        const data = given();
        names = data.names;
        for (const [name, state] of Object.entries(data.states)) {
            const node = named(name);
            if (!node) continue;
            const old = [...node.classList].filter((one) => one.startsWith("jc-node-"));
            if (old.join(" ") !== state.c) {
                node.classList.remove(...old);
                if (state.c) node.classList.add(...state.c.split(" "));
            }
            put(node.querySelector("title"), state.t);
            [...node.querySelectorAll(".jc-of-state")].forEach((line, i) => put(line, state.s[i]));
            [...node.querySelectorAll(".jc-group-bar")].forEach((bar, i) => {
                bar.setAttribute("x", state.b[i][1]);
                bar.setAttribute("width", state.b[i][2]);
            });
        }
    };

    /* A refresh is told which picture stands here, and brings the states alone while it is right. */
    const tell = (address) => {
        if (!live) return;
        const told = new URL(address ?? live.dataset.live, location.href);
        const { drawn } = picture().dataset;
        if (drawn) told.searchParams.set("drawn", drawn);
        else told.searchParams.delete("drawn");
        live.dataset.live = told.pathname + told.search;
    };

    /* --- another picture --- */

    /* The place that is to stay where it is: what was clicked, or what has the focus. */
    let kept = null;
    const keep = (element) => {
        const node = element?.closest?.("[data-node]");
        if (!node || !view.contains(node)) return null;
        const { left, top } = node.getBoundingClientRect();
        const link = element.closest("a");
        return { left, top, href: link?.getAttribute("href"), group: link?.dataset.group, isFocused: true };
    };
    let scroll = null;
    let isFirst = false; /* where no picture was */
    document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
        if (event.detail.target.id !== "graph-picture") return;
        isFirst = !svg();
        scroll = [view.scrollLeft, view.scrollTop];
        kept ??= keep(document.activeElement);
    });
    const restore = () => {
        view.classList.remove("jc-graph-busy");
        apply();
        takeRoom();
        /* It is told of more than once. */
        if (scroll) view.scrollTo(...scroll);
        scroll = null;
        if (!kept) return;
        const links = [...view.querySelectorAll("a")];
        const same = links.find((one) => kept.group ? one.dataset.group === kept.group : one.getAttribute("href") === kept.href);
        if (same) {
            const box = same.closest("[data-node]").getBoundingClientRect();
            view.scrollLeft += box.left - kept.left;
            view.scrollTop += box.top - kept.top;
            same.focus({ preventScroll: true });
        }
        kept = null;
    };

    document.addEventListener("jc:fresh", (event) => {
        if (event.target.id === "graph-picture") {
            tell();
            if (isFirst) begin();
            else restore();
            look();
        } else if (event.target.id === "graph-states") {
            overlay();
            look();
        }
    });

    /* A group is folded and unfolded in place; the address says so for the next load. */
    view.addEventListener("click", (event) => {
        const link = event.target.closest?.("a[data-group]");
        if (!link || !live || !window.htmx) return;
        if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        kept = keep(link);
        view.classList.add("jc-graph-busy");
        const address = new URL(link.href.baseVal, location.href);
        history.replaceState(history.state, "", address.pathname + address.search);
        tell(address);
        const asked = new URL(live.dataset.live, location.href);
        asked.searchParams.set("live", "");
        window.htmx.ajax("GET", asked.pathname + asked.search, { source: live, swap: "none" }).catch(() => {});
    });

    /* At first as much as can be read, and something of it: the beginning of a graph may be empty. */
    const begin = () => {
        const { width, height } = natural();
        const whole = Math.min((view.clientWidth - 4) / width, (view.clientHeight - 4) / height);
        scale = Math.min(1, Math.max(AT_FIRST, whole));
        apply();
        takeRoom();
        const marked = view.querySelector(".jc-node-found, .jc-node-chosen");
        const first = marked ?? view.querySelector(".jc-node");
        if (!first) return;
        const box = first.getBoundingClientRect();
        const frame = view.getBoundingClientRect();
        if (box.right > frame.right || box.bottom > frame.bottom) showInMiddle(first);
    };

    begin();
    tell();
    names = given().names;
    if (search?.value) look();
})();
