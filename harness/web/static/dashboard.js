// Takes in what is new without losing focus, scroll position or what the reader has unfolded. The page is complete
// without it: a reload shows the same.
"use strict";
(() => {
  const parts = document.getElementById("parts");
  if (!parts || !parts.dataset.page || !window.EventSource) return;
  const link = document.getElementById("link");
  const say = (state, text) => {
    link.dataset.state = state;
    const node = document.getElementById("link-text");
    if (node.textContent !== text) node.textContent = text;
  };
  const key = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
  const alike = (old, fresh) => old.nodeName === fresh.nodeName && key(old) === key(fresh);

  const morph = (old, fresh) => {
    if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name === "open" && old.nodeName === "DETAILS") continue; // the reader's
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    children(old, fresh);
  };

  const children = (old, fresh) => {
    const named = new Map([...old.childNodes].filter(key).map((node) => [key(node), node]));
    const kept = new Set([...fresh.childNodes].map(key).filter((name) => name && named.has(name)));
    const isSpare = (node) => key(node) ? !kept.has(key(node)) : true;
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const own = key(wanted) && named.get(key(wanted));
      if (own && own.nodeName === wanted.nodeName) {
        // What stands in between and is wanted no more goes, so that what stays need not be moved: moving loses focus.
        while (at && at !== own && isSpare(at)) at = drop(at);
        if (at !== own) old.insertBefore(own, at);
        morph(own, wanted);
        at = own.nextSibling;
      } else if (at && !key(at) && alike(at, wanted)) {
        morph(at, wanted);
        at = at.nextSibling;
      } else {
        const added = document.importNode(wanted, true);
        if (added.nodeType === 1 && key(added)) added.classList.add("new");
        old.insertBefore(added, at);
      }
    }
    while (at) at = drop(at);
  };

  const drop = (node) => {
    const next = node.nextSibling;
    node.remove();
    return next;
  };

  const take = (told) => {
    const focused = document.activeElement && document.activeElement.id;
    for (const { name, html } of told.parts) {
      const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
      const old = parts.querySelector(`:scope > [data-part="${CSS.escape(name)}"]`);
      if (old && fresh) morph(old, fresh);
    }
    const shown = [...parts.querySelectorAll(":scope > [data-part]")].map((node) => node.dataset.part);
    if (told.order.length && shown.join("\n") !== told.order.join("\n")) {
      location.reload();
      return;
    }
    if (focused && document.activeElement === document.body) {
      const again = document.getElementById(focused);
      if (again) again.focus({ preventScroll: true });
    }
    // Announced politely, and only when it is something else.
    const said = document.getElementById("said");
    if (told.said !== said.textContent) said.textContent = told.said;
    document.getElementById("problem-text").textContent = told.problem;
    document.getElementById("problem").hidden = !told.problem;
    if (told.at) document.getElementById("as-of").textContent = told.at;
  };

  let version = parts.dataset.version;
  const listen = () => {
    const where = `/events?of=${encodeURIComponent(parts.dataset.page)}&since=${encodeURIComponent(version)}`;
    const source = new EventSource(where);
    source.addEventListener("open", () => say("live", "Live."));
    source.addEventListener("change", (event) => {
      version = event.lastEventId || version;
      take(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      say("away", "Not connected, trying again.");
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 15000);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  };
  // A page that comes back from the browser's memory may show what is no longer true.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  listen();
})();
