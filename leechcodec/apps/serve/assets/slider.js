// The before/after slider: two pictures on top of each other, a divider that follows keys, mouse and finger.

const byId = (id) => document.getElementById(id);

export class Slider {
  constructor() {
    this.box = byId("slider");
    this.stage = byId("stage");
    this.position = byId("position");
    this.names = ["", ""];
    this.zoom = 0;
    this.position.addEventListener("input", () => this.move());
    this.box.addEventListener("pointerdown", (event) => this.take(event));
    this.box.addEventListener("pointermove", (event) => {
      if (this.box.hasPointerCapture(event.pointerId)) this.follow(event);
    });
    this.move();
  }

  /** A picture's pixels, and how it is shown: zoom 0 fitted to the window, else so many CSS pixels for each of its own. */
  fit(width, height, zoom) {
    const before = this.zoom;
    this.zoom = zoom;
    this.box.style.aspectRatio = `${width} / ${height}`;
    // Fitted: never enlarged, and an upright picture never taller than the window.
    const fitted = `min(100%, ${width}px, ${((80 * width) / height).toFixed(2)}vh)`;
    this.box.style.width = zoom ? `${zoom * width}px` : fitted;
    byId("captions").style.maxWidth = zoom ? "none" : `max(50%, ${fitted})`;
    this.stage.classList.toggle("zoomed", zoom > 0);
    if (zoom) this.stage.tabIndex = 0;
    else this.stage.removeAttribute("tabindex");
    if (zoom && zoom !== before) this.centre();
  }

  /** Scroll to the divider's handle. */
  centre() {
    this.stage.scrollLeft = (this.box.clientWidth * this.position.value) / 100 - this.stage.clientWidth / 2;
    this.stage.scrollTop = (this.box.clientHeight - this.stage.clientHeight) / 2;
  }

  /** Put a picture on a side, "left" or "right"; null for none. */
  show(side, url, alt) {
    const image = byId(side);
    image.alt = alt;
    image.hidden = !url;
    if (url && image.getAttribute("src") !== url) image.src = url;
  }

  /** What the two sides are called. single: there is but one picture, and no divider. */
  name(left, right, single = false) {
    this.names = [left, right];
    this.box.classList.toggle("single", single);
    this.position.hidden = single;
    this.move();
  }

  move() {
    const share = Math.round(this.position.value);
    this.box.style.setProperty("--position", `${this.position.value}%`);
    this.position.setAttribute("aria-valuetext", `${share} % ${this.names[0]}, ${100 - share} % ${this.names[1]}`);
  }

  take(event) {
    if (event.button !== 0 || this.position.hidden) return;
    // A finger on a picture larger than its window moves the picture; on the handle it moves the divider.
    if (event.pointerType === "touch" && this.zoom && !event.target.closest(".divider")) return;
    this.box.setPointerCapture(event.pointerId);
    this.follow(event);
    this.position.focus({ preventScroll: true, focusVisible: false });
    event.preventDefault();
  }

  follow(event) {
    const box = this.box.getBoundingClientRect();
    this.position.value = Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width));
    this.move();
  }
}
