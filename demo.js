() => {
    // gradio's before/after slider listens to the mouse alone: arrow keys move its handle too.
    const STEP = 0.05;

    function clamp(value, low, high) {
        return Math.min(Math.max(value, low), high);
    }

    // The handle moves from edge to edge of the picture, which is as large as fits into its box.
    function pictureBox(handle) {
        const box = handle.parentElement.getBoundingClientRect();
        const picture = document.querySelector("#before-after img");
        if (!picture?.naturalWidth) return box; // not loaded yet
        const width = Math.min(box.width, (box.height * picture.naturalWidth) / picture.naturalHeight);
        const left = box.left + (box.width - width) / 2;
        return { left, right: left + width, width };
    }

    function move(handle, key) {
        const area = pictureBox(handle);
        const grip = handle.getBoundingClientRect();
        const start = clamp(grip.left + grip.width / 2, area.left, area.right);
        const step = { ArrowLeft: -STEP, ArrowRight: STEP, Home: -1, End: 1 }[key] * area.width;
        const end = clamp(start + step, area.left, area.right);
        const at = (x) => ({ clientX: x, clientY: grip.top + grip.height / 2, view: window, bubbles: true });
        handle.dispatchEvent(new MouseEvent("mousedown", at(start)));
        window.dispatchEvent(new MouseEvent("mousemove", at(end)));
        window.dispatchEvent(new MouseEvent("mouseup", at(end)));
    }

    function tellPosition(handle) {
        const area = pictureBox(handle);
        const grip = handle.getBoundingClientRect();
        const share = (grip.left + grip.width / 2 - area.left) / area.width;
        handle.setAttribute("aria-valuenow", Math.round(100 * clamp(share, 0, 1)));
    }

    function prepare(slider) {
        const [before, after] = slider.querySelectorAll("img");
        if (before) before.alt = "Before: the dark photo";
        if (after) after.alt = "After: the enhanced photo";
        const handle = slider.querySelector("[data-testid=slider]");
        if (!handle || handle.tabIndex === 0) return;
        handle.tabIndex = 0;
        handle.setAttribute("role", "slider");
        handle.setAttribute("aria-label", "Border between before and after");
        handle.setAttribute("aria-valuemin", 0);
        handle.setAttribute("aria-valuemax", 100);
        handle.setAttribute("aria-valuenow", 50);
        handle.addEventListener("keydown", (event) => {
            if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
            event.preventDefault();
            move(handle, event.key);
        });
        // Its place is in its style, whoever moves it.
        new MutationObserver(() => tellPosition(handle)).observe(handle, { attributeFilter: ["style"] });
    }

    // gradio's zoom takes each finger and each turn of the wheel: the page couldn't be scrolled there.
    function letPageScroll(slider) {
        const isZoomed = () => !slider.querySelector("img")?.style.transform.endsWith("scale(1)");
        const isFullPage = () => slider.classList.contains("fullscreen");
        const pass = (event) => isZoomed() || isFullPage() || event.stopPropagation();
        slider.addEventListener("wheel", (event) => event.ctrlKey || pass(event), true);
        slider.addEventListener(
            "touchstart",
            (event) => event.touches.length > 1 || event.target.closest("[data-testid=slider]") || pass(event),
            true,
        );
    }

    // A picture of the grid that is open over the page keeps the focus until it is closed.
    function keepFocus(stages) {
        const opened = () => stages.querySelector("#grid .preview");
        document.addEventListener("focusin", ({ target, relatedTarget }) => {
            if (!opened() || opened().contains(target) || target.closest(".toast-wrap")) return;
            const buttons = [...opened().querySelectorAll("button")];
            buttons.at(relatedTarget === buttons[0] ? -1 : 0).focus();
        });
        document.addEventListener("keydown", ({ key }) => {
            if (key === "Escape") opened()?.querySelector("button[aria-label=Close]")?.click();
        });
    }

    // Each example is a button with nothing but a picture in it; its file is called what it shows.
    function nameExamples(examples) {
        for (const button of examples.querySelectorAll("button")) {
            const picture = button.querySelector("img");
            const file = picture && decodeURIComponent(picture.src).split("/").pop();
            if (file) button.setAttribute("aria-label", `Example: ${file.split(".")[0]}`);
        }
    }

    // gradio calls them "Thumbnail 7 of 25"; their captions say what they show.
    function nameThumbnails(stages) {
        for (const button of stages.querySelectorAll("#grid .grid-container button")) {
            const caption = button.querySelector(".caption-label");
            if (caption) button.setAttribute("aria-label", caption.textContent.trim());
        }
    }

    // Browsers show no TIFF file and few a HEIC one, though both are photos to the networks.
    const NO_PREVIEW =
        "data:image/svg+xml," +
        encodeURIComponent(
            `<svg xmlns="http://www.w3.org/2000/svg" width="300" height="150" fill="#767676">
            <text x="150" y="75" font-family="sans-serif" font-size="15" text-anchor="middle">
            Your browser can't show this file.</text></svg>`,
        );

    function replaceUnshown({ target }) {
        if (target.matches("#photo img, #reference img") && target.src !== NO_PREVIEW) target.src = NO_PREVIEW;
    }

    // On a phone what is chosen lies above its result: go there.
    const isNarrow = matchMedia("(max-width: 640px)");
    let chosen = "";

    function goToResult(photo) {
        const source = photo.querySelector("img")?.src ?? "";
        if (source === chosen || source === NO_PREVIEW) return;
        chosen = source;
        if (chosen && isNarrow.matches) document.querySelector("#look").scrollIntoView();
    }

    document.addEventListener("error", replaceUnshown, true);
    const slider = document.querySelector("#before-after");
    const tellAgain = () => slider.querySelectorAll("[data-testid=slider]").forEach(tellPosition);
    slider.addEventListener("load", tellAgain, true); // how wide the picture is
    letPageScroll(slider);
    keepFocus(document.querySelector("#stages"));
    const changes = {
        "#before-after": prepare,
        "#photo": goToResult,
        "#examples": nameExamples,
        "#stages": nameThumbnails,
    };
    for (const [name, change] of Object.entries(changes)) {
        const part = document.querySelector(name);
        new MutationObserver(() => change(part)).observe(part, { childList: true, subtree: true });
        change(part);
    }
};
