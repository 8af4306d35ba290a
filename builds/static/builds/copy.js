// "Copy as text": puts what an address of ours answers with into the clipboard.
"use strict";

(() => {
    if (!navigator.clipboard) {
        return; // Only pages served by HTTPS, or from this machine, may write there.
    }
    const show = (root) => {
        root.querySelectorAll("button[data-copy-from]").forEach((button) => {
            button.hidden = false;
        });
    };
    document.addEventListener("DOMContentLoaded", () => show(document));
    document.addEventListener("jc:fresh", (event) => show(event.target));
    document.addEventListener("click", async (event) => {
        const button = event.target.closest("button[data-copy-from]");
        if (!button) {
            return;
        }
        const status = button.parentElement.querySelector("[role=status]");
        try {
            const answer = await fetch(button.dataset.copyFrom, { credentials: "same-origin" });
            if (!answer.ok) {
                throw new Error(`the server answered ${answer.status}`);
            }
            await navigator.clipboard.writeText(await answer.text());
            status.textContent = "Copied.";
        } catch (error) {
            status.textContent = `Not copied: ${error.message}`;
        }
    });
})();
