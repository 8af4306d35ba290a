/* Buttons that copy: a text of theirs (`data-copy`), what an address of ours answers with
   (`data-copy-from`), or the address of the page (`data-copy-address`). Without this script they are
   hidden. What came of it is told beside the button, or at the foot of the page. */
"use strict";

(() => {
    const BUTTONS = "button[data-copy], button[data-copy-from], button[data-copy-address]";
    const SHOWN = 4000; /* ms */

    const show = (root) => {
        for (const button of root.querySelectorAll(BUTTONS)) button.hidden = false;
    };
    document.addEventListener("DOMContentLoaded", () => show(document));
    document.addEventListener("jc:fresh", (event) => show(event.target));

    let timer = null;
    const say = (button, text) => {
        const beside = button.parentElement.querySelector("[role=status]");
        const word = beside || document.getElementById("jc-said");
        word.textContent = text;
        clearTimeout(timer);
        if (!beside) timer = setTimeout(() => word.replaceChildren(), SHOWN);
    };

    /* Pages that came without HTTPS, from another machine, may not use the clipboard: they have
       the old way, which takes what is marked. */
    const copyMarked = (text) => {
        const field = document.createElement("textarea");
        const focused = document.activeElement;
        field.value = text;
        field.className = "visually-hidden";
        document.body.append(field);
        field.select();
        const isDone = document.execCommand("copy");
        field.remove();
        focused?.focus({ preventScroll: true });
        if (!isDone) throw new Error("the browser does not let pages copy");
    };
    const write = (text) =>
        navigator.clipboard ? navigator.clipboard.writeText(text) : copyMarked(text);

    const textOf = async (button) => {
        if ("copy" in button.dataset) return button.dataset.copy;
        if ("copyAddress" in button.dataset)
            /* Relative to the page; without one, the page as it is, its place included. */
            return button.dataset.copyAddress
                ? new URL(button.dataset.copyAddress, location.href).href
                : location.href;
        const answer = await fetch(button.dataset.copyFrom, { credentials: "same-origin" });
        if (answer.redirected) throw new Error("you are logged out");
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        return answer.text();
    };

    document.addEventListener("click", async (event) => {
        const button = event.target.closest?.(BUTTONS);
        if (!button) return;
        /* What is said twice is told twice. */
        say(button, "");
        try {
            await write(await textOf(button));
            say(button, "Copied.");
        } catch (error) {
            say(button, `Not copied: ${error.message}.`);
        }
    });
})();
