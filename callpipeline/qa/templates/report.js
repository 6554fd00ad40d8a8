// Filters and sorts the worklist. Without it everything is shown, flagged calls first.
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("calls"), calls = [...list.querySelectorAll(".call")];
  const tabs = [...document.querySelectorAll(".tabs button")];
  const [agent, verdict, search, order, shown] = ["agent", "verdict", "search", "order", "shown"].map(find);
  calls.forEach((call, index) => { call.place = index; });
  let kind = "";
  const number = (name, up) => (a, b) => {
    const [x, y] = [Number(a.dataset[name]), Number(b.dataset[name])];
    if (x < 0 || y < 0) return (x < 0) - (y < 0); // unknown values go last, whichever way
    return up ? x - y : y - x;
  };
  const orders = {
    urgent: (a, b) => a.place - b.place,
    newest: (a, b) => b.dataset.t.localeCompare(a.dataset.t),
    lowest: number("s", true),
    doubt: number("c", true),
    longest: number("d", false),
    agent: (a, b) => a.dataset.a.localeCompare(b.dataset.a),
  };
  const matches = (call, words) =>
    (kind === "" || (kind === "flag" ? call.dataset.k === "flag" : call.dataset.e === "1")) &&
    (agent.value === "" || call.dataset.a === agent.value) &&
    (verdict.value === "" || call.dataset.v.split(" ").includes(verdict.value)) &&
    words.every((word) => (call.words ??= call.textContent.toLowerCase()).includes(word));
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const call of calls) {
      call.hidden = !matches(call, words);
      count += !call.hidden;
    }
    shown.textContent = `${count} of ${calls.length} calls`;
    find("nothing").hidden = count > 0;
  };
  const choose = (value) => {
    kind = value;
    tabs.forEach((tab) => tab.setAttribute("aria-pressed", String(tab.value === value)));
    apply();
  };
  tabs.forEach((tab) => tab.addEventListener("click", () => choose(tab.value)));
  [agent, verdict].forEach((field) => field.addEventListener("change", apply));
  search.addEventListener("input", apply);
  order.addEventListener("change", () => {
    calls.sort((a, b) => orders[order.value](a, b) || a.place - b.place);
    list.append(...calls);
  });
  find("tools").hidden = false;
  choose(calls.some((call) => call.dataset.k === "flag") ? "flag" : "");
})();
