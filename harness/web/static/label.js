// Keys for what the page can do without them: every one presses a button or follows a link that is there.
"use strict";
(() => {
  const form = document.getElementById("choose");
  const note = document.getElementById("note");
  const back = document.getElementById("back");
  const choices = {
    1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "tie", ArrowDown: "tie", t: "tie", s: "skip",
  };
  // One choice per page: a second press in a hurry must not reach the next pair or change this one.
  let sent = false;
  // A page that comes back from the browser's memory may show what is no longer true.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  // The question ends a conversation: what does not fit is what came before it.
  const conversation = document.getElementById("conversation");
  if (conversation) conversation.scrollTop = conversation.scrollHeight;
  if (form) {
    form.addEventListener("submit", (event) => {
      if (sent) event.preventDefault();
      sent = true;
      document.body.setAttribute("aria-busy", "true");
    });
  }
  const toggle = (id) => {
    const details = document.getElementById(id);
    if (details) details.open = !details.open;
  };
  const scrolls = (node) => {
    const inside = node && node.closest && node.closest(".inside");
    return Boolean(inside) && inside.scrollHeight > inside.clientHeight;
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || sent) return;
    const typing = event.target.closest && event.target.closest("textarea, input");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key.startsWith("Arrow") && scrolls(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (form && Object.hasOwn(choices, key)) {
      document.querySelector(`button[name="choice"][value="${choices[key]}"]`).click();
    } else if ((key === "u" || key === "Backspace") && back) {
      sent = true;
      back.click();
    } else if (key === "n" && note) {
      note.focus();
    } else if (key === "c") {
      toggle("earlier");
    } else if (key === "?") {
      toggle("help");
    } else if (key === "Escape") {
      const help = document.getElementById("help");
      if (help) help.open = false;
      return;
    } else {
      return;
    }
    event.preventDefault();
  });
})();
