/* "Tell me when it ends": a notification of the desktop when what the page shows has ended. It is
   remembered while the tab is open. Without this script, and where pages may not notify, the button
   is hidden. */
"use strict";

(() => {
    const box = document.querySelector("[data-notify]");
    const root = document.querySelector("[data-live]");
    const tab = () => document.getElementById("tab");
    /* Browsers let pages notify that came by HTTPS, or from this machine. */
    if (!box || !root || !tab() || !("Notification" in window) || !isSecureContext) return;

    const KEY = `jc-tell:${location.pathname}`;
    const DENIED =
        "Your browser was told not to let this site notify you. Allow it in the browser's settings " +
        "of this site, then press again.";
    const button = box.querySelector("button");
    const word = box.querySelector("[role=status]");

    /* A browser may forbid to keep anything. */
    const kept = () => {
        try {
            return sessionStorage.getItem(KEY) !== null;
        } catch {
            return false;
        }
    };
    const keep = (yes) => {
        try {
            if (yes) sessionStorage.setItem(KEY, "yes");
            else sessionStorage.removeItem(KEY);
        } catch {
            /* Then it lasts until the page is loaded again. */
        }
    };

    let isWanted = false;
    const want = (yes, text) => {
        isWanted = yes;
        keep(yes);
        button.setAttribute("aria-pressed", String(yes));
        word.textContent = text;
        /* live.js looks more often then, in a tab that nobody sees. */
        if (yes) root.dataset.watched = "";
        else delete root.dataset.watched;
    };
    const WAITING = "You will be told, as long as this tab stays open.";

    const isOver = () => "ended" in tab().dataset;
    const showButton = () => {
        box.hidden = isOver();
    };

    button.addEventListener("click", async () => {
        if (isWanted) {
            want(false, "You will not be told.");
            return;
        }
        let answer = "denied";
        try {
            answer = await Notification.requestPermission();
        } catch {
            /* Some browsers refuse so. */
        }
        if (isOver()) return;
        if (answer === "granted") want(true, WAITING);
        else word.textContent = answer === "denied" ? DENIED : "Nothing was chosen: you will not be told.";
    });

    const tell = () => {
        const { ended, why, icon } = tab().dataset;
        try {
            const notification = new Notification(ended, { body: why, icon, tag: location.pathname });
            notification.addEventListener("click", () => {
                window.focus();
                notification.close();
            });
        } catch {
            /* Browsers of phones let no page do it by itself. */
            document.getElementById("jc-said").textContent =
                `${ended}. Your browser could not show that as a notification.`;
        }
    };

    document.addEventListener("jc:fresh", (event) => {
        if (event.target.id !== "tab" || !isOver()) return;
        showButton();
        if (!isWanted) return;
        want(false, "");
        tell();
    });

    showButton();
    if (isOver()) keep(false);
    else if (kept() && Notification.permission === "granted") want(true, WAITING);
})();
