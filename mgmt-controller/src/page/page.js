"use strict";
(() => {
  // Times in ms: between two fetches at least, and at most; and until events are asked for again where they were refused.
  const PAUSE = 1000, LATEST = 30000, AGAIN = 5000;
  const main = document.querySelector("main");
  const live = document.getElementById("live");
  let timer = 0, fetching = false, wanted = false, began = 0, failures = 0, shown = new Date();

  const time = (date) => date.toLocaleTimeString();

  function say(text, isLost) {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("lost", isLost);
  }

  // Since when the connection has been lost, for each way to lose it.
  const lost = { events: null, page: null };

  function tell() {
    const since = lost.page || lost.events;
    if (since) say(`connection lost at ${time(since)}; what is shown is of ${time(shown)}`, true);
    else say("live: the page refreshes itself", false);
  }

  function follow() {
    const events = new EventSource(location.origin + "/v1/events" + location.search);
    events.onopen = () => { lost.events = null; tell(); want(); };
    events.onerror = () => {
      lost.events ||= new Date();
      tell();
      if (events.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN);
    };
    for (const kind of ["cluster", "instance", "node", "deployment", "reset"]) events.addEventListener(kind, want);
  }

  function want() {
    wanted = true;
    if (!fetching && !timer) timer = setTimeout(refresh, Math.max(0, began + PAUSE - Date.now()));
  }

  async function refresh() {
    timer = 0;
    [fetching, wanted, began] = [true, false, Date.now()];
    try {
      // It does not say that it accepts HTML: who may not any more is told, and the browser does not ask for a password meanwhile.
      const answer = await fetch(location.origin + location.pathname + location.search);
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      morph(main, fresh.querySelector("main"));
      document.title = fresh.title;
      [failures, lost.page, shown] = [0, null, new Date()];
    } catch {
      // A connection that has lasted long enough is closed: once is nothing.
      if (++failures > 1) lost.page ||= new Date();
      wanted = true;
    }
    fetching = false;
    tell();
    if (wanted || "running" in main.dataset) want();
  }

  // Makes one element like another, and leaves alone what is alike: focus, selection and places that were scrolled to stay.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
    const kept = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    const ids = new Set([...fresh.children].map((child) => child.id));
    for (const [id, child] of kept) if (!ids.has(id)) child.remove();
    let next = old.firstChild;
    const skip = () => {
      const after = next.nextSibling;
      next.remove();
      next = after;
    };
    for (const child of [...fresh.childNodes]) {
      const like = child.id ? kept.get(child.id) : next;
      if (child.id && like) while (next && next !== like && !next.id) skip();
      if (like && like.nodeName === child.nodeName && (like.id || "") === (child.id || "")) {
        if (like === next) next = next.nextSibling;
        else old.insertBefore(like, next);
        if (child.nodeType === Node.ELEMENT_NODE) morph(like, child);
        else if (like.data !== child.data) like.data = child.data;
      } else {
        old.insertBefore(document.importNode(child, true), next);
      }
    }
    while (next) skip();
  }

  setInterval(() => { if (!document.hidden) want(); }, LATEST);
  follow();
})();
