"use strict";
(async () => {
  const facts = JSON.parse(document.getElementById("facts").textContent);

  const embedded = async (plots, prefix) => {
    const documents = [];
    for (const [at, plot] of plots.entries()) {
      const views = await Bokeh.embed.embed_item(plot.item, `${prefix}-plot-${at}`);
      documents.push(views.roots[0].model.document);
    }
    return documents;
  };

  // The density of x = t + scale sinh((arcsinh(z) + epsilon) / delta), z normal: phi(z) / (dx/dz).
  const family = async ({ plots }) => {
    const documents = await embedded(plots, "family");
    const sources = documents.map((each) => each.get_model_by_name("family"));
    const z = Array.from(sources[0].data.z);
    const inputs = Object.fromEntries(
      ["epsilon", "delta", "location", "scale"].map((name) => [name, document.getElementById(`family-${name}`)]),
    );
    const move = () => {
      const [epsilon, delta, location, scale] = Object.values(inputs).map((input) => input.valueAsNumber);
      const inner = z.map((value) => (Math.asinh(value) + epsilon) / delta);
      const x = inner.map((value) => location + scale * Math.sinh(value));
      const density = z.map((value, at) => {
        const slope = (scale * Math.cosh(inner[at])) / (delta * Math.sqrt(1 + value * value));
        return Math.exp((-value * value) / 2) / (Math.sqrt(2 * Math.PI) * slope);
      });
      for (const source of sources) source.data = { z, x, density };
      for (const input of Object.values(inputs)) {
        input.nextElementSibling.textContent = input.valueAsNumber.toFixed(2).replace("-", "−");
      }
    };
    for (const input of Object.values(inputs)) input.addEventListener("input", move);
    document.getElementById("family-reset").addEventListener("click", () => {
      for (const input of Object.values(inputs)) input.value = input.defaultValue;
      move();
    });
  };

  const numbers = (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  };

  const context = async ({ sliders, plots }) => {
    const documents = await embedded(plots, "context");
    const shown = plots.map((plot, at) => ({
      source: documents[at].get_model_by_name("model"),
      heights: numbers(plot.heights),
      masses: Object.entries(plot.masses).map(([name, shares]) => [name, numbers(shares)]),
      words: document.getElementById(`context-masses-${at}`),
    }));
    const inputs = sliders.map((_, at) => document.getElementById(`context-${at}`));
    const move = () => {
      let row = 0;
      for (const [at, { texts }] of sliders.entries()) {
        const position = Number(inputs[at].value);
        row = row * texts.length + position;
        if (inputs[at].type === "range") {
          inputs[at].nextElementSibling.textContent = texts[position];
          inputs[at].setAttribute("aria-valuetext", texts[position]);
        }
      }
      for (const { source, heights, masses, words } of shown) {
        const x = source.data.x;
        source.data = { x, y: heights.slice(row * x.length, (row + 1) * x.length) };
        words.textContent = masses.map(([name, shares]) => `${name}: ${(100 * shares[row]).toPrecision(2)}%`).join(", ");
      }
    };
    for (const input of inputs) input.addEventListener("input", move);
    move();
  };

  if (facts.context) await context(facts.context);
  await family(facts.family);
  document.documentElement.dataset.ready = "true";
})();
