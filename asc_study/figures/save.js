// Saves what a figure shows; `plot` is a plot of plotly.js with the file's name in `data-name`.
function save(plot, format) {
  Plotly.downloadImage(plot, {format, scale: format === "png" ? 2 : 1, filename: plot.dataset.name});
}
function saveCsv(plot) {
  const lines = [["series", "name", "x", "y", "z", "below", "above"]];
  for (const trace of plot._fullData) {
    const at = (values, i) => values && i < values.length ? values[i] : "";
    const bars = [trace.error_x, trace.error_y].find(one => one && one.visible) || {};
    for (let i = 0; i < (trace.y || []).length; i++) {
      const ends = [at(bars.arrayminus || bars.array, i), at(bars.array, i)];
      if (trace.z) Array.from(trace.z[i], (z, k) => lines.push([trace.name, "", trace.x[k], trace.y[i], z, "", ""]));
      else lines.push([trace.name, at(trace.ids, i), at(trace.x, i), trace.y[i], "", ...ends]);
    }
  }
  const cell = value => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const text = lines.map(line => line.map(cell).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = plot.dataset.name + ".csv";
  link.click();
}
