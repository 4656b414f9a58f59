// Cells of the leaderboard. Texts are set as text: a name with markup stays a name.
(function () {
  const make = React.createElement;
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  const shapes = {
    circle: "M6 1a5 5 0 1 0 .01 0z", square: "M1.5 1.5h9v9h-9z", diamond: "M6 0l6 6-6 6-6-6z",
    "triangle-up": "M6 1l5.5 10H.5z", "triangle-down": "M6 11L.5 1h11z",
    star: "M6 .5l1.7 3.6 3.9.5-2.9 2.7.8 3.9L6 9.3l-3.5 1.9.8-3.9L.4 4.6l3.9-.5z",
    cross: "M4 1h4v3h3v4H8v3H4V8H1V4h3z",
  };
  // A link of this site changes the address without loading the page again.
  function go(event, href) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const [path, query] = href.split("?");
    history.pushState({}, "", href);
    // Without the whole address the component would push the one that it remembers.
    dash_clientside.set_props("url", {href: location.href, pathname: path, search: query ? "?" + query : ""});
    window.scrollTo(0, 0);
  }
  cells.SystemName = function ({data}) {
    const swatch = make("svg", {width: 12, height: 12, "aria-hidden": true, key: "s"},
      make("path", {d: shapes[data.symbol] || shapes.circle, fill: data.colour}));
    const name = data.link ? make("a", {href: data.link, onClick: event => go(event, data.link), key: "n"}, data.name)
      : make("span", {key: "n"}, data.name);
    const about = data.about && data.about !== data.name ? make("span", {className: "about", key: "a"}, data.about) : null;
    return make("div", {className: "system"}, swatch, make("div", {}, name, about));
  };
  cells.Figure = function ({data, colDef}) {
    const cell = data[colDef.field];
    if (!cell) return null;
    const text = cell.text + (cell.rank === "even" ? " ~" : "");
    const content = cell.rank === "best" ? make("strong", {}, text) : text;
    return cell.link ? make("a", {href: cell.link, onClick: event => go(event, cell.link), className: "figure-link"}, content)
      : make("span", {}, content);
  };
  // The interval of a difference as a small bar around zero, filled where it is more than noise.
  cells.Difference = function ({data, colDef}) {
    const cell = data[colDef.field];
    if (!cell) return null;
    if (cell.value === null || cell.low === null) return make("span", {className: "soft"}, cell.text);
    const at = value => 40 + 36 * Math.max(-1, Math.min(1, value / cell.reach));
    const sure = cell.rank === "sure";
    return make("div", {className: "difference"},
      make("span", {}, sure ? make("strong", {}, cell.text) : cell.text),
      make("svg", {width: 80, height: 14, role: "img", "aria-label": cell.tip},
        make("line", {x1: 40, x2: 40, y1: 0, y2: 14, stroke: "#8A8F98", strokeWidth: 1}),
        make("line", {x1: at(cell.low), x2: at(cell.high), y1: 7, y2: 7, stroke: data.colour, strokeWidth: 2}),
        make("circle", {cx: at(cell.value), cy: 7, r: 4, stroke: data.colour, strokeWidth: 1.5,
          fill: sure ? data.colour : "var(--ground)"})));
  };
  // The keyboard goes from cell to cell: Enter follows the link of one.
  (window.dashAgGridFunctions = window.dashAgGridFunctions || {}).openCell = ({event}) => {
    if (event.key !== "Enter") return;
    event.target.closest(".ag-cell")?.querySelector("a")?.click();
  };
})();
