// Filters, sorting and the switch between rendered and source. The page says all of it without this script.
"use strict";
(() => {
  const names = ["slice", "judge", "label", "sort", "text", "different"];
  // Smoothly past what has just been unfolded, a page comes to rest somewhere else.
  const AT_ONCE = { behavior: "instant" };
  const groups = new Map();

  function group(root) {
    const form = root.querySelector("form.filters");
    if (!form) return;
    const prefix = root.dataset.examples + "-examples";
    const list = root.querySelector(".example-list");
    const fold = root.querySelector("details.same");
    const same = fold ? [...fold.querySelectorAll("details.example")] : [];
    const different = [...list.querySelectorAll("details.example")];
    const all = [...different, ...same];
    const count = form.querySelector(".filter-count");
    const unfold = form.querySelector("[data-do=unfold]");
    const words = new Map();
    const field = (name) => form.elements.namedItem(name);
    const value = (name) => (field(name) ? field(name).value : "");

    function clear() {
      for (const name of names) {
        const input = field(name);
        if (!input) continue;
        if (input.type === "checkbox") input.checked = true;
        else if (input.tagName === "SELECT") input.selectedIndex = 0;
        else input.value = "";
      }
    }

    function wordsOf(item) {
      if (!words.has(item)) words.set(item, item.textContent.toLowerCase());
      return words.get(item);
    }

    function has(item, wanted) {
      const verdicts = item.dataset.verdicts.split(" ");
      if (wanted.label === "failed") return verdicts.includes("-:failed");
      return verdicts.some((verdict) => {
        const [judge, label] = verdict.split(":");
        return (!wanted.judge || judge === wanted.judge) && (!wanted.label || label === wanted.label);
      });
    }

    function matches(item, wanted) {
      if (wanted.slice && !item.dataset.slices.split(" ").includes(wanted.slice)) return false;
      if ((wanted.judge || wanted.label) && !has(item, wanted)) return false;
      return wanted.text.every((word) => wordsOf(item).includes(word));
    }

    function sorted(items, by) {
      const rank = (item) => Number(item.dataset.rank);
      const order = {
        best: (one, other) => rank(other) - rank(one),
        slower: (one, other) => Number(other.dataset.slower) - Number(one.dataset.slower) || rank(one) - rank(other),
      };
      return items.sort(order[by] || ((one, other) => rank(one) - rank(other)));
    }

    function shown() {
      return all.filter((item) => !item.hidden && (item.parentElement === list || !fold.hidden));
    }

    function apply() {
      const wanted = { slice: value("slice"), judge: value("judge"), label: value("label"),
                       text: value("text").toLowerCase().split(/\s+/).filter(Boolean) };
      const onlyDifferent = !field("different") || field("different").checked;
      for (const item of all) item.hidden = !matches(item, wanted);
      const listed = onlyDifferent ? different : all;
      for (const item of sorted([...listed], value("sort"))) list.append(item);
      if (fold) {
        if (onlyDifferent) fold.append(...same);
        fold.hidden = true;
      }
      const visible = shown().length;
      const hiddenSame = onlyDifferent ? same.filter((item) => matches(item, wanted)).length : 0;
      count.textContent = visible + " of " + all.length + " examples shown" +
        (hiddenSame ? "; " + hiddenSame + " with the same answer on both sides hidden" : "") + ".";
      label();
    }

    function label() {
      const open = shown();
      unfold.textContent = open.length > 0 && open.every((item) => item.open) ? "Fold all" : "Unfold all";
    }

    // The address of a filtered view: #c1-examples:label=loss&text=refund
    function write() {
      const state = new URLSearchParams();
      for (const name of names) {
        const input = field(name);
        if (!input) continue;
        if (input.type === "checkbox") {
          if (!input.checked) state.set(name, "no");
        } else if (input.tagName === "SELECT" && name !== "sort") {
          const key = input.selectedOptions[0] ? input.selectedOptions[0].dataset.key : "";
          if (key) state.set(name, key);
        } else if (input.value && !(name === "sort" && input.value === "worst")) {
          state.set(name, input.value);
        }
      }
      const text = state.toString();
      history.replaceState(null, "", "#" + prefix + (text ? ":" + text : ""));
    }

    function read(text) {
      const state = new URLSearchParams(text);
      clear();
      for (const name of names) {
        const input = field(name);
        if (!input || !state.has(name)) continue;
        const wanted = state.get(name);
        if (input.type === "checkbox") input.checked = wanted !== "no";
        else if (input.tagName === "SELECT" && name !== "sort") {
          const option = [...input.options].find((each) => each.dataset.key === wanted);
          if (option) input.value = option.value;
        } else if (input.tagName !== "SELECT" || [...input.options].some((each) => each.value === wanted)) input.value = wanted;
      }
      apply();
    }

    // A pair that somebody links to is shown although it is filtered away.
    function reveal(item) {
      item.hidden = false;
      if (fold && fold.contains(item)) list.append(item);
      item.open = true;
      label();
    }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { apply(); write(); });
    form.addEventListener("reset", () => setTimeout(() => { apply(); write(); }));
    unfold.addEventListener("click", () => {
      const open = shown();
      const unfolded = open.every((item) => item.open);
      for (const item of open) item.open = !unfolded;
      label();
    });
    root.addEventListener("toggle", label, true);
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do=source]");
      if (!button) return;
      const body = button.closest(".example-body");
      const source = !body.classList.contains("is-source");
      body.classList.toggle("is-source", source);
      for (const each of body.querySelectorAll(".as-sent")) each.open = source;
      button.setAttribute("aria-pressed", String(source));
    });
    for (const each of root.querySelectorAll(".switch")) each.hidden = false;
    // A browser fills a form in as it was before a reload, which would not fit the address.
    clear();
    form.hidden = false;
    apply();
    groups.set(prefix, { root, read, reveal });
  }

  function follow() {
    const fragment = location.hash.slice(1);
    const colon = fragment.indexOf(":");
    const prefix = colon < 0 ? fragment : fragment.slice(0, colon);
    if (colon >= 0 && groups.has(prefix)) {
      groups.get(prefix).read(fragment.slice(colon + 1));
      document.getElementById(prefix).scrollIntoView(AT_ONCE);
      return;
    }
    const target = document.getElementById(fragment);
    const item = target && target.closest("details.example");
    if (!item) return;
    for (const each of groups.values()) if (each.root.contains(item)) each.reveal(item);
    target.scrollIntoView(AT_ONCE);
  }

  for (const root of document.querySelectorAll("[data-examples]")) group(root);
  addEventListener("hashchange", follow);
  if (location.hash.length > 1) follow();
})();
