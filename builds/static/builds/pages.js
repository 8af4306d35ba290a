/* Small helps; every page works without them. */
"use strict";

(() => {
    /* A second click on a form that was just sent does nothing. */
    const sent = new WeakSet();
    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (event.defaultPrevented || !form.matches("[data-once], #changelist-form")) return;
        if (sent.has(form)) {
            event.preventDefault();
            return;
        }
        sent.add(form);
        /* Later: a disabled button would not send its value. */
        const button = event.submitter;
        if (button) setTimeout(() => { button.disabled = true; button.dataset.sent = ""; }, 0);
    });
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) location.reload();
    });

    /* A menu closes as menus do: by Escape, or by a click somewhere else. */
    const menus = () => document.querySelectorAll(".jc-menu[open]");
    document.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        for (const menu of menus()) {
            menu.open = false;
            menu.querySelector("summary").focus();
        }
    });
    document.addEventListener("click", (event) => {
        for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
    });

    /* Moments in the reader's own time zone: those written whole, and the end of an arming. */
    const two = (number) => String(number).padStart(2, "0");
    const clock = (moment) =>
        [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":");
    const day = (moment) =>
        [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
    const localise = (root) => {
        for (const element of root.querySelectorAll("time.jc-time, time.jc-clock")) {
            const moment = new Date(element.dateTime);
            const text = element.textContent;
            const whole = /^\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\s*$/.exec(text);
            if (Number.isNaN(moment.getTime())) continue;
            if (whole) element.textContent = `${day(moment)} ${clock(moment)}${whole[1] || ""}`;
            else if (element.classList.contains("jc-clock")) element.textContent = clock(moment);
        }
    };
    /* Not at once: the script that refreshes parts has to see them as the server sent them. */
    document.addEventListener("DOMContentLoaded", () => localise(document));
    document.addEventListener("jc:fresh", (event) => localise(event.target));

    /* The tab of the browser follows what a refreshed page shows. */
    document.addEventListener("jc:fresh", (event) => {
        if (event.target.id !== "tab") return;
        const { title, icon } = event.target.dataset;
        document.title = title;
        const link = document.querySelector("link[rel=icon]");
        if (link.getAttribute("href") === icon) return;
        /* Another element, and not another address: browsers look at new ones only. */
        const fresh = link.cloneNode();
        fresh.setAttribute("href", icon);
        link.replaceWith(fresh);
    });

    /* How long something runs, counted on from what the server said: clocks may differ. */
    const seen = new WeakMap();
    const spoken = (seconds) => {
        if (seconds < 60) return `${Math.floor(seconds)} s`;
        const minutes = Math.floor(seconds / 60);
        if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
        return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    };
    const tick = () => {
        for (const element of document.querySelectorAll(".jc-ticks")) {
            if (!seen.has(element)) seen.set(element, performance.now());
            const since = (performance.now() - seen.get(element)) / 1000;
            element.textContent = spoken(Number(element.dataset.seconds) + since);
        }
    };
    if (document.querySelector("[data-live], .jc-ticks")) setInterval(tick, 1000);

    /* How long an arming still lasts, counted from when the page came: clocks may differ. */
    const armed = document.querySelector(".jc-armed");
    if (armed) {
        const left = armed.querySelector(".jc-left");
        const start = document.querySelector(".jc-start");
        const end = performance.now() + 1000 * parseInt(left.textContent, 10);
        const timer = setInterval(() => {
            const seconds = Math.ceil((end - performance.now()) / 1000);
            if (seconds > 0) {
                left.textContent = seconds === 1 ? "1 second" : `${seconds} seconds`;
                return;
            }
            clearInterval(timer);
            start.disabled = true;
            armed.textContent = "The arming is over. Arm it again to start it.";
        }, 500);
    }
})();
