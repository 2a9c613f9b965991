// The screen "why": opacity of the layers, blinking, and the address to copy.
"use strict";
{
  for (const stack of document.querySelectorAll("[data-stack]")) {
    const layers = { frame: stack.querySelector("[data-frame]"), difference: stack.querySelector("[data-difference]") };
    const sliders = [...stack.querySelectorAll("input[type=range]")];
    const blink = stack.querySelector("[data-blink]");
    const show = () => {
      const isFrame = blink.getAttribute("aria-pressed") === "true";
      for (const slider of sliders) layers[slider.dataset.for].style.opacity = slider.value / 100;
      if (isFrame) layers.frame.style.opacity = 1;
      // Colours of the golden image are pale below a full difference, and true as soon as somebody compares pictures.
      stack.classList.toggle("is-looking", isFrame || sliders.some((slider) => slider.value !== slider.defaultValue));
    };
    for (const slider of sliders) slider.addEventListener("input", show);
    blink.addEventListener("click", () => {
      blink.setAttribute("aria-pressed", blink.getAttribute("aria-pressed") !== "true");
      for (const slider of sliders) if (slider.dataset.for === "difference") slider.value = 0;
      show();
    });
    stack.querySelector("[data-controls]").hidden = false;
    show();
  }

  const copy = document.querySelector("[data-copy]");
  const address = document.querySelector("[data-address]");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", () => {
      address.select();
      // Without HTTPS a browser has no navigator.clipboard.
      if (document.execCommand("copy")) copy.textContent = copy.dataset.done;
    });
  }
}
