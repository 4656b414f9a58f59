// What the browser alone knows: light or dark, steps back in its history, the clipboard, saving a figure.
(function () {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("asc-study-theme");
  function theme() {
    const name = chosen() || (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = name;
    document.documentElement.dataset.agThemeMode = name;
    document.body.dataset.agThemeMode = name;
    return name;
  }
  const tell = (id, data) => window.dash_clientside.set_props(id, {data});
  theme();
  dark.addEventListener("change", () => tell("theme", theme()));
  window.addEventListener("popstate", () => tell("moved", Date.now()));

  function said(button, text) {
    const before = button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1500);
  }
  const copy = (button, text) => navigator.clipboard.writeText(text).then(
    () => said(button, "Copied"), () => said(button, "Copying is not allowed here"));

  document.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "copy-link") copy(button, location.href);
    if (button.id === "theme-switch") {
      localStorage.setItem("asc-study-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
      tell("theme", theme());
    }
    if (button.dataset.copy) fetch(button.dataset.copy).then(answer => answer.text()).then(text => copy(button, text));
    if (button.dataset.save) {
      const holder = button.closest(".figure").querySelector(".plot");
      const plot = holder.querySelector(".js-plotly-plot");
      plot.dataset.name = holder.dataset.name;
      if (button.dataset.save === "csv") saveCsv(plot);
      else save(plot, button.dataset.save);
    }
  });

  // Components of Dash that axe finds fault with (4.4): a dropdown is reached by an input that is hidden from readers, and
  // does not say its label; a list of checkboxes says that its labels are options.
  function mend() {
    for (const one of document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']")) one.tabIndex = -1;
    for (const one of document.querySelectorAll(".dash-dropdown[tabindex='-1']")) one.tabIndex = 0;
    for (const label of document.querySelectorAll(".control > label[for]")) {
      const button = document.getElementById(label.htmlFor), named = button?.getAttribute("aria-labelledby");
      label.id ||= `${label.htmlFor}-label`;
      if (named && !named.startsWith(label.id)) button.setAttribute("aria-labelledby", `${label.id} ${named}`);
    }
    for (const one of document.querySelectorAll("label.dash-options-list-option[role='option']")) {
      if (!one.closest("[class*='checklist']")) continue;
      one.removeAttribute("role");
      one.removeAttribute("aria-selected");
      one.closest("[role='listbox']")?.setAttribute("role", "group");
    }
  }
  new MutationObserver(mend).observe(document.documentElement, {childList: true, subtree: true, attributes: true,
    attributeFilter: ["role", "aria-selected", "aria-labelledby", "tabindex"]});

  // Dash has drawn the page when its stores can be told something.
  const wait = setInterval(() => {
    if (!window.dash_clientside || !document.getElementById("content")) return;
    clearInterval(wait);
    tell("theme", theme());
  }, 30);
})();
