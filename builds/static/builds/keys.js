/* Shortcuts: what has `data-key` is pressed by that key, or by these two one after the other.
   A card tells them all, and switches them off. Without this script there is no card. */
"use strict";

(() => {
    const card = document.getElementById("jc-keys");
    if (!card) return;

    const STORE = "jc-keys";
    const PATIENCE = 2000; /* ms between two keys that belong together */
    const ROWS = "#result_list tbody tr, .jc-builds tbody tr, .jc-rows > li";
    const onOff = card.querySelector("#jc-keys-on");
    const find = document.getElementById("jc-find");

    /* A browser may forbid to keep anything. */
    let isOn = true;
    try {
        isOn = localStorage.getItem(STORE) !== "off";
    } catch {
        /* Then it lasts as long as the page. */
    }
    onOff.checked = isOn;
    onOff.addEventListener("change", () => {
        isOn = onOff.checked;
        try {
            localStorage.setItem(STORE, isOn ? "on" : "off");
        } catch {
            /* As above. */
        }
    });

    const isSeen = (element) => element.getClientRects().length > 0;
    const keyed = () =>
        [...document.querySelectorAll("[data-key]")].filter(
            (one) => !one.disabled && (card.contains(one) || isSeen(one)),
        );

    /* --- The card --- */

    const kbd = (text) => {
        const element = document.createElement("kbd");
        element.textContent = text;
        return element;
    };
    const row = (element) => {
        const line = document.createElement("li");
        const name = document.createElement("span");
        name.textContent = (element.dataset.keyName || element.textContent).trim();
        line.append(...element.dataset.key.split(" ").map(kbd), " ", name);
        return line;
    };
    const open = () => {
        const here = keyed().filter((one) => !card.contains(one));
        const section = card.querySelector("[aria-labelledby=jc-keys-here]");
        section.querySelector("ul").replaceChildren(...here.map(row));
        section.hidden = !here.length;
        for (const line of card.querySelectorAll("[data-keys-when]"))
            line.hidden = !document.querySelector(line.dataset.keysWhen);
        card.showModal();
    };
    /* A click beside the card closes it. */
    card.addEventListener("click", (event) => {
        if (event.target === card) card.close();
    });
    for (const button of document.querySelectorAll(".jc-keys-button")) {
        button.hidden = false;
        button.addEventListener("click", open);
    }

    /* --- Rows: the focus goes to the row's link, so that Enter opens it --- */

    const linkOf = (line) => line.querySelector("th a[href], a[href]");
    const step = (by) => {
        const rows = [...document.querySelectorAll(ROWS)].filter((one) => linkOf(one) && isSeen(one));
        if (!rows.length) return;
        const at = rows.findIndex((one) => one.contains(document.activeElement));
        const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
        const chosen = rows[Math.min(Math.max(next, 0), rows.length - 1)];
        linkOf(chosen).focus({ preventScroll: true });
        chosen.scrollIntoView({ block: "nearest" });
    };

    /* --- Keys --- */

    const actions = {
        "?": open,
        "/": () => {
            find?.focus();
            find?.select();
        },
        j: () => step(1),
        k: () => step(-1),
    };
    const WRITTEN = "input:not([type=checkbox], [type=radio], [type=button], [type=submit])";
    const isForSomethingElse = (event) =>
        event.defaultPrevented ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        event.isComposing ||
        document.querySelector("dialog[open]") ||
        event.target.closest?.(`${WRITTEN}, textarea, select, [contenteditable]`);

    let before = "";
    let since = 0;
    document.addEventListener("keydown", (event) => {
        if (!isOn || event.key.length !== 1 || isForSomethingElse(event)) return;
        const isSecond = before && event.timeStamp - since < PATIENCE;
        const keys = isSecond ? `${before} ${event.key}` : event.key;
        const elements = keyed();
        const pressed = elements.find((one) => one.dataset.key === keys);
        const action = isSecond ? null : actions[keys];
        const begins = !isSecond && elements.some((one) => one.dataset.key.startsWith(`${keys} `));
        before = begins ? event.key : "";
        since = event.timeStamp;
        if (!pressed && !action && !isSecond && !begins) return;
        event.preventDefault();
        if (pressed) pressed.click();
        else if (action) action();
    });
})();
