// "Copy as text": puts what an address of ours answers with into the clipboard.
"use strict";

document.querySelectorAll("button[data-copy-from]").forEach((button) => {
    if (!navigator.clipboard) {
        return; // Only pages served by HTTPS, or from this machine, may write there.
    }
    const status = button.parentElement.querySelector("[role=status]");
    button.hidden = false;
    button.addEventListener("click", async () => {
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
});
